"""Authenticate as a sender does: X-EXPS as between Exchange servers where it is offered, else AUTH (RFC 4954)."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client import refusals
from smtpd_anontls.client.errors import ClientError, ConversationError, RefusedError
from smtpd_anontls.client.kerberos import GssapiTokens, require_gssapi
from smtpd_anontls.client.login import LoginTokens
from smtpd_anontls.client.ntlm import NtlmTokens
from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.certificate import tls_server_end_point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.client.conversation import Conversation, Hello, Reply
    from smtpd_anontls.client.target import Target
    from smtpd_anontls.client.tls import Secured
    from smtpd_anontls.client.tokens import Tokens

_SUCCEEDED = 235
_GO_ON = 334
_MOST_ROUNDS = 10  # No mechanism has more to say.
# RFC 4954 section 4: a longer command line may not be understood, so its token waits for a 334.
_LONGEST_COMMAND = 12288
_SERVICE = "SMTPSVC"  # What Exchange registers its SMTP under.
_SPN = re.compile(r"[^/@\s]+/[^/@\s]+(?:/[^/@\s]+)?(?:@[^/@\s]+)?")
_MECHANISMS = (Mechanism.GSSAPI, Mechanism.NTLM, Mechanism.LOGIN)


class AuthVerb(StrEnum):
    """The verbs of authentication, the preferred one first."""

    X_EXPS = "X-EXPS"
    AUTH = "AUTH"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogonOptions:
    """How to authenticate; ValueError says which option cannot be, and what would do."""

    mechanism: Mechanism
    user: str | None = None  # GSSAPI without one: whoever's ticket is in the credential cache.
    password: str | None = field(default=None, repr=False)
    spn: str | None = None  # None: SMTPSVC/ and the host as it was given.
    channel_binding: bool = True
    allow_clear: bool = False  # Let LOGIN say the password without TLS.

    def __post_init__(self) -> None:
        if self.mechanism not in _MECHANISMS:
            raise ValueError(f"{self.mechanism} is not one of {', '.join(_MECHANISMS)}")
        for problem in self._problems():
            raise ValueError(problem)
        if self.mechanism is Mechanism.GSSAPI:
            require_gssapi()

    def _problems(self) -> Iterator[str]:
        if self.user is not None and not self.user:
            yield "the user name is empty; write one such as CONTOSO\\alice"
        if self.password is not None and not self.password:
            yield "the password is empty; write one"
        if self.mechanism is not Mechanism.GSSAPI and (self.user is None or self.password is None):
            yield f"{self.mechanism} needs a user and a password; say --user, and --password-env or --password-file"
        if self.password is not None and self.user is None:
            yield "a password needs its user; say --user"
        if self.mechanism is Mechanism.LOGIN and self.spn is not None:
            yield "LOGIN knows no service principal name; leave --spn out"
        if self.mechanism is Mechanism.LOGIN and not self.channel_binding:
            yield "LOGIN binds nothing to the channel; leave --no-channel-binding out"
        if self.spn is not None and not _SPN.fullmatch(self.spn):
            yield f"{self.spn!r} is not a service principal name; write SMTPSVC/mbx1.contoso.test"

    def service(self, target: Target) -> str:
        """Return the service principal name to ask for."""
        return self.spn or f"{_SERVICE}/{target.host}"


@dataclass(frozen=True, slots=True)
class Logon:
    """An authentication that was begun, and what came of it."""

    verb: AuthVerb
    mechanism: Mechanism
    succeeded: bool = False
    reply: Reply | None = None  # None: the server did not come to its answer.
    is_bound: bool = False  # The TLS channel went into it.
    is_clear: bool = False  # There was no TLS.

    def __str__(self) -> str:
        return f"{self.verb} {self.mechanism}"

    def as_json(self) -> dict[str, Any]:
        """Return the object ``authentication`` of ``probe --json``."""
        return {
            "verb": self.verb.value,
            "mechanism": self.mechanism.value,
            "succeeded": self.succeeded,
            "reply": None if self.reply is None else str(self.reply),
        }

    def clause(self) -> str:
        """Say that it succeeded."""
        how = ", bound to the TLS channel" if self.is_bound else ""
        clause = f"{self} succeeded{how}: {self.reply}"
        if self.is_clear and self.mechanism is Mechanism.LOGIN:
            clause += "; warning: the password went over the network in the clear"
        return clause


class Attempt:
    """One authentication: ``logon`` says how far it came, whatever ended it."""

    def __init__(self, conversation: Conversation, target: Target, options: LogonOptions) -> None:
        self.logon: Logon | None = None
        self._conversation = conversation
        self._target = target
        self._options = options

    def run(self, hello: Hello, secured: Secured | None) -> Logon:
        """Authenticate; ClientError says why it did not succeed."""
        mechanism = self._options.mechanism
        verb = next((verb for verb in AuthVerb if mechanism.value in hello.words_behind(verb)), None)
        if verb is None:
            raise RefusedError(refusals.mechanism_not_offered(mechanism, hello, is_clear=secured is None))
        binding = self._binding(secured)
        begun = Logon(verb, mechanism, is_bound=binding is not None, is_clear=secured is None)
        tokens = self._tokens(binding)
        # The ticket is there, or is not, before the server hears of it.
        initial = tokens.initial()
        self.logon = begun
        reply = self._talk(begun, tokens, initial)
        self.logon = replace(begun, reply=reply)
        if reply.code != _SUCCEEDED:
            raise RefusedError(refusals.authentication(begun, self._options, self._target, reply))
        tokens.finish(_text(reply))
        self.logon = replace(self.logon, succeeded=True)
        return self.logon

    def _talk(self, begun: Logon, tokens: Tokens, initial: bytes | None) -> Reply:
        """Carry tokens until the server says how it ended."""
        if self._options.password is not None:
            self._conversation.conceal(self._options.password.encode())
        waiting = initial
        if initial is not None and _length(f"{begun}", initial) <= _LONGEST_COMMAND:
            reply, waiting = self._conversation.command(str(begun), token=initial), None
        else:
            reply = self._conversation.command(str(begun))
        for _ in range(_MOST_ROUNDS):
            if reply.code != _GO_ON:
                return reply
            try:
                token = tokens.answer(_text(reply)) if waiting is None else waiting
            except ClientError:
                # RFC 4954 section 4: the server waits for a line.
                with suppress(ClientError):
                    self._conversation.cancel()
                raise
            waiting = None
            reply = self._conversation.answer(token)
        raise ConversationError(f"{self._target} does not come to an end of {begun}")

    def _binding(self, secured: Secured | None) -> bytes | None:
        """Return the tls-server-end-point of the server's certificate (RFC 5929), where one is to go in."""
        if secured is None or secured.certificate is None or self._options.mechanism is Mechanism.LOGIN:
            return None
        return tls_server_end_point(secured.certificate.der) if self._options.channel_binding else None

    def _tokens(self, binding: bytes | None) -> Tokens:
        options, spn = self._options, self._options.service(self._target)
        if options.mechanism is Mechanism.GSSAPI:
            return GssapiTokens(
                spn,
                user=options.user,
                password=options.password,
                binding=binding,
                deadline=self._conversation.deadline,
            )
        assert options.user is not None
        assert options.password is not None
        if options.mechanism is Mechanism.NTLM:
            return NtlmTokens(options.user, options.password, spn=spn, binding=binding)
        return LoginTokens(options.user, options.password)


def _text(reply: Reply) -> bytes:
    """Return what stands behind the code of a reply's last line, as it came."""
    return reply.wire.splitlines()[-1][4:].strip()


def _length(command: str, token: bytes) -> int:
    """Return the octets of a command line with *token* in base64."""
    return len(command) + 1 + (len(token) + 2) // 3 * 4 + 2
