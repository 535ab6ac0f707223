"""Faults on demand, carried out on the wire: what ``domain.faults`` says is to happen, happens here."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from smtpd_anontls.domain.faults import Circumstances, Kind, Point, Suffered
from smtpd_anontls.domain.records import Outcome, TlsFacts
from smtpd_anontls.protocol.client_hello import MAX_CLIENT_HELLO, parse_client_hello
from smtpd_anontls.protocol.handshake import describe_loss, describe_silence
from smtpd_anontls.protocol.replies import Reply
from smtpd_anontls.smtp.ports import Unavailable

if TYPE_CHECKING:
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.faults import Fault, Numbered
    from smtpd_anontls.domain.records import TlsVerb
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.smtp.ports import ServerContext
    from smtpd_anontls.smtp.session import WireSession

_TEXT = "Fault injected on demand"
_HANDSHAKE_RECORD = 0x16
_GARBAGE = 256  # Octets.
_LINGER = 5.0  # Seconds that a peer has to close its side of a connection that was dropped.
_MOST_KEPT = 100  # Firings that a session's record has.
# A record of TLS 1.2 (RFC 5246 section 7.2): an alert of two octets, the first of which says fatal.
_ALERT = bytes([0x15, 3, 3, 0, 2, 2])
_RST = struct.pack("ii", 1, 0)  # struct linger: on, for no time.


class _CutOffError(ConnectionError):
    """We have ended the connection, and the session ends as where the peer does."""


async def suffer(session: WireSession, now: Circumstances) -> Reply | None:
    """Carry out the faults that happen now; return the reply that stands in place of the session's own.

    ConnectionError where one ended the connection.
    """
    assert session.faults is not None
    for each in session.faults.at(now):
        fault = each.fault
        _note(session, each)
        if fault.ends_session:
            session.conclude(Outcome.FAULT_INJECTED, f"fault {each.position} at {fault.at}: {fault.detail}")
        if fault.seconds:
            await session.pause(fault.seconds)
        match fault.kind:
            case Kind.REPLY:
                # Exactly what was asked for, also where a code and a class of status do not go together.
                session.injected = Reply(
                    fault.code or 0,
                    fault.enhanced or "",
                    _TEXT if fault.text is None else fault.text,
                    quirk=True,
                )
                return session.injected
            case Kind.THROTTLE:
                session.octets_per_second = fault.octets_per_second
            case Kind.DROP | Kind.RESET:
                # What was said before has been said.
                await session.flush()
                await _cut_off(session, fault)
                raise _CutOffError
    return None


async def in_place_of_banner(session: WireSession) -> Reply | None:
    """Carry out the faults of a connection and of its banner; return the reply that stands in place of that."""
    return await session.suffer(Point.CONNECT) or await session.suffer(Point.BANNER)


def _note(session: WireSession, each: Numbered, detail: str | None = None) -> None:
    fault = each.fault
    detail = fault.detail if detail is None else detail
    if len(session.suffered) < _MOST_KEPT:
        session.suffered.append(Suffered(each.position, fault.at, fault.kind, detail))
    session.transcript.note(f"fault {each.position} at {fault.at}: {detail}")


async def _cut_off(session: WireSession, fault: Fault) -> None:
    """End the connection with FIN, without close_notify where there is TLS, or with RST."""
    raw = session.raw_transport
    if raw.is_closing():
        return
    if fault.kind is Kind.RESET:
        raw.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        raw.abort()
        return
    if fault.kind is not Kind.STALL and not raw.get_write_buffer_size():
        # A socket that is closed over octets that nobody has read sends RST, so they are read first.
        # By the transport: uvloop lets nobody else shut its sockets down.
        raw.write_eof()
        await _ignore_peer(session, _LINGER)
    raw.close()


async def _ignore_peer(session: WireSession, seconds: float) -> None:
    """Read and drop what comes, until the peer leaves or *seconds* are over."""
    session.is_mute = True
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(seconds):
            await session.read_body(_Nothing())


# -- inside the handshake


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a session is about to start TLS with, and the fault that is to break it."""

    context: ServerContext = field(repr=False)
    certificate: Certificate
    policy: TlsPolicy
    seconds: float = 0.0  # How long it is held back.
    breaks: Numbered | None = None


