"""NTLM's three messages and its two old ciphers, by way of pyspnego.

pyspnego's public acceptor reads its users and its level from process-wide environment variables,
rejects a client without channel bindings, and takes all-zero ones for valid, so only its codec is
used, which is private: no other file touches it.  Guarded by tests/components/test_ntlm.py, which
holds it against the examples of MS-NLMP section 4.2.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spnego._ntlm_raw import crypto, messages
from spnego._ntlm_raw.md4 import md4 as _md4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

NegotiateFlags = messages.NegotiateFlags

SIGNATURE = b"NTLMSSP\0"
# What probes such as nmap's smtp-ntlm-info show: Windows Server 2019, NTLMSSP revision 15.
_VERSION = messages.Version(10, 0, 17763)
# The security buffers of an AUTHENTICATE message (MS-NLMP section 2.2.1.3), each length, size and offset.
_BUFFERS = (12, 20, 28, 36, 44, 52)
_CLIENT_CHALLENGE = 28  # Octets of NTLMv2_CLIENT_CHALLENGE in front of its pairs (section 2.2.2.7).
_MIC_SIZE = 16


class MalformedError(ValueError):
    """The octets are no such message; the text is a clause without any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNames:
    """How the server calls itself in its challenge."""

    netbios_name: str  # MBX1
    netbios_domain: str  # CONTOSO
    dns_name: str  # mbx1.contoso.test
    dns_domain: str  # contoso.test


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """An AUTHENTICATE message, read; what could be guessed at offline is in no ``repr``."""

    flags: int
    domain: str
    user: str
    nt_response: bytes = field(repr=False)
    lm_response: bytes = field(repr=False)
    session_key: bytes = field(repr=False)  # EncryptedRandomSessionKey.
    mic: bytes | None = field(repr=False)  # None: the message has no room for one.
    without_mic: bytes = field(repr=False)  # The whole message with its MIC zeroed.


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What an NTLMv2 client says in the pairs that its response covers."""

    has_mic: bool
    channel_bindings: bytes | None = field(repr=False)


def read_negotiate(token: bytes) -> int:
    """Return the flags of a NEGOTIATE message; MalformedError where it is none."""
    with _codec("not a NEGOTIATE message of NTLM"):
        return int(messages.Negotiate.unpack(_raw(token)).flags)


def write_challenge(flags: int, challenge: bytes, names: TargetNames, now: datetime) -> bytes:
    """Return a CHALLENGE message (MS-NLMP section 2.2.1.2)."""
    pairs = messages.TargetInfo()
    pairs[messages.AvId.nb_domain_name] = names.netbios_domain
    pairs[messages.AvId.nb_computer_name] = names.netbios_name
    pairs[messages.AvId.dns_domain_name] = names.dns_domain
    pairs[messages.AvId.dns_computer_name] = names.dns_name
    # Its presence makes the client send a MIC (section 3.1.5.1.2).
    pairs[messages.AvId.timestamp] = messages.FileTime.from_datetime(now)
    version = _VERSION if flags & NegotiateFlags.version else None
    return messages.Challenge(
        flags, challenge, target_name=names.netbios_domain, target_info=pairs, version=version
    ).pack()


def read_authenticate(token: bytes) -> Authenticate:
    """Read an AUTHENTICATE message; MalformedError where it is none, or its parts lie outside of it."""
    with _codec("not an AUTHENTICATE message of NTLM"):
        return _authenticate(_raw(token))


def read_target_info(client_challenge: bytes) -> TargetInfo:
    """Read the pairs of an NTLMv2_CLIENT_CHALLENGE; MalformedError where they cannot be."""
    with _codec("an AUTHENTICATE message whose pairs cannot be read"):
        pairs = messages.TargetInfo.unpack(client_challenge[_CLIENT_CHALLENGE:])
        flags = pairs.get(messages.AvId.flags, messages.AvFlags.none)
        return TargetInfo(bool(flags & messages.AvFlags.mic), pairs.get(messages.AvId.channel_bindings))


def md4(octets: bytes) -> bytes:
    """Return the MD4 of *octets*; OpenSSL 3 has put it away among its legacy algorithms."""
    return _md4(octets)


def des_long(key: bytes, octets: bytes) -> bytes:
    """Return DESL(key, octets) of MS-NLMP section 6."""
    return crypto.desl(key, octets)


def rc4(key: bytes, octets: bytes) -> bytes:
    """Return RC4K(key, octets) of MS-NLMP section 6."""
    return crypto.rc4k(key, octets)


@contextmanager
def _codec(clause: str) -> Iterator[None]:
    """Turn whatever the codec raises into a MalformedError that says *clause*."""
    try:
        yield
    except MalformedError:
        raise
    except Exception:  # noqa: BLE001 - struct.error, KeyError, OverflowError, UnicodeDecodeError and others
        # Their texts may hold octets of the message.
        raise MalformedError(clause) from None


def _raw(token: bytes) -> bytes:
    if token.startswith(SIGNATURE):
        return token
    if token[:1] in {b"\x60", b"\xa0", b"\xa1"}:
        raise MalformedError("wrapped in SPNEGO; AUTH NTLM takes NTLM messages as they are (MS-SMTPNTLM)")
    raise MalformedError("not a message of NTLM" if token else "empty")


def _authenticate(token: bytes) -> Authenticate:
    read = messages.Authenticate.unpack(token)
    for start in _BUFFERS:
        length, _, offset = struct.unpack_from("<HHI", token, start)
        # The codec would take what is left of the message for the whole.
        if length and offset + length > len(token):
            raise MalformedError("an AUTHENTICATE message of NTLM that is cut short")
    mic = read.mic
    flags, nt_response, lm_response = read.flags, read.nt_challenge_response, read.lm_challenge_response
    domain, user = read.domain_name or "", read.user_name or ""
    if mic is not None:
        mic = bytes(mic)
        read.mic = bytes(_MIC_SIZE)
    return Authenticate(
        flags=int(flags),
        domain=domain,
        user=user,
        nt_response=nt_response or b"",
        lm_response=lm_response or b"",
        session_key=read.encrypted_random_session_key or b"",
        mic=mic,
        without_mic=read.pack(),
    )
