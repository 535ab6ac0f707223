"""AUTH NTLM as the server: NEGOTIATE, CHALLENGE, AUTHENTICATE (MS-NLMP section 3.2.5.1, MS-SMTPNTLM).

What is verified is what came over the wire: the response is computed over the client's own octets, never
over those that a codec would make of them.  The user file holds NT hashes, so NTLMv2 and, where the
configuration takes it, NTLMv1 with or without extended session security can be verified; an LM response
alone cannot.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpd_anontls.authentication.binding import binding_failure, has_binding
from smtpd_anontls.authentication.credentials import NOBODYS_HASH, UnknownUser, User
from smtpd_anontls.authentication.ntlm_messages import (
    MalformedError,
    NegotiateFlags,
    TargetNames,
    des_long,
    rc4,
    read_authenticate,
    read_negotiate,
    read_target_info,
    write_challenge,
)
from smtpd_anontls.domain.account_names import AccountName, netbios_name
from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from smtpd_anontls.authentication.credentials import NtHash, Users
    from smtpd_anontls.authentication.ntlm_messages import Authenticate
    from smtpd_anontls.domain.authentication import Step

_CHALLENGE_SIZE = 8
_V1_SIZE = 24  # MS-NLMP section 2.2.2.6.
_PROOF_SIZE = 16
_SHORTEST_V2 = _PROOF_SIZE + 28  # NTProofStr and NTLMv2_CLIENT_CHALLENGE up to its pairs.

# What the challenge grants of what the client asks for; the rest of its flags is reserved or of no use here.
_GRANTED = (
    NegotiateFlags.key_56
    | NegotiateFlags.key_128
    | NegotiateFlags.key_exch
    | NegotiateFlags.version
    | NegotiateFlags.extended_session_security
    | NegotiateFlags.always_sign
    | NegotiateFlags.sign
    | NegotiateFlags.seal
    | NegotiateFlags.unicode
    | NegotiateFlags.oem
)
_ALWAYS = (
    NegotiateFlags.ntlm
    | NegotiateFlags.request_target
    | NegotiateFlags.target_info
    | NegotiateFlags.target_type_domain
)


class _RefusedError(Exception):
    """The exchange fails; *reason* and *detail* say why."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _Greeted:
    """The two messages that came before AUTHENTICATE, as they went over the wire."""

    negotiate: bytes = field(repr=False)
    challenge: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


def target_names(fqdn: str, netbios_name_of_server: str, *, netbios_domain: str | None = None) -> TargetNames:
    """Return what a server calls itself; its domain is what stands behind the first dot of its FQDN."""
    dns_domain = fqdn.partition(".")[2]
    return TargetNames(
        netbios_name=netbios_name_of_server.upper(),
        # A server in no domain is its own.
        netbios_domain=netbios_domain or netbios_name(dns_domain) or netbios_name_of_server.upper(),
        dns_name=fqdn,
        dns_domain=dns_domain,
    )


