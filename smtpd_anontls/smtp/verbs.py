"""The verbs of a session: each takes its argument and returns a reply.

aiosmtpd finds verbs by the method name ``smtp_<VERB>``.  A hyphen cannot stand in a name, so
X-ANONYMOUSTLS is set below the class; verbs of aiosmtpd that are not offered are set to None.
"""

from __future__ import annotations

from email.utils import format_datetime
from typing import Any

from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups
from smtpd_anontls.domain.records import MessageRecord, Outcome, TlsVerb
from smtpd_anontls.protocol import addresses, replies
from smtpd_anontls.protocol.body import DataReader
from smtpd_anontls.protocol.capabilities import ehlo_reply, hello
from smtpd_anontls.protocol.dialogue import Dialogue, Phase, out_of_order
from smtpd_anontls.protocol.envelope import NULL_SENDER, Mailbox, read_recipient, read_sender
from smtpd_anontls.protocol.headers import decoded_subject, message_id, parse_header_section
from smtpd_anontls.protocol.replies import Reply
from smtpd_anontls.smtp.ports import DeliveryError, Welcome
from smtpd_anontls.smtp.session import WireSession
from smtpd_anontls.smtp.upgrade import HandshakeError, Upgrade

# Exchange's answer to HELP names these, in this order, where it supports them.
_HELP = ("HELO", "EHLO", "STARTTLS", "RCPT", "DATA", "RSET", "MAIL", "QUIT", "HELP")


