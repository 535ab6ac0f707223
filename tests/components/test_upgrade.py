"""The upgrade to TLS: handshakes that fail in every way, and what is known of those that succeed."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.tls_policy import TlsVersion
from tests.components.handshake import client_context
from tests.lab import Belongings, all_ended, eventually, greeted, secured
from tests.peer import Peer, believing_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

pytestmark = pytest.mark.slow

READY = ["220 2.0.0 SMTP server ready"]
OK = "250 2.0.0 OK"
HANDSHAKE_TIMEOUT = {"tls": {"handshake_timeout": 0.3}}


async def ready(receiver: Receiver) -> Peer:
    """Return a peer that has been told to begin its handshake."""
    peer = await greeted(receiver)
    assert await peer.ask("X-ANONYMOUSTLS") == READY
    return peer


def hello() -> bytes:
    """Return a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = believing_context().wrap_bio(incoming, outgoing, server_hostname="mx1.lab.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# -- handshakes that fail


@pytest.mark.parametrize(
    ("said", "why", "offered"),
    [
        pytest.param(b"", "no ClientHello came within 0.3 s", False, id="nothing"),
        pytest.param(hello()[:40], "no ClientHello came within 0.3 s", False, id="half a ClientHello"),
        pytest.param(
            hello(), "the handshake was not finished within 0.3 s", True, id="a ClientHello and no more"
        ),
    ],
)
async def test_a_silent_peer(lab: Lab, said: bytes, why: str, *, offered: bool) -> None:
    """handshake_timeout ends a handshake in which nothing more comes, and says how far it came."""
    async with lab.receiver(settings=HANDSHAKE_TIMEOUT) as receiver, await ready(receiver) as peer:
        await peer.send(said)
        await peer.raw_rest()

    session = lab.session()
    assert session["outcome"] == "handshake_failed"
    assert session["outcome_detail"] == session["tls"]["failure"] == why
    assert (session["tls"]["offered"] is not None) is offered
    assert session["transcript"][-1]["text"] == f"TLS handshake failed: {why}"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: mx1\r\n\r\n", "the peer sent an HTTP request", id="HTTP"),
        pytest.param(b"EHLO edge.lab.test\r\n", "the peer sent something that is not TLS", id="SMTP goes on"),
        pytest.param(b"\x00" * 64, "the peer sent something that is not TLS", id="zeros"),
        pytest.param(b"\xff" * 20000, "the peer sent something that is not TLS", id="many octets"),
        pytest.param(b"\x16\x03\x01\x00\x05hello", "", id="a record without a ClientHello"),
    ],
)
async def test_octets_that_are_no_tls(lab: Lab, said: bytes, why: str) -> None:
    """What is no TLS ends the session with a sentence, and nothing of it is taken for a command."""
    async with lab.receiver() as receiver:
        before = Belongings.now()
        async with await ready(receiver) as peer:
            await peer.send(said)
            await peer.raw_rest()
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    session = lab.session()
    assert session["outcome"] == "handshake_failed"
    assert session["tls"]["failure"].startswith(why)
    assert session["tls"]["version"] is None
    assert not [
        row for row in session["transcript"][-3:] if row["mark"] == "C" and row["text"] != "X-ANONYMOUSTLS"
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(b"", "the peer closed the connection before it sent a ClientHello", id="at once"),
        pytest.param(
            hello()[:40], "the peer closed the connection before it sent a ClientHello", id="within"
        ),
        pytest.param(
            hello(), "the peer closed the connection during the handshake", id="behind a ClientHello"
        ),
    ],
)
@pytest.mark.parametrize("end", [Peer.half_close, Peer.reset], ids=["FIN", "RST"])
async def test_a_peer_that_leaves(lab: Lab, end: Callable[[Peer], None], said: bytes, why: str) -> None:
    """A handshake that the peer gives up is recorded, and nothing is left of it."""
    async with lab.receiver() as receiver:
        before = Belongings.now()
        async with await ready(receiver) as peer:
            await peer.send(said)
            end(peer)
            await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    session = lab.session()
    assert session["outcome"] == "handshake_failed"
    assert session["tls"]["failure"] == why


