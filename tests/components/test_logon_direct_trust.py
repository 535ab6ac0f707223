"""Direct trust through a whole receiver: which client certificate makes a sender another server, and what it may do then."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.certificates.issue import KeyType, issue
from tests.components.logging_on import AUTHENTICATED, attempts, encoded, events, login, mail
from tests.components.programs import run
from tests.components.renaming import renaming
from tests.components.tls_service import client
from tests.lab import CONNECTOR, Credentials, Pki, greeted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smtpd_anontls.certificates.issue import Issued
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.receiver import Receiver
    from tests.components.programs import Finished
    from tests.lab import Json, Lab

NOW = datetime.now(UTC).replace(microsecond=0)
USERS = {"alice": "open sesame"}
ASKING: dict[str, Json] = {
    "Edge": {"server": {"role": "Edge"}},
    "request_client_certificate": {"connector": {"request_client_certificate": True}},
}


@cache
def _issued(first: int, last: int, key_type: KeyType = KeyType.EC) -> Issued:
    start, end = NOW + timedelta(days=first), NOW + timedelta(days=last)
    return issue(["MBX2", "mbx2.lab.test"], now=NOW, valid_from=start, valid_to=end, key_type=key_type)


def _credentials(made: Issued) -> Credentials:
    return Credentials(made.certificate_pem, made.key_pem)


def exchanges_own(_pki: Pki) -> Credentials:
    """Return what Exchange makes: it signs itself, RSA, for Server Authentication alone."""
    return _credentials(_issued(-1, 1800, KeyType.RSA))


def of_an_authority(pki: Pki) -> Credentials:
    """Return what an authority issued."""
    return pki.credentials("mbx2.lab.test")


def expired(_pki: Pki) -> Credentials:
    """Return one whose time is over."""
    return _credentials(_issued(-400, -2))


# What each shows, whether the directory has it, and what becomes of it.
SHOWN: dict[str, tuple[Callable[[Pki], Credentials] | None, bool, str]] = {
    "Exchange's own": (exchanges_own, True, "is the msExchServerInternalTLSCert of MBX2"),
    "an authority's": (of_an_authority, True, "is the msExchServerInternalTLSCert of MBX2"),
    "expired": (expired, True, "and gives the identity all the same"),
    "unknown": (exchanges_own, False, "is the msExchServerInternalTLSCert of no server object"),
    "none": (None, False, "the client presented no certificate"),
}
EACH = pytest.mark.parametrize("shown", SHOWN)


def given(pki: Pki, asking: str, shown: str) -> Json:
    """Return the arguments of a receiver that takes mail of servers alone, and whose directory knows MBX2."""
    make, is_known, _ = SHOWN[shown]
    named = make(pki).certificate.thumbprint if make is not None and is_known else "AB" * 20
    overlay = ASKING[asking]
    return {
        **overlay,
        "neighbours": {"MBX2": {"msExchServerInternalTLSCert": named}},
        "connector": {"permission_groups": ["ExchangeServers"], **overlay.get("connector", {})},
    }


def check(lab: Lab, pki: Pki, shown: str) -> None:
    """Hold the record to what *shown* has to make of its sender, who tried to send a message."""
    make, is_known, sentence = SHOWN[shown]
    session = lab.session()
    (attempt,) = session["authentications"]
    name = "MBX2$" if is_known else None
    assert attempts(session) == [("X-ANONYMOUSTLS", "DirectTrust", name, None if is_known else "not_trusted")]
    assert sentence in attempt["detail"]
    assert f"direct trust: {attempt['detail']}" in [row["text"] for row in session["transcript"]]
    assert session["authenticated_as"] == name
    assert session["groups"] == (["ExchangeServers"] if is_known else [])
    assert ("SMTPSubmit" in session["permissions"]) is is_known
    assert len(lab.messages) == is_known
    if make is None or shown != "expired":
        assert lab.events == []
        return
    certificate: Certificate = make(pki).certificate
    assert certificate.thumbprint in attempt["detail"]
    assert session["event_ids"] == [12019]
    assert events(lab, 12019) == [[certificate.subject]]
    assert [event["thumbprint"] for event in lab.events] == [certificate.thumbprint]


def written(credentials: Credentials, folder: Path) -> Path:
    """Return a file with the certificate and its key."""
    file = folder / "client.pem"
    file.write_bytes(credentials.chain + credentials.key)
    return file


# -- OpenSSL's own client


async def s_client(receiver: Receiver, folder: Path, credentials: Credentials | None) -> Finished:
    """Send a message with openssl s_client, through X-ANONYMOUSTLS."""
    words: list[str | Path] = [] if credentials is None else ["-cert", written(credentials, folder)]
    commands = ["EHLO edge.lab.test", "MAIL FROM:<a@lab.test>", "RCPT TO:<b@lab.test>", "BDAT 8 LAST"]
    said = "".join(f"{command}\n" for command in commands) + "\nbody\nQUIT\n"
    async with renaming(receiver.address(CONNECTOR)) as (host, port):
        return await run(
            *("openssl", "s_client", "-connect", f"{host}:{port}", "-starttls", "smtp", *words),
            *("-quiet", "-crlf", "-name", "edge.lab.test"),
            said=said,
        )


@pytest.mark.slow  # A program from Debian.
@EACH
@pytest.mark.parametrize("asking", ASKING)
async def test_openssl(lab: Lab, pki: Pki, tmp_path: Path, asking: str, shown: str) -> None:
    """What an independent client shows is taken in the handshake, and is worth what the directory says of it."""
    make, is_known, _ = SHOWN[shown]
    async with lab.receiver(**given(pki, asking, shown)) as receiver:
        finished = await s_client(receiver, tmp_path, None if make is None else make(pki))

    assert "221 2.0.0 Service closing transmission channel" in finished.output
    reply = "Queued mail for delivery" if is_known else "530 5.7.57 SMTP; Client was not authenticated"
    assert reply in finished.output
    assert lab.session()["tls"]["failure"] is None
    check(lab, pki, shown)


# -- our own client


@pytest.mark.slow  # Starts the command.
@EACH
async def test_our_own_client(lab: Lab, pki: Pki, tmp_path: Path, shown: str) -> None:
    """``probe --client-certificate`` is such a server, too."""
    make, is_known, _ = SHOWN[shown]
    message = tmp_path / "message"
    message.write_bytes(b"\r\nbody\r\n")
    words: list[str | Path] = [] if make is None else ["--client-certificate", written(make(pki), tmp_path)]
    async with lab.receiver(**given(pki, "Edge", shown)) as receiver:
        host, port = receiver.address(CONNECTOR)
        finished = await run(
            *(sys.executable, "-m", "smtpd_anontls", "probe", f"{host}:{port}", "--json", *words),
            *("--send", message, "--from", "a@lab.test", "--to", "b@lab.test"),
        )

    assert finished.code == (0 if is_known else 1), finished.output
    assert json.loads(finished.output)["verb"] == "X-ANONYMOUSTLS"
    check(lab, pki, shown)


# -- a peer of ours


async def test_a_server_that_does_not_ask_learns_nothing(lab: Lab, tmp_path: Path) -> None:
    """A Mailbox server's connector asks for no certificate by default, so whoever has one is nobody."""
    shown = _issued(-1, 1800)
    entry = {"msExchServerInternalTLSCert": shown.certificate.thumbprint}
    async with lab.receiver(neighbours={"MBX2": entry}) as receiver, await greeted(receiver) as peer:
        await peer.ask("X-ANONYMOUSTLS")
        await peer.upgrade(client(tmp_path, shown))
        await peer.ask("EHLO edge.lab.test")

    assert lab.session()["authentications"] == []
    assert lab.session()["authenticated_as"] is None


