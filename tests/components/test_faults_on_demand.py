"""Faults on demand, as senders see them: real sockets, real TLS, smtplib and swaks."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.domain.faults import Point
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.settings.load import load_config
from tests.components.handshake import client_context
from tests.lab import CONNECTOR, FQDN, SERVER, Belongings, all_ended, eventually, greeted, secured
from tests.peer import Peer, believing_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab import Json, Lab

pytestmark = pytest.mark.slow

SENDER_OK = ["250 2.1.0 Sender OK"]
RECIPIENT_OK = ["250 2.1.5 Recipient OK"]
GO_ON = ["354 Start mail input; end with <CRLF>.<CRLF>"]
READY = ["220 2.0.0 SMTP server ready"]
BUSY = {"kind": "reply", "code": 451, "enhanced": "4.7.0", "text": "Try again later"}
BUSY_LINE = "451 4.7.0 Try again later"
MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"
# What a peer says to come to each point of a mail.
COMMANDS = {
    "ehlo": "EHLO edge.lab.test",
    "tls": "X-ANONYMOUSTLS",
    "auth": "AUTH LOGIN",
    "mail": "MAIL FROM:<a@lab.test>",
    "rcpt": "RCPT TO:<b@lab.test>",
    "data": "DATA",
    "end_of_data": "\r\nhello\r\n.",
}
# Those that come before one, in their order.
BEFORE = {
    "ehlo": [],
    "tls": ["ehlo"],
    "auth": ["ehlo"],
    "mail": ["ehlo"],
    "rcpt": ["ehlo", "mail"],
    "data": ["ehlo", "mail", "rcpt"],
    "end_of_data": ["ehlo", "mail", "rcpt", "data"],
    "accepted": ["ehlo", "mail", "rcpt", "data"],
}


def wanting(*faults: Json) -> dict[str, Any]:
    """Return the overlay of a lab that wants *faults* from its start."""
    users = {"CONTOSO\\anna": "a long password"}
    return {"settings": {"faults": list(faults)}, "users": users, "connector": {"auth_mechanism": MECHANISMS}}


MECHANISMS = ["Tls", "BasicAuth", "ExchangeServer"]


async def come_to(peer: Peer, point: str) -> None:
    """Bring a peer that has just connected to where only the command of *point* is missing."""
    assert (await peer.reply())[0].startswith("220 ")
    for each in BEFORE[point]:
        assert (await peer.ask(COMMANDS[each]))[-1][:3] in {"250", "354"}


async def ends_with_reset(peer: Peer) -> bool:
    """Whether the connection ends with RST; False where with FIN, AssertionError where something is said."""
    try:
        assert await asyncio.get_running_loop().sock_recv(peer.socket, 100) == b""
    except ConnectionResetError:
        return True
    return False


async def is_served(receiver: Receiver) -> None:
    """Deliver a message under TLS, as a neighbour that no fault is meant for."""
    async with await secured(receiver) as peer:
        assert await peer.ask("MAIL FROM:<neighbour@lab.test>") == SENDER_OK
        assert await peer.ask("RCPT TO:<b@lab.test>") == RECIPIENT_OK
        assert await peer.ask("DATA") == GO_ON
        assert (await peer.ask("\r\nhello\r\n."))[0].startswith("250 2.6.0 ")


def fired(lab: Lab) -> list[tuple[str, str]]:
    """Return point and kind of what fired in the newest session."""
    return [(each["at"], each["kind"]) for each in lab.session()["faults"]]


# -- a reply in place of ours


@pytest.mark.parametrize("point", [point for point in BEFORE if point != "accepted"])
async def test_a_reply_in_place_of_ours(lab: Lab, point: str) -> None:
    """Exactly this reply comes once, nothing is carried out, and the session goes on."""
    async with (
        lab.receiver(**wanting({"at": point, "count": 1, **BUSY})) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await come_to(peer, point)
        assert await peer.ask(COMMANDS[point]) == [BUSY_LINE]
        assert await peer.ask("NOOP") == ["250 2.0.0 OK"]
        await peer.ask("QUIT")

    assert fired(lab) == [(point, "reply")]
    assert lab.session()["faults"][0] == {
        "fault": 0,
        "at": point,
        "kind": "reply",
        "detail": f"reply {BUSY_LINE}",
    }
    assert f"fault 0 at {point}: reply {BUSY_LINE}" in [row["text"] for row in lab.session()["transcript"]]
    assert lab.session()["outcome"] == "quit_without_mail"
    assert lab.messages == []


async def test_a_reply_to_what_was_accepted(lab: Lab) -> None:
    """The message is durable, and its sender is told that it is not."""
    async with (
        lab.receiver(**wanting({"at": "accepted", **BUSY})) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await come_to(peer, "accepted")
        assert await peer.ask(COMMANDS["end_of_data"]) == [BUSY_LINE]

    assert len(lab.messages) == 1
    assert fired(lab) == [("accepted", "reply")]


async def test_a_reply_in_place_of_the_banner(lab: Lab) -> None:
    """At connect it is all that is said; at banner the session goes on."""
    refusal = {"kind": "reply", "code": 554, "text": "No SMTP service here"}
    async with lab.receiver(
        **wanting({"at": "connect", "count": 1, **refusal}, {"at": "banner", **refusal})
    ) as receiver:
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            assert await peer.rest() == ["554 No SMTP service here"]
        await all_ended(receiver)
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            assert await peer.reply() == ["554 No SMTP service here"]
            assert (await peer.ask("EHLO edge.lab.test"))[0].startswith("250-")

    assert lab.sessions[1]["outcome"] == "fault_injected"
    assert lab.sessions[1]["outcome_detail"] == "fault 0 at connect: reply 554 No SMTP service here"
    assert lab.sessions[0]["outcome"] == "peer_disconnected"


async def test_a_reply_of_421_ends_the_session(lab: Lab) -> None:
    """RFC 5321 section 3.8: the connection is closed behind it."""
    async with (
        lab.receiver(**wanting({"at": "mail", "kind": "reply", "code": 421})) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.send(b"MAIL FROM:<a@lab.test>\r\n")
        assert await peer.rest() == ["421 Fault injected on demand"]

    assert lab.session()["outcome"] == "fault_injected"


async def test_an_injected_reply_is_not_held_back_or_counted(lab: Lab) -> None:
    """Neither TarpitInterval nor MaxProtocolErrors have to do with it."""
    strict = {"auth_mechanism": MECHANISMS, "tarpit_interval": 3600, "max_protocol_errors": 0}
    overlay = {**wanting({"at": "mail", "kind": "reply", "code": 503}), "connector": strict}
    async with lab.receiver(**overlay) as receiver, await greeted(receiver) as peer:
        for _ in range(3):
            assert await peer.ask("MAIL FROM:<a@lab.test>") == ["503 Fault injected on demand"]


async def test_a_record_does_not_grow_for_ever(lab: Lab) -> None:
    """Of very many firings it keeps the first hundred."""
    async with lab.receiver(**wanting({"at": "mail", **BUSY})) as receiver, await greeted(receiver) as peer:
        await peer.send(b"MAIL FROM:<a@lab.test>\r\n" * 150)
        assert [await peer.reply() for _ in range(150)] == [[BUSY_LINE]] * 150

    assert len(lab.session()["faults"]) == 100


async def test_a_reply_to_a_chunk(lab: Lab) -> None:
    """The chunk is read to its end and dropped, and nothing of it is taken for a command."""
    fault = {"at": "data", "verb": "BDAT", "count": 1, **BUSY}
    async with lab.receiver(**wanting(fault)) as receiver, await greeted(receiver) as peer:
        await peer.send(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n")
        replies = [await peer.reply() for _ in range(4)]
        await peer.send(b"BDAT 6 LAST\r\nNOOP\r\n")
        taken = await peer.reply()

    assert replies == [SENDER_OK, RECIPIENT_OK, [BUSY_LINE], ["250 2.0.0 OK"]]
    assert taken[0].startswith("250 2.6.0 ")


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_the_end_of_data_of_one_verb(lab: Lab, verb: str) -> None:
    """A fault for BDAT leaves DATA alone, and the other way round."""
    async with (
        lab.receiver(**wanting({"at": "end_of_data", "verb": verb, **BUSY})) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await come_to(peer, "end_of_data")
        by_data = await peer.ask(COMMANDS["end_of_data"])
        await peer.send(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nBDAT 2 LAST\r\n\r\n")
        by_bdat = [await peer.reply() for _ in range(3)][2]

    assert (by_data == [BUSY_LINE]) is (verb == "DATA")
    assert (by_bdat == [BUSY_LINE]) is (verb == "BDAT")
    assert len(lab.messages) == 1


# -- the end of the connection


@pytest.mark.parametrize("kind", ["drop", "reset"])
@pytest.mark.parametrize("point", ["connect", "banner", *BEFORE])
async def test_the_connection_ends_at_any_point(lab: Lab, point: str, kind: str) -> None:
    """With FIN or RST as it was asked for, once; others are served meanwhile, and nothing is left of it."""
    async with lab.receiver(**wanting({"at": point, "kind": kind, "count": 1})) as receiver:
        before = Belongings.now()
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            if point in BEFORE:
                await come_to(peer, point)
                await peer.send(COMMANDS.get(point, COMMANDS["end_of_data"]).encode() + b"\r\n")
            async with asyncio.timeout(20):
                assert await ends_with_reset(peer) is (kind == "reset")
            await is_served(receiver)
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    broken = lab.sessions[1]
    assert broken["outcome"] == "fault_injected"
    assert broken["outcome_detail"].startswith(f"fault 0 at {point}: {kind} of the connection")
    assert [(each["at"], each["kind"]) for each in broken["faults"]] == [(point, kind)]
    assert len(lab.messages) == 1 + (point == "accepted")


@pytest.mark.parametrize("kind", ["drop", "reset"])
async def test_the_connection_ends_under_tls(lab: Lab, kind: str) -> None:
    """A drop is no orderly end of TLS: there is no close_notify."""
    async with lab.receiver(**wanting({"at": "mail", "kind": kind})) as receiver:
        before = Belongings.now()
        async with await secured(receiver) as peer:
            await peer.send(b"NOOP\r\nMAIL FROM:<a@lab.test>\r\n")
            heard = await peer.rest()
            saw_close_notify = peer.saw_close_notify
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    assert heard == ["250 2.0.0 OK"] or (kind == "reset" and not heard)
    assert not saw_close_notify
    assert lab.session()["outcome"] == "fault_injected"


@pytest.mark.parametrize("meet", [greeted, secured])
async def test_a_drop_is_no_reset_whatever_is_on_its_way(lab: Lab, meet: Callable[..., Any]) -> None:
    """Also behind a chunk of which nobody has read anything the connection ends with FIN."""
    async with lab.receiver(**wanting({"at": "data", "kind": "drop"})) as receiver:
        async with await meet(receiver) as peer:
            await peer.send(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nBDAT 4000000 LAST\r\n")
            await peer.send(b"x" * 4_000_000)
            assert [await peer.reply() for _ in range(3)] == [SENDER_OK, RECIPIENT_OK, []]
        await all_ended(receiver)

    assert lab.session()["outcome"] == "fault_injected"
    assert lab.messages == []


# -- slowness


async def test_a_delay_holds_back_only_its_session(lab: Lab) -> None:
    """While one waits others are served, and a shutdown does not wait for its end."""
    delay = {"at": "ehlo", "verb": "HELO", "kind": "delay", "seconds": "01:00:00"}
    async with (
        lab.receiver(**wanting(delay)) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await peer.send(b"HELO edge.lab.test\r\n")
        await eventually(lambda: receiver.faults.faults[0].fired == 1)
        await is_served(receiver)
        await receiver.listener.close(20)
        heard = await peer.rest()

    assert heard[-1] == "421 4.3.2 Service not active"
    assert lab.sessions[1]["outcome"] == "shut_down"
    assert [each["kind"] for each in lab.sessions[1]["faults"]] == ["delay"]


async def test_a_delay_and_what_is_behind_it(lab: Lab) -> None:
    """Delays add up and go on to the next fault of the list, which is the last."""
    faults: list[Json] = [
        {"at": "mail", "kind": "delay", "seconds": 0.1},
        {"at": "mail", "seconds": 0.1, **BUSY},
        {"at": "mail", "kind": "drop"},
    ]
    loop = asyncio.get_running_loop()
    async with lab.receiver(**wanting(*faults)) as receiver, await greeted(receiver) as peer:
        began = loop.time()
        assert await peer.ask("MAIL FROM:<a@lab.test>") == [BUSY_LINE]
        # Never sooner; how much later is the machine's affair.
        assert loop.time() - began > 0.19

    assert fired(lab) == [("mail", "delay"), ("mail", "reply")]


async def test_a_throttle_from_here_on(lab: Lab) -> None:
    """Replies come in small pieces, complete and in their order, no faster than was asked for."""
    throttle = {"at": "mail", "kind": "throttle", "octets_per_second": 100}
    loop = asyncio.get_running_loop()
    async with lab.receiver(**wanting(throttle)) as receiver, await secured(receiver) as peer:
        began = loop.time()
        await peer.send(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\n")
        assert [await peer.reply() for _ in range(2)] == [SENDER_OK, RECIPIENT_OK]
        octets = len(SENDER_OK[0]) + len(RECIPIENT_OK[0]) + 4
        assert loop.time() - began > (octets - 11) / 100
        assert await peer.ask("RSET") == ["250 2.0.0 Resetting"]

    assert fired(lab) == [("mail", "throttle")]


async def test_a_peer_that_leaves_a_throttled_session(lab: Lab) -> None:
    """Nobody waits for the rest of a reply."""
    throttle = {"at": "banner", "kind": "throttle", "octets_per_second": 1}
    async with lab.receiver(**wanting(throttle)) as receiver:
        before = Belongings.now()
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            assert await asyncio.get_running_loop().sock_recv(peer.socket, 1) == b"2"
            peer.reset()
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    assert lab.session()["outcome"] == "peer_disconnected"


# -- inside the handshake


async def ready(receiver: Receiver, verb: str = "X-ANONYMOUSTLS") -> Peer:
    """Return a peer that has been told to begin its handshake."""
    peer = await greeted(receiver)
    assert await peer.ask(verb) == READY
    return peer


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param({"kind": "drop"}, "EOF", id="drop"),
        pytest.param({"kind": "reset"}, "RST", id="reset"),
        pytest.param({"kind": "garbage"}, "WRONG_VERSION_NUMBER", id="garbage"),
        pytest.param({"kind": "alert"}, "HANDSHAKE_FAILURE", id="alert"),
        pytest.param({"kind": "alert", "alert": 70}, "ALERT_PROTOCOL_VERSION", id="another alert"),
        pytest.param({"kind": "alert", "alert": 80, "seconds": 0.05}, "INTERNAL_ERROR", id="a late alert"),
    ],
)
@pytest.mark.parametrize("verb", ["X-ANONYMOUSTLS", "STARTTLS"])
async def test_a_handshake_that_is_broken(lab: Lab, verb: str, fault: Json, why: str) -> None:
    """The peer's TLS library meets what was asked for behind its ClientHello; the record has what it offered."""
    wanted = wanting({"at": "handshake", "verb": verb, "count": 1, **fault})
    async with lab.receiver(**wanted) as receiver:
        before = Belongings.now()
        async with await ready(receiver, verb) as peer:
            with pytest.raises((ssl.SSLError, ConnectionResetError)) as raised:
                await peer.upgrade()
        await is_served(receiver)
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    met = getattr(raised.value, "reason", "RST") or "EOF"
    assert why in str(met)
    broken = lab.sessions[1]
    assert broken["outcome"] == "fault_injected"
    assert broken["verb"] == verb
    assert broken["tls"]["offered"]["server_name"] == "mx1.lab.test"
    assert broken["tls"]["failure"] == broken["outcome_detail"]
    assert broken["faults"][0]["kind"] == fault["kind"]


