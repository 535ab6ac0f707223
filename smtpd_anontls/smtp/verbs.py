"""The verbs of a session: each takes its argument and returns a reply.

aiosmtpd finds verbs by the method name ``smtp_<VERB>``, and so does the table below the class.  A hyphen
cannot stand in a name, so X-ANONYMOUSTLS is set there.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from inspect import getmembers, iscoroutinefunction
from types import MappingProxyType

from OpenSSL import SSL

from smtpd_anontls.domain.certificate import Certificate, CertificateError
from smtpd_anontls.domain.faults import Point
from smtpd_anontls.domain.records import Outcome, TlsVerb
from smtpd_anontls.protocol import addresses, replies
from smtpd_anontls.protocol.capabilities import ehlo_reply, hello
from smtpd_anontls.protocol.dialogue import out_of_order
from smtpd_anontls.protocol.replies import Reply
from smtpd_anontls.smtp import faults
from smtpd_anontls.smtp.direct_trust import DirectTrustUpgrade
from smtpd_anontls.smtp.logon import LogonSession
from smtpd_anontls.smtp.upgrade import HandshakeError, Upgrade

# Exchange's answer to HELP names these, in this order, where it supports them.
_HELP = ("HELO", "EHLO", "STARTTLS", "RCPT", "DATA", "RSET", "MAIL", "QUIT", "HELP", "AUTH", "BDAT")


class ReceiveSession(LogonSession):
    """A session of a Receive connector."""

    def greet(self, instead: Reply | None = None) -> None:
        """Send the banner, or what stands in its place."""
        self.forget_transaction()
        self.identified(None)
        if instead is not None:
            self.reply(instead)
            return
        text = self.here.connector.banner
        if text is None:
            date = _date_of(int(self.house.now().timestamp()))
            text = f"{self.fqdn} Microsoft ESMTP MAIL Service ready at {date}"
        self.reply(replies.banner(text.removeprefix("220 ")))

    # -- hello and small talk

    async def smtp_EHLO(self, argument: str) -> Reply:
        """Greet, and offer what holds now (RFC 5321 section 4.1.1.1)."""
        if not self._may_be_called(argument):
            return replies.INVALID_DOMAIN
        if self.faults and (instead := await self.suffer(Point.EHLO, "EHLO")) is not None:
            return instead
        self._greeted()
        return ehlo_reply(
            self.here.connector,
            fqdn=self.fqdn,
            peer=self.peer,
            offered=self.here.contexts,
            secured_by=self.dialogue.secured_by,
            mechanisms=self.mechanisms(),
        )

    async def smtp_HELO(self, argument: str) -> Reply:
        """Greet without extensions."""
        if not self._may_be_called(argument):
            return replies.INVALID_DOMAIN
        if self.faults and (instead := await self.suffer(Point.EHLO, "HELO")) is not None:
            return instead
        self._greeted()
        return Reply(250, "", hello(self.fqdn, self.peer))

    def _may_be_called(self, name: str) -> bool:
        """Whether the peer may say hello by *name*, or without any where the connector does not ask for one."""
        if self.here.connector.require_ehlo_domain:
            return addresses.is_hello_domain(name)
        return not name or addresses.is_hello_name(name)

    async def smtp_NOOP(self, argument: str) -> Reply:  # noqa: ARG002 - a verb takes an argument
        """Do nothing; a parameter is ignored (section 4.1.1.9)."""
        return replies.OK

    async def smtp_HELP(self, argument: str) -> Reply:  # noqa: ARG002 - a verb takes an argument
        """Name the verbs."""
        supported = {
            "STARTTLS": TlsVerb.STARTTLS in self.here.contexts and self.dialogue.secured_by is None,
            "AUTH": self.mechanisms().auth is not None,
            "BDAT": self.here.connector.chunking_enabled,
        }
        return replies.help_text(tuple(verb for verb in _HELP if supported.get(verb, True)))

    async def smtp_VRFY(self, argument: str) -> Reply:
        """Neither confirm nor deny a mailbox (section 3.5.3)."""
        return replies.CANNOT_VERIFY if argument else replies.INVALID_ARGUMENTS

    async def smtp_EXPN(self, argument: str) -> Reply:  # noqa: ARG002 - a verb takes an argument
        """Refuse, as Exchange does."""
        return replies.NOT_IMPLEMENTED

    async def smtp_QUIT(self, argument: str) -> Reply:
        """End the session."""
        if argument:
            return replies.INVALID_ARGUMENTS
        count = len(self.messages)
        if count:
            self.conclude(Outcome.COMPLETED, f"{count} message{'s' if count > 1 else ''} taken")
        else:
            self.conclude(Outcome.QUIT_WITHOUT_MAIL, "the peer said QUIT and had sent no mail")
        return replies.CLOSING

    async def smtp_RSET(self, argument: str) -> Reply:
        """Give the transaction up."""
        if argument:
            return replies.INVALID_ARGUMENTS
        self.end_transaction()
        return replies.RESETTING

    # -- TLS

    async def smtp_STARTTLS(self, argument: str) -> Reply | None:
        """Upgrade with the certificate selected by name (RFC 3207)."""
        return await self._upgrade(TlsVerb.STARTTLS, argument)

    async def anonymous_tls(self, argument: str) -> Reply | None:
        """Upgrade with the internal transport certificate."""
        return await self._upgrade(TlsVerb.X_ANONYMOUSTLS, argument)

    async def _upgrade(self, verb: TlsVerb, argument: str) -> Reply | None:
        context = self.here.contexts.get(verb)
        if context is None or self.dialogue.secured_by is not None:
            return replies.UNRECOGNIZED
        if (wrong := out_of_order(verb.value, self.dialogue.phase)) is not None:
            return wrong
        if argument:
            return replies.INVALID_ARGUMENTS
        if self.faults and (instead := await self.suffer(Point.TLS, verb.value)) is not None:
            return instead
        selection = next(s for s in self.here.selections if s.verb is verb)
        assert selection.certificate is not None
        planned = faults.Handshake(context, selection.certificate, self.here.tls)
        if self.faults:
            planned = await faults.foresee(self, verb, planned)
        await self.flush()
        if self.has_more_input():
            # RFC 3207 section 6: commands sent in clear behind the verb must not run under TLS.
            self.conclude(
                Outcome.PLAINTEXT_AFTER_TLS_VERB,
                f"plaintext came in the same flight behind {verb.value}; it was not looked at",
            )
            return None
        # From the look at the input to the change of transport nothing is awaited.
        self.write_now(replies.TLS_READY)
        if self.faults and not await faults.begin(self, verb, planned):
            return None
        self.transcript.certificate(planned.certificate)
        upgrade = self._upgrade_with(planned)
        self.adopt(upgrade.transport)
        try:
            self.tls = await upgrade.handshake(verb, planned.certificate.thumbprint)
        except HandshakeError as error:
            self.tls = error.facts
            self.transcript.handshake(self.tls)
            self.conclude(Outcome.HANDSHAKE_FAILED, self.tls.failure or "")
            self.raw_transport.close()
            return None
        self.transcript.handshake(self.tls)
        self.presented = planned.certificate
        # RFC 3207 section 4.2: nothing that was said in clear is known any more, nor who said it.
        self.forget_transaction()
        self.dialogue = self.dialogue.secured(verb)
        self.identified(None)
        if isinstance(upgrade, DirectTrustUpgrade):
            self._note_client_certificate(upgrade.client_certificate)
            await self.recognise(verb.value, upgrade.client_certificate)
        return None

    def _upgrade_with(self, planned: faults.Handshake) -> Upgrade:
        context, policy = planned.context, planned.policy
        if isinstance(context, SSL.Context):
            return DirectTrustUpgrade(self, self.raw_transport, context, loop=self.loop, policy=policy)
        return Upgrade(self, self.raw_transport, context, loop=self.loop, policy=policy)

    def _note_client_certificate(self, der: bytes | None) -> None:
        if der is not None:
            with contextlib.suppress(CertificateError):
                self.transcript.certificate(Certificate.from_der(der), remote=True)

    # -- state

    def _greeted(self) -> None:
        self.forget_transaction()
        self.dialogue = self.dialogue.greeted()


# Sessions that begin within a second are told the same.
@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    """Return a second since 1970 as RFC 5322 writes it, in local time."""
    return format_datetime(datetime.fromtimestamp(second, UTC).astimezone())


# aiosmtpd finds verbs by attribute name, so a hyphenated one needs setattr.
# Guarded by the golden sessions.
setattr(ReceiveSession, "smtp_X-ANONYMOUSTLS", ReceiveSession.anonymous_tls)
ReceiveSession.verbs = MappingProxyType(
    {
        name.removeprefix("smtp_").encode(): method
        for name, method in getmembers(ReceiveSession, iscoroutinefunction)
        if name.startswith("smtp_")
    },
)