class ReceiveSession(WireSession):
    """A session of a Receive connector."""

    smtp_AUTH: Any = None

    dialogue = Dialogue()
    sender = NULL_SENDER
    recipients: list[Mailbox]

    def in_transaction(self) -> bool:
        """Whether a mail transaction is open."""
        return self.dialogue.phase in {Phase.MAIL, Phase.RECIPIENTS}

    @property
    def here(self) -> Welcome:
        """The connector that took the session, and its selections."""
        assert self.welcome is not None
        return self.welcome

    @property
    def fqdn(self) -> str:
        """The name that the connector uses."""
        return self.here.server.fqdn_of(self.here.connector)

    @property
    def peer(self) -> str:
        """The peer's address."""
        assert self.arrival is not None
        return str(self.arrival.remote[0])

    def greet(self) -> None:
        """Send the banner."""
        self._forget_transaction()
        text = self.here.connector.banner
        if text is None:
            date = format_datetime(self.house.now().astimezone())
            text = f"{self.fqdn} Microsoft ESMTP MAIL Service ready at {date}"
        self.reply(replies.banner(text.removeprefix("220 ")))

    # -- hello and small talk

    async def smtp_EHLO(self, argument: str) -> Reply:
        """Greet, and offer what holds now (RFC 5321 section 4.1.1.1)."""
        if argument and not addresses.is_hello_name(argument):
            return replies.INVALID_DOMAIN
        self._greeted()
        return ehlo_reply(
            self.here.connector,
            fqdn=self.fqdn,
            peer=self.peer,
            offered=self.here.contexts,
            secured_by=self.dialogue.secured_by,
        )

    async def smtp_HELO(self, argument: str) -> Reply:
        """Greet without extensions."""
        if argument and not addresses.is_hello_name(argument):
            return replies.INVALID_DOMAIN
        self._greeted()
        return Reply(250, "", hello(self.fqdn, self.peer))

    async def smtp_NOOP(self, argument: str) -> Reply:  # noqa: ARG002 - a verb takes an argument
        """Do nothing; a parameter is ignored (section 4.1.1.9)."""
        return replies.OK

    async def smtp_HELP(self, argument: str) -> Reply:  # noqa: ARG002 - a verb takes an argument
        """Name the verbs."""
        offered = TlsVerb.STARTTLS in self.here.contexts and self.dialogue.secured_by is None
        return replies.help_text(tuple(verb for verb in _HELP if verb != "STARTTLS" or offered))

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
        self._forget_transaction()
        self.dialogue = self.dialogue.reset()
        return replies.RESETTING

    # -- the transaction

    async def smtp_MAIL(self, argument: str) -> Reply:
        """Begin a transaction (section 4.1.1.2)."""
        if (wrong := out_of_order("MAIL", self.dialogue.phase)) is not None:
            return wrong
        connector = self.here.connector
        if connector.require_tls and self.dialogue.secured_by is None:
            return replies.MUST_STARTTLS
        if not self._may_send_anonymously():
            return replies.NOT_AUTHENTICATED
        sender = read_sender(argument, connector)
        if isinstance(sender, Reply):
            return sender
        self.sender = sender
        self.dialogue = self.dialogue.sender_given()
        return replies.SENDER_OK

    async def smtp_RCPT(self, argument: str) -> Reply:
        """Add a recipient (section 4.1.1.3)."""
        if (wrong := out_of_order("RCPT", self.dialogue.phase)) is not None:
            return wrong
        connector = self.here.connector
        recipient = read_recipient(argument, connector)
        if isinstance(recipient, Reply):
            return recipient
        if len(self.recipients) >= connector.max_recipients_per_message:
            return replies.TOO_MANY_RECIPIENTS
        self.recipients.append(recipient)
        self.dialogue = self.dialogue.recipient_given()
        return replies.RECIPIENT_OK

    async def smtp_DATA(self, argument: str) -> Reply:
        """Take the message (section 4.1.1.4); 250 means that it is durable."""
        if (wrong := out_of_order("DATA", self.dialogue.phase)) is not None:
            return wrong
        if argument:
            return replies.INVALID_ARGUMENTS
        self.reply(replies.START_MAIL_INPUT)
        body = DataReader(self.here.connector.max_message_size)
        await self.read_body(body)
        try:
            return await self._taken(body.content())
        finally:
            # The end of the data ends the transaction, whatever came of it.
            self._forget_transaction()
            self.dialogue = self.dialogue.greeted()

    async def _taken(self, content: bytes | None) -> Reply:
        if content is None:
            self.transcript.note("the message was over MaxMessageSize and is not kept")
            return replies.MESSAGE_TOO_BIG
        self.transcript.note(f"a message of {len(content)} octets came")
        return await self._deliver(content)

    async def _deliver(self, content: bytes) -> Reply:
        headers = parse_header_section(content)
        subject = next((value for name, value in headers if name.lower() == "subject"), None)
        given = message_id(headers)
        message = MessageRecord(
            time=self.house.now(),
            server=self.here.server.name,
            connector=self.here.connector.name,
            session_id=self.id,
            sender=self.sender.address,
            recipients=tuple(recipient.address for recipient in self.recipients),
            mail_parameters=self.sender.parameters,
            recipient_parameters=tuple(recipient.parameters for recipient in self.recipients),
            subject=None if subject is None else decoded_subject(subject),
            message_id=given,
            verb=self.dialogue.secured_by,
            headers=headers,
            raw=content,
        )
        try:
            # A message's session is in the same transaction; its later messages find it there.
            internal_id = await self.house.deliver(message, None if self.messages else self.record())
        except DeliveryError:
            self.transcript.note("the message could not be made durable and was not taken")
            return replies.INSUFFICIENT_RESOURCES
        self.messages.append(internal_id)
        shown = given or f"<{internal_id}@{self.fqdn}>"
        return replies.queued(shown, internal_id, self.fqdn)

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
        selection = next(s for s in self.here.selections if s.verb is verb)
        assert selection.certificate is not None
        upgrade = Upgrade(self, self.raw_transport, context, loop=self.loop, policy=self.here.tls)
        self.adopt(upgrade.transport)
        try:
            self.tls = await upgrade.handshake(verb, selection.certificate.thumbprint)
        except HandshakeError as error:
            self.tls = error.facts
            self.transcript.note(f"TLS handshake failed: {error.facts.failure}")
            self.conclude(Outcome.HANDSHAKE_FAILED, error.facts.failure or "")
            self.raw_transport.close()
            return None
        self.transcript.note(
            f"TLS began: {self.tls.version}, {self.tls.cipher}, certificate {self.tls.thumbprint}"
            + (", resumed" if self.tls.resumed else ""),
        )
        self._forget_transaction()
        self.dialogue = self.dialogue.secured(verb)
        return None

    # -- state

    def _may_send_anonymously(self) -> bool:
        # Set-ReceiveConnector: ExternalAuthoritative trusts everyone in the connector's ranges.
        connector = self.here.connector
        return (
            PermissionGroups.AnonymousUsers in connector.permission_groups
            or AuthMechanism.ExternalAuthoritative in connector.auth_mechanism
        )

    def _greeted(self) -> None:
        self._forget_transaction()
        self.dialogue = self.dialogue.greeted()

    def _forget_transaction(self) -> None:
        self.sender, self.recipients = NULL_SENDER, []


# aiosmtpd finds verbs by attribute name, so a hyphenated one needs setattr.
# Guarded by the golden sessions.
setattr(ReceiveSession, "smtp_X-ANONYMOUSTLS", ReceiveSession.anonymous_tls)