async def test_a_handshake_for_the_other_verb_alone(lab: Lab) -> None:
    """A fault of STARTTLS leaves X-ANONYMOUSTLS alone."""
    wanted = wanting({"at": "handshake", "verb": "STARTTLS", "kind": "drop"})
    async with lab.receiver(**wanted) as receiver:
        await is_served(receiver)
        async with await ready(receiver, "STARTTLS") as peer:
            with pytest.raises(ssl.SSLError):
                await peer.upgrade()


@pytest.mark.parametrize("end", ["FIN", "RST", "time-out"])
async def test_a_handshake_that_stalls(lab: Lab, end: str) -> None:
    """Nothing comes until the peer gives up, or handshake_timeout."""
    wanted = wanting({"at": "handshake", "kind": "stall"})
    wanted["settings"]["tls"] = {"handshake_timeout": 0.3 if end == "time-out" else 3600}
    async with lab.receiver(**wanted) as receiver:
        before = Belongings.now()
        async with await ready(receiver) as peer:
            await peer.send(peer.begin_handshake())
            if end == "FIN":
                peer.half_close()
            if end == "RST":
                peer.reset()
            else:
                assert await peer.raw_rest() == b""
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    # An RST may come so early that the ClientHello is lost.
    assert lab.session()["outcome"] in {"fault_injected", *(["handshake_failed"] if end == "RST" else [])}


