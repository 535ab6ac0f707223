"""Logging on to a receiver: what a peer says in AUTH and X-EXPS, and what the record has of it."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab import Lab
    from tests.peer import Peer

Json = dict[str, Any]

# What the permission group ExchangeServers gives.
AS_SERVER = [
    "SMTPSubmit",
    "SMTPAcceptAnyRecipient",
    "SMTPAcceptAuthenticationFlag",
    "SMTPAcceptAnySender",
    "SMTPAcceptAuthoritativeDomainSender",
    "BypassAntiSpam",
    "BypassMessageSizeLimit",
    "SMTPAcceptEXCH50",
    "AcceptRoutingHeaders",
    "AcceptForestHeaders",
    "AcceptOrganizationHeaders",
    "SMTPAcceptXShadow",
]
AUTHENTICATED = "235 2.7.0 Authentication successful"
DENIED = "535 5.7.3 Authentication unsuccessful"
FAULT = "454 4.7.0 Temporary authentication failure"
OK = "250 2.0.0 OK"


def encoded(octets: str | bytes) -> str:
    """Return base64."""
    return b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


async def login(peer: Peer, user: str, password: str) -> str:
    """Say both by AUTH LOGIN, and return what came of it."""
    assert await peer.ask(f"AUTH LOGIN {encoded(user)}") == ["334 UGFzc3dvcmQ6"]
    (line,) = await peer.ask(encoded(password))
    return line


async def exchange(peer: Peer, command: str, first: bytes, answer: Callable[[bytes], bytes]) -> str:
    """Begin with *first* as the initial response, answer every challenge, and return what came of it."""
    (line,) = await peer.ask(f"{command} {encoded(first)}")
    while line.startswith("334 "):
        (line,) = await peer.ask(encoded(answer(b64decode(line[4:], validate=True))))
    return line


async def mail(peer: Peer, content: str = "body") -> str:
    """Send a message, and return what came of it."""
    for command in ("MAIL FROM:<a@lab.test>", "RCPT TO:<b@lab.test>"):
        (line,) = await peer.ask(command)
        if not line.startswith("250 "):
            return line
    assert (await peer.ask("DATA"))[0].startswith("354 ")
    (line,) = await peer.ask(f"\r\n{content}\r\n.")
    return line


def end_point(peer: Peer) -> bytes:
    """Return the channel binding of the certificate that *peer* was shown (RFC 5929 section 4.1; signed with SHA-256)."""
    return b"tls-server-end-point:" + hashlib.sha256(peer.presented() or b"").digest()


def attempts(session: Json) -> list[tuple[str, str, str | None, str | None]]:
    """Return the attempts of a session's record: verb, mechanism, who, and why not."""
    return [
        (each["verb"], each["mechanism"], each["identity"], each["failure"])
        for each in session["authentications"]
    ]


def events(lab: Lab, number: int) -> list[list[str]]:
    """Return the inserts of the events of a kind, oldest first."""
    return [event["inserts"] for event in reversed(lab.events) if event["event_id"] == number]