async def test_a_peer_with_an_old_version(lab: Lab) -> None:
    """A peer that speaks TLS 1.0 alone gets the alert that says so, and the record what each speaks."""
    old = client_context(TlsVersion.TLSv1, TlsVersion.TLSv1)
    async with lab.receiver() as receiver, await ready(receiver) as peer:
        with pytest.raises(ssl.SSLError) as raised:
            await peer.upgrade(old)

    tls = lab.session()["tls"]
    assert raised.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert tls["offered"]["versions"] == ["TLSv1"]
    assert tls["failure"] == "no common TLS version: the peer offers TLSv1, this receiver speaks TLSv1.2"
    assert (tls["version"], tls["cipher"]) == (None, None)
    assert lab.session()["verb"] == "X-ANONYMOUSTLS"
    assert tls["thumbprint"] == lab.certificate("internal").thumbprint


async def test_a_peer_without_a_common_suite(lab: Lab) -> None:
    """A peer whose suites the certificate cannot serve gets an alert, and the record names them."""
    rsa_only = believing_context()
    rsa_only.set_ciphers("AES128-SHA256")
    async with lab.receiver() as receiver, await ready(receiver) as peer:
        with pytest.raises(ssl.SSLError) as raised:
            await peer.upgrade(rsa_only)

    assert "HANDSHAKE_FAILURE" in str(raised.value.reason)
    assert lab.session()["tls"]["failure"] == (
        "no common cipher suite: the peer offers TLS_RSA_WITH_AES_128_CBC_SHA256"
    )


async def test_a_peer_that_does_not_believe(lab: Lab) -> None:
    """A peer that rejects the certificate says so in an alert, which is the reason that is recorded."""
    strict = ssl.create_default_context()
    strict.maximum_version = ssl.TLSVersion.TLSv1_2
    async with lab.receiver() as receiver, await ready(receiver) as peer:
        with pytest.raises(ssl.SSLCertVerificationError):
            await peer.upgrade(strict)
        await peer.raw_rest()

    assert lab.session()["outcome"] == "handshake_failed"
    assert lab.session()["tls"]["failure"] == "the peer ended the handshake with the alert 'unknown ca'"


@pytest.mark.parametrize("limit", ["connection_timeout", "shutdown"])
async def test_a_handshake_that_something_else_ends(lab: Lab, limit: str) -> None:
    """ConnectionTimeout and a shutdown end a handshake too, and are the outcome."""
    times = {"connection_inactivity_timeout": 0.2, "connection_timeout": 0.3}
    async with lab.receiver(connector=times if limit == "connection_timeout" else {}) as receiver:
        before = Belongings.now()
        async with await ready(receiver) as peer:
            await peer.send(hello())
            if limit == "shutdown":
                await receiver.listener.close(0.05)
            await all_ended(receiver)
            await peer.raw_rest()
        await eventually(lambda: Belongings.now().tasks <= before.tasks)

    assert lab.session()["outcome"] == ("timeout" if limit == "connection_timeout" else "shut_down")


# -- handshakes that succeed


async def test_what_is_known_of_a_handshake(lab: Lab) -> None:
    """The record says what was offered and what was chosen."""
    some = believing_context()
    some.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    async with lab.receiver() as receiver, await ready(receiver) as peer:
        await peer.upgrade(some)
        await peer.ask("QUIT")

    tls = lab.session()["tls"]
    suites = [each for each in tls["offered"]["cipher_suites"] if "SCSV" not in each]
    assert suites == ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
    assert tls["offered"]["server_name"] == "mx1.lab.test"
    assert "TLSv1.2" in tls["offered"]["versions"]
    assert "TLSv1.3" not in tls["offered"]["versions"]
    assert tls["version"] == "TLSv1.2"
    assert tls["cipher"] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert tls["bits"] == 256
    assert tls["resumed"] is False
    assert tls["failure"] is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_peer_resumes_its_session(lab: Lab, version: ssl.TLSVersion) -> None:
    """A second connection is spared the full handshake, and what comes with its Finished is answered."""
    context = believing_context(version, version)
    settings = {"tls": {"maximum": "TLSv1.3"}}
    async with lab.receiver(settings=settings) as receiver:
        async with await ready(receiver) as first:
            await first.upgrade(context)
            assert (await first.ask("EHLO first"))[0].startswith("250-")
            await first.ask("QUIT")
            assert first.tls is not None
            ticket = first.tls.session
        async with await ready(receiver) as second:
            await second.finish_handshake(
                second.begin_handshake(context, session=ticket), behind=b"EHLO second\r\nNOOP\r\n"
            )
            replies = [await second.reply(), await second.reply()]
            assert second.tls is not None
            reused = second.tls.session_reused
            await second.ask("QUIT")

    assert reused
    assert replies[0][0].startswith("250-")
    assert replies[1] == [OK]
    assert sorted(session["tls"]["resumed"] for session in lab.sessions) == [False, True]