@pytest.mark.parametrize("limit", ["connection_timeout", "connection_inactivity_timeout", "shutdown"])
async def test_a_stall_that_something_else_ends(lab: Lab, limit: str) -> None:
    """Within the handshake nobody speaks in clear, whoever ends it."""
    wanted = wanting({"at": "handshake", "kind": "stall"})
    times = {"connection_inactivity_timeout": 0.2, "connection_timeout": 0.3}
    wanted["connector"] |= (
        {} if limit == "shutdown" else {limit: times[limit], "connection_inactivity_timeout": 0.2}
    )
    async with lab.receiver(**wanted) as receiver, await ready(receiver) as peer:
        await peer.send(peer.begin_handshake())
        await eventually(lambda: any(each.tls for each in receiver.listener.sessions))
        if limit == "shutdown":
            await receiver.listener.close(0.05)
        assert await peer.raw_rest() == b""

    assert lab.session()["outcome"] == "fault_injected"


@pytest.mark.parametrize("limit", ["connection_timeout", "shutdown"])
async def test_a_late_handshake_that_something_else_ends(lab: Lab, limit: str) -> None:
    """ConnectionTimeout ends it, a shutdown lets it begin before it ends it; neither says anything in clear."""
    wanted = wanting({"at": "handshake", "kind": "delay", "seconds": 3600})
    if limit == "connection_timeout":
        wanted["connector"] |= {"connection_timeout": 0.3, "connection_inactivity_timeout": 0.2}
    async with lab.receiver(**wanted) as receiver:
        before = Belongings.now()
        async with await ready(receiver) as peer:
            await peer.send(peer.begin_handshake())
            if limit == "shutdown":
                await receiver.listener.close(0.05)
            heard = await peer.raw_rest()
        await all_ended(receiver)
        await eventually(lambda: Belongings.now().tasks <= before.tasks)

    # A ServerHello begins with the type of its record.
    assert heard[:1] == (b"" if limit == "connection_timeout" else b"\x16")
    assert lab.session()["outcome"] == ("timeout" if limit == "connection_timeout" else "shut_down")


