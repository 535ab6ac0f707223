"""A receiver that has seen something of everything, for the tests of the pages."""

from __future__ import annotations

import base64
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.lab import CONNECTOR, FQDN, all_ended, greeted, secured
from tests.peer import Peer, believing_context
from tests.web.visiting import visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab
    from tests.web.visiting import Visit

CLIENT_CONNECTOR = "Client Frontend MX1"
# What must come out as text wherever it stands, and a bidirectional control in it.
HOSTILE = "<script>alert(1)</script>\u202e"

PICTURE = base64.b64encode(
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
).decode()

LETTER = f"""\
From: Contoso Billing <billing@contoso.test>
To: b@contoso.test
Subject: =?utf-8?q?Invoice_4711_=E2=80=93_due_in_June?=
Date: Wed, 25 Nov 2026 09:00:00 +0000
Message-ID: <4711@contoso.test>
X-Run-Id: nightly-7
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Good morning,

the invoice for June is attached. It is due on 30 June.

Contoso Billing
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: 8bit

<html><head><style>h1 {{ color: #14577d; font: 600 22px sans-serif }} p {{ font: 15px sans-serif }}</style></head>
<body><h1>Invoice 4711</h1><p>Good morning,</p><p>the invoice for June is attached. It is due on <b>30 June</b>.</p>
<p><img src="http://pictures.example.test/logo.png" alt="The logo of Contoso" width="160" height="40"></p>
<p>Contoso Billing</p></body></html>
--inner--

--outer
Content-Type: application/pdf; name="invoice-4711.pdf"
Content-Disposition: attachment; filename="invoice-4711.pdf"
Content-Transfer-Encoding: base64

{base64.b64encode(b"%PDF-1.4 not really " * 200).decode()}
--outer
Content-Type: image/gif; name="dot.gif"
Content-Disposition: inline; filename="dot.gif"
Content-Transfer-Encoding: base64

{PICTURE}
--outer--
"""


@dataclass(frozen=True)
class Scene:
    """A visit, and the ids of what happened before it."""

    visit: Visit
    letter: int  # A message with everything.
    anonymous_tls: str  # Ids of sessions.
    starttls: str
    failed_handshake: str
    failed_logon: str


@asynccontextmanager
async def scene(lab: Lab, folder: Path | None = None) -> AsyncIterator[Scene]:
    """Run a receiver with its page, after sessions of many outcomes."""
    del folder
    async with visiting(
        lab,
        server={"connectors": [_MAIN, _CLIENT]},
        store={
            FQDN: "expired",
            "old.lab.test": "expired",
            "next.lab.test": "not-yet",
            "soon.lab.test": "soon",
        },
        users={"alice": "right"},
    ) as visit:
        receiver = visit.receiver
        letter = await send(receiver, LETTER)
        anonymous_tls = await _session_of(receiver, letter)
        starttls = await _starttls(receiver)
        failed_handshake = await _failing_handshake(receiver)
        await _plaintext_behind(receiver)
        failed_logon = await _failing_logon(receiver)
        await _refused(receiver)
        await all_ended(receiver)
        yield Scene(visit, letter, anonymous_tls, starttls, failed_handshake, failed_logon)


async def send(
    receiver: Receiver,
    content: str | bytes,
    *,
    sender: str = "a@example.test",
    recipients: tuple[str, ...] = ("b@contoso.test",),
) -> int:
    """Send *content* over X-ANONYMOUSTLS by BDAT, so that it arrives octet by octet, and return the message's id."""
    octets = content if isinstance(content, bytes) else content.encode().replace(b"\n", b"\r\n")
    async with await secured(receiver) as peer:
        assert (await peer.ask(f"MAIL FROM:<{sender}> BODY=8BITMIME"))[0].startswith("250 ")
        for recipient in recipients:
            assert (await peer.ask(f"RCPT TO:<{recipient}>"))[0].startswith("250 ")
        await peer.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
        (line,) = await peer.reply()
        found = re.search(r"InternalId=(\d+)", line)
        assert found, line
        await peer.ask("QUIT")
    return int(found[1])


async def _session_of(receiver: Receiver, message: int) -> str:
    found = await receiver.journal.message(message)
    assert found is not None
    return str(found["session_id"])


async def _newest_session(receiver: Receiver) -> str:
    await all_ended(receiver)
    return str((await receiver.journal.sessions(limit=1))[0]["id"])


async def _starttls(receiver: Receiver) -> str:
    async with await greeted(receiver) as peer:
        await peer.ask("STARTTLS")
        await peer.upgrade()
        await peer.ask("EHLO partner.example.test")
        await peer.ask("QUIT")
    return await _newest_session(receiver)


async def _failing_handshake(receiver: Receiver) -> str:
    async with await greeted(receiver) as peer:
        await peer.ask("X-ANONYMOUSTLS")
        await peer.send(b"this is no ClientHello\r\n")
        await peer.raw_rest()
    return await _newest_session(receiver)


async def _plaintext_behind(receiver: Receiver) -> None:
    async with await greeted(receiver) as peer:
        await peer.send(b"X-ANONYMOUSTLS\r\nEHLO smuggled.example.test\r\n")
        await peer.raw_rest()
    await all_ended(receiver)


async def _failing_logon(receiver: Receiver) -> str:
    async with await secured(receiver) as peer:
        await peer.ask("AUTH LOGIN")
        await peer.ask(base64.b64encode(b"alice").decode())
        await peer.ask(base64.b64encode(b"wrong").decode())
        await peer.ask(HOSTILE.encode().decode("utf-8"))
        await peer.ask("QUIT")
    return await _newest_session(receiver)


async def _refused(receiver: Receiver) -> None:
    async with await Peer.connect(receiver.address(CLIENT_CONNECTOR)) as peer:
        await peer.reply()
        await peer.ask("EHLO client.example.test")
        await peer.ask("MAIL FROM:<a@example.test>")
        await peer.ask("QUIT")


_MAIN: dict[str, Any] = {
    "name": CONNECTOR,
    "bindings": ["127.0.0.1:0"],
    "auth_mechanism": ["Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS", "ExchangeServer"],
    "permission_groups": ["AnonymousUsers", "ExchangeServers"],
    "max_inbound_connection_per_source": "unlimited",
    "max_inbound_connection_percentage_per_source": 100,
    "tarpit_interval": 0,
    "auth_tarpit_interval": 0,
    "max_protocol_errors": "unlimited",
}
_CLIENT: dict[str, Any] = {
    **_MAIN,
    "name": CLIENT_CONNECTOR,
    "auth_mechanism": ["Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS"],
    "permission_groups": ["ExchangeUsers"],
}

__all__ = ["CLIENT_CONNECTOR", "HOSTILE", "LETTER", "Scene", "believing_context", "scene", "send"]
