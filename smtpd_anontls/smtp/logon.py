"""AUTH and X-EXPS: the exchange of tokens with a sender that says who it is.

RFC 4954.  X-EXPS is Exchange's own verb for the same between servers; Microsoft documents it only as
"like AUTH".  Why an authentication failed is recorded and told to the operator (event 1035); the peer
hears that it failed, or that it cannot be tried now.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import (
    DIRECT_TRUST,
    Authenticated,
    Challenge,
    Failed,
    FailureReason,
    Mechanism,
)
from smtpd_anontls.domain.direct_trust import Trusted
from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.faults import Point
from smtpd_anontls.domain.limits import Struck
from smtpd_anontls.domain.records import Attempt, Outcome
from smtpd_anontls.protocol import replies
from smtpd_anontls.protocol.dialogue import out_of_order
from smtpd_anontls.protocol.mechanisms import Mechanisms, offered_mechanisms
from smtpd_anontls.smtp.mail import MailSession
from smtpd_anontls.smtp.stream import LONGEST_LINE

if TYPE_CHECKING:
    from smtpd_anontls.domain.authentication import Step, TokenExchange
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.protocol.replies import Reply

_KERBEROS = frozenset({Mechanism.GSSAPI, Mechanism.EXCHANGEAUTH})
_CANCEL = b"*"
# RFC 4954 section 4: how an initial response of no octets is written.
_EMPTY = "="
_WORDS = (1, 2)  # Behind the verb: the mechanism, and perhaps an initial response.
# The commands that carry a token, and so may be as long as one.
_LONG_COMMANDS = (b"AUTH ", b"X-EXPS ")
_MOST_ATTEMPTS = 100  # That a session's record has; MaxLogonFailures may be 0, and then there is no end.


class _NoToken(Exception):  # noqa: N818 - what the peer did, not an error of ours
    """The peer cancelled, or sent no line of base64; RFC 4954 section 4 has a reply of its own for each."""

    def __init__(self, failed: Failed, reply: Reply) -> None:
        self.failed = failed
        self.reply = reply


class LogonSession(MailSession):
    """A session in which a sender can authenticate."""

    presented: Certificate | None = None  # Our certificate, under TLS.
    _logon_failures = 0

    def mechanisms(self) -> Mechanisms:
        """Return what AUTH and X-EXPS offer now."""
        return offered_mechanisms(
            self.here.connector,
            secured_by=self.dialogue.secured_by,
            has_keytab=self.here.logons.has_keytab,
            observes=self.here.logons.observes,
        )

    def is_too_long(self, line: bytes) -> bool:
        """Whether a command is longer than it may be; one with a token has a limit of its own."""
        # RFC 4954 section 4: an initial response may be as long as any other token.
        return super().is_too_long(line) and not line.upper().startswith(_LONG_COMMANDS)

    async def smtp_AUTH(self, argument: str) -> Reply:
        """Authenticate (RFC 4954 section 4)."""
        return await self._log_on("AUTH", self.mechanisms().auth, argument)

    async def exps(self, argument: str) -> Reply:
        """Authenticate as an Exchange server does."""
        return await self._log_on("X-EXPS", self.mechanisms().exps, argument)

    async def _log_on(self, verb: str, offered: tuple[Mechanism, ...] | None, argument: str) -> Reply:
        if offered is None:
            return replies.UNRECOGNIZED
        if (wrong := out_of_order(verb, self.dialogue.phase)) is not None:
            return wrong
        # Who is known by a client certificate alone may still say it in the session.
        if self.identity is not None and self.identity.mechanism != DIRECT_TRUST:
            return replies.ALREADY_AUTHENTICATED
        words = argument.split()
        if len(words) not in _WORDS:
            return replies.INVALID_ARGUMENTS
        name, *initial = words
        mechanism = next((each for each in offered if each.value == name.upper()), None)
        if mechanism is None:
            return replies.UNKNOWN_MECHANISM
        if self.faults and (instead := await self.suffer(Point.AUTH, verb)) is not None:
            return instead
        exchange = self.here.logons.begin(
            mechanism,
            certificate=self.presented,
            # X-EXPS has no such round in any public log.
            security_layer=verb == "AUTH",
        )
        try:
            ended = await self._exchange(mechanism, exchange, initial)
        except _NoToken as error:
            return await self._failed(verb, mechanism, error.failed, error.reply)
        if isinstance(ended, Authenticated):
            return await self._succeeded(verb, mechanism, ended)
        reply = replies.AUTHENTICATION_FAULT if ended.is_ours else replies.AUTHENTICATION_FAILED
        return await self._failed(verb, mechanism, ended, reply)

    async def recognise(self, verb: str, der: bytes | None) -> None:
        """Take the client certificate of the handshake for what the directory says of it: direct trust."""
        now = self.house.now()
        identity, verdict = await self.here.logons.recognise(der, now)
        name = None if identity is None else identity.name
        failure = None if identity is not None else "not_trusted"
        self._attempted(Attempt(verb, DIRECT_TRUST, name, failure, verdict.detail))
        self.transcript.note(f"direct trust: {verdict.detail}")
        if isinstance(verdict, Trusted) and verdict.event is not None:
            self.write_event(verdict.event)
        if identity is not None:
            self.identified(identity)
            self.transcript.information(identity.name, "authenticated")

    # -- the tokens

    async def _exchange(
        self, mechanism: Mechanism, exchange: TokenExchange, initial: list[str]
    ) -> Authenticated | Failed:
        if initial:
            token = b"" if initial[0] == _EMPTY else _decoded(initial[0].encode("ascii", "replace"))
        elif mechanism is Mechanism.LOGIN:
            token = b""  # Here the server speaks first.
        else:
            # [MS-SMTPNTLM]: words for a person stand in place of a challenge.
            token = await self._ask("NTLM supported" if mechanism is Mechanism.NTLM else "")
        step: Step = await exchange.step(token)
        while isinstance(step, Challenge):
            step = await exchange.step(await self._ask(b64encode(step.token).decode("ascii")))
        if (
            isinstance(step, Authenticated)
            and step.token
            and await self._ask(b64encode(step.token).decode("ascii"))
        ):
            return Failed(
                FailureReason.MALFORMED,
                "the client answered the last token with one of its own",
                step.identity,
            )
        return step

    async def _ask(self, text: str) -> bytes:
        """Give the server's turn and return the client's."""
        self.transcript.challenge()
        self.queue(replies.challenge(text))
        line = await self.read_line()
        self.transcript.token()
        if line is None:
            detail = f"the client sent a line of more than {LONGEST_LINE} octets"
            raise _NoToken(Failed(FailureReason.MALFORMED, detail), replies.LINE_TOO_LONG)
        if not line.endswith(b"\r\n"):
            raise _no_base64()
        token = line[:-2]
        if token == _CANCEL:
            raise _NoToken(
                Failed(FailureReason.CANCELLED, "the client cancelled"), replies.AUTHENTICATION_CANCELLED
            )
        return _decoded(token)

    # -- how it ended

    async def _succeeded(self, verb: str, mechanism: Mechanism, found: Authenticated) -> Reply:
        identity = await self.here.logons.identify(mechanism, found)
        detail = f"{found.detail}; {identity.detail}"
        self._attempted(Attempt(verb, mechanism.value, identity.name, None, detail))
        self.transcript.note(f"authenticated by {verb} {mechanism}: {detail}")
        self.identified(identity)
        self.transcript.information(identity.name, "authenticated")
        return replies.AUTHENTICATED

    async def _failed(self, verb: str, mechanism: Mechanism, failed: Failed, reply: Reply) -> Reply:
        identity = failed.identity
        if identity is not None and mechanism in _KERBEROS:
            # As of one that succeeds: the account, not the principal.
            identity = str(AccountName.of_principal(identity))
        self._attempted(Attempt(verb, mechanism.value, identity, failed.reason.value, failed.detail))
        self.transcript.note(f"{verb} {mechanism} failed: {failed.detail}")
        if failed.reason is FailureReason.CANCELLED:
            return reply
        connector = self.here.connector
        self.write_event(
            EventDraft(
                EventId.INBOUND_AUTHENTICATION_FAILED,
                (failed.error, connector.name, _event_name(mechanism), self.peer),
            )
        )
        self.transcript.information("", f"Inbound AUTH {mechanism} failed because of {failed.error}")
        if identity:
            self.transcript.information("", f"User Name: {identity}")
        self._logon_failures += 1
        most = connector.max_logon_failures
        # "0: the connection is never closed because of logon failures" (Set-ReceiveConnector).
        if most and self._logon_failures > most:
            self._cut_off(most)
            reply = replies.TOO_MANY_LOGON_FAILURES
        if connector.auth_tarpit_interval:
            self.transcript.tarpit(connector.auth_tarpit_interval, reply)
            await self.pause(connector.auth_tarpit_interval)
            self.held = reply
        return reply

    def _attempted(self, attempt: Attempt) -> None:
        """Keep an attempt for the record; of very many the newest."""
        self.attempts.append(attempt)
        del self.attempts[:-_MOST_ATTEMPTS]

    def _cut_off(self, most: int) -> None:
        connector = self.here.connector
        self.write_event(EventDraft(EventId.TOO_MANY_FAILED_LOGONS, (connector.name, str(most), self.peer)))
        struck = Struck("MaxLogonFailures", f"more than {most} logons failed")
        self.limits.append(struck)
        self.conclude(Outcome.AUTHENTICATION_FAILED, f"{struck.name}: {struck.detail}")

    @property
    def peer(self) -> str:
        """The peer's address."""
        assert self.arrival is not None
        return str(self.arrival.remote[0])


def _event_name(mechanism: Mechanism) -> str:
    """Return the name of a mechanism as events have it (SmtpAuthenticationMechanism)."""
    return {
        Mechanism.EXCHANGEAUTH: "ExchangeAuth",
        Mechanism.GSSAPI: "Gssapi",
        Mechanism.NTLM: "Ntlm",
        Mechanism.LOGIN: "Login",
    }[mechanism]


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise _no_base64() from None


def _no_base64() -> _NoToken:
    return _NoToken(
        Failed(FailureReason.MALFORMED, "the client sent what is no line of base64"), replies.NOT_BASE64
    )


# aiosmtpd finds verbs by attribute name, so a hyphenated one needs setattr.
# Guarded by the golden sessions.
setattr(LogonSession, "smtp_X-EXPS", LogonSession.exps)