async def test_a_peer_that_leaves_before_it_begins(lab: Lab) -> None:
    """Then it was the peer that ended the handshake, whatever was to happen."""
    alert = {"at": "handshake", "kind": "alert"}
    async with lab.receiver(**wanting(alert)) as receiver, await ready(receiver) as peer:
        peer.half_close()
        assert await peer.raw_rest() == b""

    assert lab.session()["outcome"] == "handshake_failed"
    assert lab.session()["tls"]["failure"] == "the peer closed the connection before it sent a ClientHello"


@pytest.mark.parametrize("said", [b"", b"EHLO edge.lab.test\r\n"], ids=["nothing", "no TLS"])
async def test_a_handshake_that_never_begins(lab: Lab, said: bytes) -> None:
    """Without a ClientHello the fault has nothing to happen behind; what is no TLS is met by it."""
    wanted = wanting({"at": "handshake", "kind": "drop"})
    wanted["settings"]["tls"] = {"handshake_timeout": 0.3}
    async with lab.receiver(**wanted) as receiver, await ready(receiver) as peer:
        await peer.send(said)
        assert await peer.raw_rest() == b""

    assert lab.session()["outcome"] == ("fault_injected" if said else "handshake_failed")
    assert lab.session()["tls"]["offered"] is None


async def test_another_certificate(lab: Lab) -> None:
    """One that is made for the moment, or one of the store; the record names what was presented."""
    wanted = wanting({"at": "handshake", "kind": "certificate", "count": 1})
    async with lab.receiver(**wanted) as receiver:
        async with await ready(receiver) as peer:
            await peer.upgrade()
            first = lab.name_of(peer.presented())
            assert (await peer.ask("EHLO edge.lab.test"))[0].startswith("250-")
        other = lab.certificate(FQDN).thumbprint
        receiver.put_faults([{"at": "handshake", "kind": "certificate", "thumbprint": other.lower()}])
        async with await ready(receiver) as peer:
            await peer.upgrade()
            second = lab.name_of(peer.presented())

    assert len(first) == 40
    assert second == FQDN
    assert [each["tls"]["thumbprint"] for each in lab.sessions] == [other, first]
    assert [each["outcome"] for each in lab.sessions] == ["peer_disconnected"] * 2