async def test_commands_in_the_flight_of_the_finished(lab: Lab) -> None:
    """In a full handshake of TLS 1.3 the client's Finished is the last; an EHLO with it is answered."""
    context = believing_context(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    async with (
        lab.receiver(settings={"tls": {"maximum": "TLSv1.3"}}) as receiver,
        await ready(receiver) as peer,
    ):
        await peer.finish_handshake(peer.begin_handshake(context), behind=b"EHLO edge.lab.test\r\nQUIT\r\n")
        heard = await peer.rest()

    assert heard[0] == "250-mx1.lab.test Hello [127.0.0.1]"
    assert heard[-1] == "221 2.0.0 Service closing transmission channel"


async def test_a_handshake_octet_by_octet(lab: Lab) -> None:
    """However small the pieces are, the handshake works, and the ClientHello is known whole."""
    async with lab.receiver() as receiver, await ready(receiver) as peer:
        await peer.send(flight := peer.begin_handshake(), singly=True)
        await peer.finish_handshake(b"")
        assert await peer.ask("NOOP") == [OK]

    assert len(flight) > 100
    assert lab.session()["tls"]["offered"]["server_name"] == "mx1.lab.test"


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 1_000_000])
async def test_messages_of_every_size_come_through(lab: Lab, size: int) -> None:
    """Buffers of one TLS record are no limit to a message, nor to a flight of commands behind it."""
    async with lab.receiver() as receiver, await secured(receiver) as peer:
        await peer.send(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nDATA\r\n")
        for _ in range(3):
            await peer.reply()
        await peer.send(b"\r\n" + b"x" * size + b"\r\n.\r\n" + b"NOOP\r\n" * 1000)
        replies = [await peer.reply() for _ in range(1001)]

    assert replies[0][0].startswith("250 2.6.0 ")
    assert replies[1:] == [[OK]] * 1000
    assert list(lab.raw.values()) == [b"\r\n" + b"x" * size + b"\r\n"]


async def test_the_end_of_tls_in_order(lab: Lab) -> None:
    """close_notify is answered with close_notify, so that the peer knows that nothing was cut off."""
    async with lab.receiver() as receiver, await secured(receiver) as peer:
        await peer.close_notify()
        heard = await peer.rest()

    assert heard == []
    assert peer.saw_close_notify
    assert lab.session()["outcome"] == "peer_disconnected"


async def test_the_receiver_ends_tls_in_order(lab: Lab) -> None:
    """Behind the reply to QUIT the receiver says close_notify before it closes."""
    async with lab.receiver() as receiver, await secured(receiver) as peer:
        assert await peer.ask("QUIT") == ["221 2.0.0 Service closing transmission channel"]
        assert await peer.rest() == []

    assert peer.saw_close_notify


async def test_a_failed_handshake_sends_its_alert(lab: Lab) -> None:
    """The alert leaves before the connection is closed."""
    async with lab.receiver() as receiver, await ready(receiver) as peer:
        await peer.send(b"\x16\x03\x01\x00\x05hello")
        octets = await peer.raw_rest()

    # RFC 5246 section 7.2: fatal, and in clear, since nothing has been agreed upon.
    assert octets.startswith(b"\x15\x03")
    assert octets[5] == 2