class NtlmExchange:
    """One AUTH NTLM as the server; the first token is the client's NEGOTIATE message."""

    def __init__(
        self,
        users: Users,
        *,
        ntlmv1: bool,
        policy: ExtendedProtectionPolicy,
        binding: bytes | None,
        names: TargetNames,
        random: Callable[[int], bytes],
        clock: Callable[[], datetime],
    ) -> None:
        """*binding* is the tls-server-end-point of this session's certificate, None without TLS."""
        self._users = users
        self._ntlmv1 = ntlmv1
        self._policy = policy
        self._binding = binding
        self._names = names
        self._random = random
        self._clock = clock
        self._greeted: _Greeted | None = None

    async def step(self, token: bytes) -> Step:
        """Take the peer's message; never raise for what it holds."""
        # A challenge is good for one answer.
        greeted, self._greeted = self._greeted, None
        try:
            return self._greet(token) if greeted is None else await self._judge(greeted, token)
        except MalformedError as error:
            return Failed(FailureReason.MALFORMED, f"what came is {error}")

    def _greet(self, token: bytes) -> Step:
        asked = read_negotiate(token)
        flags = asked & _GRANTED | _ALWAYS
        if flags & NegotiateFlags.unicode:
            flags &= ~NegotiateFlags.oem
        elif not flags & NegotiateFlags.oem:
            raise MalformedError("a NEGOTIATE message that allows neither Unicode nor OEM text")
        nonce = self._random(_CHALLENGE_SIZE)
        challenge = write_challenge(flags, nonce, self._names, self._clock())
        self._greeted = _Greeted(token, challenge, nonce)
        return Challenge(challenge)

    async def _judge(self, greeted: _Greeted, token: bytes) -> Step:
        message = read_authenticate(token)
        name = AccountName.parse(message.user, message.domain)
        try:
            self._look_at_form(message)
            return await self._look_at_proof(greeted, message, name)
        except _RefusedError as refused:
            return Failed(refused.reason, refused.detail, name.shown or None)

    async def _look_at_proof(self, greeted: _Greeted, message: Authenticate, name: AccountName) -> Step:
        found = await self._users.find(name)
        known_hash = found.nt_hash if isinstance(found, User) else NOBODYS_HASH
        # Whether there is such a user or not, the work is the same.
        is_right = _verifies(message, known_hash, greeted.nonce)
        if isinstance(found, UnknownUser):
            raise _RefusedError(FailureReason.UNKNOWN_USER, found.detail)
        if not isinstance(found, User):
            raise _RefusedError(FailureReason.NOT_AVAILABLE, found.detail)
        if not is_right:
            detail = f"the response was not made with the password of {found.written}"
            raise _RefusedError(FailureReason.WRONG_PASSWORD, detail)
        how = self._look_at_protection(greeted, message, known_hash)
        return Authenticated(str(found.name), f"{how}, by the password of {found.written}")

    def _look_at_form(self, message: Authenticate) -> None:
        """Refuse what is never taken, whoever the user is."""
        has_response = bool(message.nt_response or message.lm_response.strip(b"\0"))
        if not message.user and not has_response:
            # MS-NLMP section 3.2.5.1.2: no name, no response, or an LM response of one zero.
            raise _RefusedError(FailureReason.UNKNOWN_USER, "the client asks for anonymous access")
        if not message.nt_response:
            detail = (
                "the client sent no NT response, and an LM response alone cannot be verified by an NT hash"
            )
            raise _RefusedError(FailureReason.NTLMV1_REFUSED, detail)
        if len(message.nt_response) == _V1_SIZE:
            if not self._ntlmv1:
                detail = "the client answered with NTLMv1, and authentication.ntlmv1 is false"
                raise _RefusedError(FailureReason.NTLMV1_REFUSED, detail)
        elif len(message.nt_response) < _SHORTEST_V2:
            raise MalformedError("an AUTHENTICATE message whose NT response is neither NTLMv1 nor NTLMv2")

    def _look_at_protection(self, greeted: _Greeted, message: Authenticate, nt_hash: NtHash) -> str:
        """Check what protects a right response from being altered or relayed; return how it was made."""
        how, sent = _v1_flavour(message), None
        if len(message.nt_response) > _V1_SIZE:
            # Read only now: the pairs are covered by the response, so they are the client's own.
            pairs = read_target_info(message.nt_response[_PROOF_SIZE:])
            how, sent = "NTLMv2", pairs.channel_bindings
            if pairs.has_mic:
                _check_mic(greeted, message, nt_hash)
                how += " with a message integrity code"
        failure = binding_failure(self._policy, binding=self._binding, sent=sent)
        if failure is not None:
            raise _RefusedError(*failure)
        is_checked = self._policy is not ExtendedProtectionPolicy.NotUsed and has_binding(sent)
        return f"{how}, bound to the TLS channel" if is_checked else how


def _verifies(message: Authenticate, nt_hash: NtHash, nonce: bytes) -> bool:
    """Whether the NT response was made with this hash for this challenge."""
    response = message.nt_response
    if len(response) > _V1_SIZE:
        # MS-NLMP section 3.3.2.
        expected = _hmac_md5(_response_key(message, nt_hash), nonce + response[_PROOF_SIZE:])
        return hmac.compare_digest(expected, response[:_PROOF_SIZE])
    # MS-NLMP section 3.3.1.
    if message.flags & NegotiateFlags.extended_session_security:
        nonce = _md5(nonce + message.lm_response[:_CHALLENGE_SIZE])[:_CHALLENGE_SIZE]
    return hmac.compare_digest(des_long(nt_hash.octets, nonce), response)


def _response_key(message: Authenticate, nt_hash: NtHash) -> bytes:
    """Return NTOWFv2: of the names as the client sent them, the user's in upper case."""
    return _hmac_md5(nt_hash.octets, (_upper(message.user) + message.domain).encode("utf-16-le"))


def _upper(text: str) -> str:
    # Windows maps one character to one: ß stays, where Python makes SS of it.
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in text)


def _check_mic(greeted: _Greeted, message: Authenticate, nt_hash: NtHash) -> None:
    """Refuse where a message of the exchange is not what the client sent or received."""
    key = _hmac_md5(_response_key(message, nt_hash), message.nt_response[:_PROOF_SIZE])
    # MS-NLMP section 3.2.5.1.2: the exported session key travels encrypted where it is one of the client's own.
    signs = message.flags & (NegotiateFlags.sign | NegotiateFlags.seal)
    if message.flags & NegotiateFlags.key_exch and signs:
        key = rc4(key, message.session_key)
    expected = _hmac_md5(key, greeted.negotiate + greeted.challenge + message.without_mic)
    if message.mic is None or not hmac.compare_digest(expected, message.mic):
        detail = "the message integrity code does not fit: a message was altered on its way"
        raise _RefusedError(FailureReason.ALTERED, detail)


def _v1_flavour(message: Authenticate) -> str:
    has_session_security = message.flags & NegotiateFlags.extended_session_security
    return "NTLMv1 with extended session security" if has_session_security else "NTLMv1"


def _hmac_md5(key: bytes, octets: bytes) -> bytes:
    return hmac.digest(key, octets, "md5")


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets, usedforsecurity=False).digest()