async def test_another_certificate_that_a_peer_does_not_believe(lab: Lab) -> None:
    """A peer that asks for the name of the host refuses it, and says why."""
    strict = ssl.create_default_context()
    lab.pki.authority.configure_trust(strict)
    strict.maximum_version = ssl.TLSVersion.TLSv1_2
    async with lab.receiver(**wanting({"at": "handshake", "kind": "certificate", "count": 1})) as receiver:
        async with await ready(receiver, "STARTTLS") as peer:
            with pytest.raises(ssl.SSLCertVerificationError):
                await peer.upgrade(strict)
        async with await ready(receiver, "STARTTLS") as peer:
            await peer.upgrade(strict)

    refused = lab.sessions[1]
    assert refused["outcome"] == "handshake_failed"
    assert "the peer ended the handshake with the alert" in refused["tls"]["failure"]
    assert refused["faults"][0]["detail"] == "another certificate: one made for the moment"


async def test_a_certificate_that_is_not_there(lab: Lab) -> None:
    """The handshake goes on as it would have, and the record says that the fault could not be done."""
    fault = {"at": "handshake", "kind": "certificate", "thumbprint": "AB" * 20}
    async with lab.receiver(**wanting(fault)) as receiver, await secured(receiver) as peer:
        presented = peer.presented()

    assert lab.name_of(presented) == "internal"
    assert lab.session()["faults"][0]["detail"] == (
        f"another certificate: {'AB' * 20}; it could not be done: "
        f"the local computer store holds no certificate with thumbprint {'AB' * 20}"
    )