async def test_starttls_asks_for_none(lab: Lab, tmp_path: Path) -> None:
    """Direct trust belongs to X-ANONYMOUSTLS; inside STARTTLS an Edge server asks for no certificate."""
    shown = _issued(-1, 1800)
    entry = {"msExchServerInternalTLSCert": shown.certificate.thumbprint}
    async with (
        lab.receiver(server={"role": "Edge"}, neighbours={"MBX2": entry}) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.ask("STARTTLS")
        await peer.upgrade(client(tmp_path, shown))
        await peer.ask("EHLO edge.lab.test")

    assert lab.session()["authentications"] == []


async def test_a_known_server_may_still_log_on(lab: Lab, tmp_path: Path) -> None:
    """Who logs on in the session is that user from then on; a logon that fails leaves the server what it was."""
    shown = _issued(-1, 1800)
    entry = {"msExchServerInternalTLSCert": shown.certificate.thumbprint}
    connector = {"permission_groups": ["ExchangeServers"]}
    async with (
        lab.receiver(
            server={"role": "Edge"}, neighbours={"MBX2": entry}, users=USERS, connector=connector
        ) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.ask("X-ANONYMOUSTLS")
        await peer.upgrade(client(tmp_path, shown))
        await peer.ask("EHLO edge.lab.test")
        assert (await login(peer, "alice", "open barley")).startswith("535 ")
        assert "Queued mail for delivery" in await mail(peer)
        assert await login(peer, "alice", "open sesame") == AUTHENTICATED
        assert (await mail(peer)).startswith("550 5.7.1 ")
        assert await peer.ask(f"AUTH LOGIN {encoded('alice')}") == ["503 5.5.1 Already authenticated"]

    assert attempts(lab.session()) == [
        ("X-ANONYMOUSTLS", "DirectTrust", "MBX2$", None),
        ("AUTH", "LOGIN", "alice", "wrong_password"),
        ("AUTH", "LOGIN", "alice", None),
    ]
    assert lab.session()["authenticated_as"] == "alice"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"readable": False}, "what MBX2 has could not be compared"),
        ({"msExchServerInternalTLSCert": None}, "of no server object"),
    ],
)
async def test_a_directory_that_does_not_say(lab: Lab, tmp_path: Path, entry: Json, sentence: str) -> None:
    """Where the attribute of another server is not set, or not to be read, nobody is that server."""
    async with (
        lab.receiver(server={"role": "Edge"}, neighbours={"MBX2": entry}) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.ask("X-ANONYMOUSTLS")
        await peer.upgrade(client(tmp_path, _issued(-1, 1800)))
        await peer.ask("EHLO edge.lab.test")

    assert lab.session()["authenticated_as"] is None
    assert sentence in lab.session()["authentications"][0]["detail"]