async def foresee(session: WireSession, verb: TlsVerb, planned: Handshake) -> Handshake:
    """Return the handshake that the faults make of what was planned."""
    assert session.faults is not None
    for each in session.faults.at(Circumstances(Point.HANDSHAKE, verb.value)):
        fault = each.fault
        planned = replace(planned, seconds=planned.seconds + (fault.seconds or 0))
        if fault.kind in {Kind.CERTIFICATE, Kind.VERSION}:
            planned, detail = await _with_another(session, verb, fault, planned)
            _note(session, each, detail)
            continue
        _note(session, each)
        if not fault.kind.goes_on:
            planned = replace(planned, breaks=each)
    return planned


async def _with_another(
    session: WireSession, verb: TlsVerb, fault: Fault, planned: Handshake
) -> tuple[Handshake, str]:
    """Return *planned* with the certificate or the version of *fault*, and a sentence that says so."""
    assert session.welcome is not None
    policy, thumbprint = planned.policy, fault.thumbprint
    if fault.version is not None:
        policy = replace(policy, minimum=fault.version, maximum=fault.version)
        thumbprint = planned.certificate.thumbprint
    found = await session.house.another_context(session.welcome, verb, thumbprint, policy)
    if isinstance(found, Unavailable):
        return planned, f"{fault.detail}; it could not be done: {found.detail}"
    certificate, context = found
    return replace(planned, context=context, certificate=certificate, policy=policy), fault.detail


async def begin(session: WireSession, verb: TlsVerb, planned: Handshake) -> bool:
    """Hold the handshake back, or break it; whether it may begin."""
    if planned.breaks is not None:
        session.is_mute = True
        await _break(session, verb, planned, planned.breaks)
        return False
    if planned.seconds:
        # The ClientHello stays where it is until OpenSSL can have it.
        session.raw_transport.pause_reading()
        session.is_mute = True
        await session.pause(planned.seconds)
        session.is_mute = False
        session.raw_transport.resume_reading()
    return True


async def _break(session: WireSession, verb: TlsVerb, planned: Handshake, each: Numbered) -> None:
    fault, timeout = each.fault, planned.policy.handshake_timeout
    reader = _ClientHelloReader()
    failure, outcome = f"fault {each.position} at {fault.at}: {fault.detail}", Outcome.FAULT_INJECTED
    try:
        async with asyncio.timeout(timeout):
            await session.read_body(reader)
    except TimeoutError:
        failure, outcome = describe_silence(None, timeout), Outcome.HANDSHAKE_FAILED
    except ConnectionError:
        failure, outcome = describe_loss(None), Outcome.HANDSHAKE_FAILED
    session.tls = TlsFacts(
        verb,
        planned.certificate.thumbprint,
        offered=parse_client_hello(bytes(reader.octets)),
        failure=failure,
    )
    session.transcript.handshake(session.tls)
    session.conclude(outcome, failure)
    if outcome is Outcome.FAULT_INJECTED:
        await _disturb(session, fault, planned)
    await _cut_off(session, fault)


async def _disturb(session: WireSession, fault: Fault, planned: Handshake) -> None:
    """Do what *fault* says behind the ClientHello."""
    if planned.seconds:
        await session.pause(planned.seconds)
    match fault.kind:
        case Kind.GARBAGE:
            # No content type and no version of TLS (RFC 8446 section 5.1); the rest is anything.
            session.raw_transport.write(b"\xff\xff\xff" + secrets.token_bytes(_GARBAGE - 3))
        case Kind.ALERT:
            session.raw_transport.write(_ALERT + bytes([fault.alert_number]))
        case Kind.STALL:
            await _ignore_peer(session, planned.policy.handshake_timeout)


class _ClientHelloReader:
    """The octets up to the end of a ClientHello, or of what cannot become one."""

    def __init__(self) -> None:
        self.octets = bytearray()

    def feed(self, octets: bytes) -> bytes | None:
        self.octets += octets[: MAX_CLIENT_HELLO - len(self.octets)]
        is_tls = self.octets[:1] == bytes([_HANDSHAKE_RECORD])
        may_come = is_tls and len(self.octets) < MAX_CLIENT_HELLO
        return None if may_come and parse_client_hello(bytes(self.octets)) is None else b""


class _Nothing:
    """What is read and dropped for as long as it comes."""

    def feed(self, octets: bytes) -> bytes | None:  # noqa: ARG002 - the signature of a Body
        return None