@pytest.mark.parametrize("asks", [False, True], ids=["plain", "with direct trust"])
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
async def test_one_version_alone(lab: Lab, version: str, *, asks: bool) -> None:
    """A peer that speaks every version gets this one, and one that does not speak it fails."""
    wanted = wanting({"at": "handshake", "kind": "version", "version": version})
    wanted["connector"]["request_client_certificate"] = asks
    spoken = next(each for each in TlsVersion if str(each) == version)
    others = (TlsVersion.TLSv1_3,) * 2 if version != "TLSv1.3" else (TlsVersion.TLSv1, TlsVersion.TLSv1_2)
    async with lab.receiver(**wanted) as receiver:
        async with await ready(receiver) as peer:
            await peer.upgrade(client_context(TlsVersion.TLSv1, TlsVersion.TLSv1_3))
            assert peer.tls is not None
            assert peer.tls.version() == spoken.value
            assert (await peer.ask("EHLO edge.lab.test"))[0].startswith("250-")
        await all_ended(receiver)
        async with await ready(receiver) as peer:
            with pytest.raises(ssl.SSLError):
                await peer.upgrade(client_context(*others))

    failed, went_well = lab.sessions
    assert went_well["tls"]["version"] == version
    assert failed["outcome"] == "handshake_failed"
    assert failed["tls"]["failure"].startswith("no common TLS version")


async def test_a_handshake_that_begins_late(lab: Lab) -> None:
    """The ClientHello waits outside, whole, also where it came at once."""
    faults = [
        {"at": "handshake", "kind": "delay", "seconds": 0.1},
        {"at": "tls", "kind": "delay", "seconds": 0.05},
    ]
    async with lab.receiver(**wanting(*faults)) as receiver, await ready(receiver) as peer:
        began = asyncio.get_running_loop().time()
        await peer.send(peer.begin_handshake())
        await peer.finish_handshake(b"")
        assert (await peer.ask("EHLO edge.lab.test"))[0].startswith("250-")
        assert asyncio.get_running_loop().time() - began > 0.05

    assert fired(lab) == [("tls", "delay"), ("handshake", "delay")]


# -- in which sessions


async def test_patterns_of_addresses(lab: Lab) -> None:
    """Only the recipient and the sender that are meant."""
    faults = [
        {"at": "rcpt", "recipient": "*@SLOW.test", **BUSY},
        {"at": "mail", "sender": "", "kind": "reply", "code": 550, "enhanced": "5.1.0", "text": "No bounces"},
    ]
    async with lab.receiver(**wanting(*faults)) as receiver, await greeted(receiver) as peer:
        assert await peer.ask("MAIL FROM:<>") == ["550 5.1.0 No bounces"]
        assert await peer.ask("MAIL FROM:<a@lab.test>") == SENDER_OK
        assert await peer.ask("RCPT TO:<b@slow.test>") == [BUSY_LINE]
        assert await peer.ask("RCPT TO:<b@fast.test>") == RECIPIENT_OK

    assert [each["fault"] for each in lab.session()["faults"]] == [1, 0]


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ({"server": SERVER, "connector": CONNECTOR, "remote_ip_ranges": ["127.0.0.0/8"]}, True),
        ({"remote_ip_ranges": ["192.0.2.0/24"]}, False),
        ({"verb": "HELO"}, False),
        ({"verb": "EHLO"}, True),
    ],
)
async def test_sessions_that_are_meant(lab: Lab, condition: Json, *, meant: bool) -> None:
    """Server, connector, peer and verb tell them apart."""
    async with (
        lab.receiver(**wanting({"at": "ehlo", **BUSY, **condition})) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await peer.reply()
        assert (await peer.ask("EHLO edge.lab.test") == [BUSY_LINE]) is meant


async def test_a_verb_that_tls_began_with(lab: Lab) -> None:
    """MAIL fails under X-ANONYMOUSTLS alone."""
    async with lab.receiver(**wanting({"at": "mail", "verb": "X-ANONYMOUSTLS", **BUSY})) as receiver:
        async with await greeted(receiver) as peer:
            assert await peer.ask("MAIL FROM:<a@lab.test>") == SENDER_OK
        async with await secured(receiver) as peer:
            assert await peer.ask("MAIL FROM:<a@lab.test>") == [BUSY_LINE]


async def test_a_probability(lab: Lab) -> None:
    """The receiver asks the chance that it was given, once for each time that the rest holds."""
    numbers: Iterator[float] = iter([0.4, 0.5, 0.1])
    chance: Callable[[], float] = lambda: next(numbers)  # noqa: E731 - typed, as it is handed over
    path = lab.write(settings={"faults": [{"at": "mail", "probability": 0.5, **BUSY}]})
    loaded = load_config(path, environ={}, machine_fqdn=FQDN)
    async with Receiver(loaded, chance=chance) as receiver:
        heard = []
        for _ in range(3):
            async with await greeted(receiver) as peer:
                heard.append(await peer.ask("MAIL FROM:<a@lab.test>") == [BUSY_LINE])
        await all_ended(receiver)

    assert heard == [True, False, True]
    assert next(numbers, None) is None


# -- changing them while it runs


async def test_faults_are_put_and_deleted_while_it_runs(lab: Lab) -> None:
    """A session keeps those of its beginning; what is put counts anew and has a number."""
    async with lab.receiver() as receiver:
        async with await greeted(receiver) as before:
            assert receiver.put_faults([{"at": "mail", **BUSY}]) == 1
            async with await greeted(receiver) as peer:
                assert await peer.ask("MAIL FROM:<a@lab.test>") == [BUSY_LINE]
            assert await before.ask("MAIL FROM:<a@lab.test>") == SENDER_OK
        shown = receiver.faults.as_json()
        assert (shown["version"], shown["items"][0]["met"], shown["items"][0]["fired"]) == (1, 1, 1)
        # What is shown can be put again.
        assert receiver.put_faults([each["fault"] for each in shown["items"]]) == 2
        assert receiver.faults.as_json()["items"][0]["fault"] == shown["items"][0]["fault"]
        receiver.delete_faults()
        assert receiver.faults.as_json() == {"version": 3, "items": []}
        await is_served(receiver)


async def test_wrong_faults_change_nothing(lab: Lab) -> None:
    """Every mistake is named, and those that were wanted still are."""
    async with lab.receiver(**wanting({"at": "mail", **BUSY})) as receiver:
        with pytest.raises(ConfigError) as refused:
            receiver.put_faults(
                [{"at": "mail", **BUSY}, {"at": "mial", "kind": "drop"}, {"at": "mail", "kind": "alert"}]
            )

        assert refused.value.lines == (
            f"request: faults[1].at: 'mial' is not one of {', '.join(Point)}",
            "request: faults[2].kind: alert cannot happen at mail; choose one of reply, delay, throttle, drop, reset",
        )
        assert len(receiver.faults.faults) == 1
        assert receiver.faults.version == 0


async def test_a_changed_configuration_brings_its_faults(lab: Lab) -> None:
    """The next session has them; a change of something else leaves what was put by hand."""
    async with lab.receiver() as receiver:
        receiver.put_faults([{"at": "ehlo", **BUSY}])
        lab.write(connector={"banner": "hello"})
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            assert await peer.reply() == ["220 hello"]
            assert await peer.ask("EHLO edge.lab.test") == [BUSY_LINE]
        lab.write(settings={"faults": [{"at": "mail", "kind": "drop"}]})
        async with await greeted(receiver) as peer:
            await peer.send(b"MAIL FROM:<a@lab.test>\r\n")
            assert await peer.rest() == []
        lab.write()
        await is_served(receiver)


# -- other people's senders


async def test_smtplib_tries_again(lab: Lab) -> None:
    """Python's smtplib meets a 451 once, and a connection that ends before its 250; the message is there twice."""
    faults = [{"at": "rcpt", "count": 1, **BUSY}, {"at": "accepted", "kind": "drop", "count": 1}]

    def send(address: tuple[str, int]) -> str:
        with (
            contextlib.suppress(smtplib.SMTPServerDisconnected),
            smtplib.SMTP(*address, timeout=20) as client,
        ):
            client.starttls(context=believing_context())
            client.sendmail("a@lab.test", ["b@lab.test"], MESSAGE)
            return "sent"
        return "disconnected"

    async with lab.receiver(**wanting(*faults)) as receiver:
        address = receiver.address(CONNECTOR)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            await asyncio.to_thread(send, address)
        second = await asyncio.to_thread(send, address)
        third = await asyncio.to_thread(send, address)

    assert refused.value.recipients == {"b@lab.test": (451, b"4.7.0 Try again later")}
    assert (second, third) == ("disconnected", "sent")
    assert len(lab.messages) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        pytest.param({"at": "mail", **BUSY}, 23, f"<~* {BUSY_LINE}", id="451 at MAIL"),
        pytest.param(
            {"at": "connect", "kind": "reply", "code": 554}, 21, "<** 554 Fault", id="554 at connect"
        ),
        pytest.param({"at": "handshake", "kind": "alert"}, 29, "*** TLS startup failed", id="an alert"),
        pytest.param({"at": "end_of_data", "kind": "drop"}, 6, "*** Remote host closed", id="a drop"),
    ],
)
async def test_swaks_meets_what_was_asked_for(lab: Lab, fault: Json, code: int, said: str) -> None:
    """swaks, which its exit code says."""
    async with lab.receiver(**wanting(fault)) as receiver:
        host, port = receiver.address(CONNECTOR)
        process = await asyncio.create_subprocess_exec(
            *("swaks", "--server", host, "--port", str(port), "--tls", "--from", "a@lab.test"),
            *("--to", "b@lab.test", "--timeout", "20"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()

    assert said in output.decode()
    assert process.returncode == code
    assert lab.messages == []
    assert fired(lab) == [(fault["at"], fault["kind"])]
