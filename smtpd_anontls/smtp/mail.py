"""The verbs of a mail transaction: MAIL, RCPT, DATA, BDAT, and what becomes of the message."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from smtpd_anontls.domain.faults import Point
from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups, flag_from_names
from smtpd_anontls.domain.limits import OUT_OF_RESOURCES, Struck
from smtpd_anontls.domain.permissions import may_submit, session_permissions
from smtpd_anontls.domain.records import MessageRecord, Outcome
from smtpd_anontls.protocol import headers, replies
from smtpd_anontls.protocol.body import ChunkReader, DataReader, parse_chunk
from smtpd_anontls.protocol.dialogue import TRANSACTION, Dialogue, out_of_order
from smtpd_anontls.protocol.envelope import NULL_SENDER, Mailbox, read_recipient, read_sender
from smtpd_anontls.protocol.replies import Reply
from smtpd_anontls.smtp.ports import DeliveryError
from smtpd_anontls.smtp.session import WireSession

if TYPE_CHECKING:
    from smtpd_anontls.domain.authentication import Identity
    from smtpd_anontls.domain.permissions import Permission
    from smtpd_anontls.protocol.body import Chunk
    from smtpd_anontls.smtp.ports import Welcome


class MailSession(WireSession):
    """A session in which messages are sent."""

    dialogue = Dialogue()
    sender = NULL_SENDER
    recipients: list[Mailbox]
    identity: Identity | None = None  # None: the sender has not authenticated.
    _content: bytearray | None = None  # Of the chunks so far; None where there are none.
    _full = False  # Whether a recipient too many has come.
    _permissions: tuple[Permission, ...] | None = None  # None: they have to be looked up.

    @property
    def here(self) -> Welcome:
        """The connector that took the session, and its selections."""
        assert self.welcome is not None
        return self.welcome

    @cached_property
    def fqdn(self) -> str:
        """The name that the connector uses."""
        return self.here.server.fqdn_of(self.here.connector)

    def in_transaction(self) -> bool:
        """Whether a mail transaction is open."""
        return self.dialogue.phase in TRANSACTION

    def is_anonymous(self) -> bool:
        """Whether nobody vouches for the peer."""
        # Set-ReceiveConnector: ExternalAuthoritative trusts everyone in the connector's ranges.
        trusted = AuthMechanism.ExternalAuthoritative in self.here.connector.auth_mechanism
        return self.identity is None and not trusted

    def permissions(self) -> tuple[Permission, ...]:
        """Return what the sender may do now."""
        if self._permissions is None:
            known = self.identity
            groups = None if known is None else flag_from_names(PermissionGroups, known.groups)
            self._permissions = session_permissions(self.here.connector, groups)
        return self._permissions

    def identified(self, identity: Identity | None) -> None:
        """Note who the sender is; None: not known any more, or not yet."""
        before = self._permissions
        self.identity, self._permissions = identity, None
        if self.permissions() != before:
            self.transcript.permissions(tuple(permission.value for permission in self.permissions()))

    def rights(self) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
        """Return the permissions of the sender, and who it is with its groups where that is known."""
        names = tuple(permission.value for permission in self.permissions())
        if self.identity is None:
            return names, None, ()
        return names, self.identity.name, self.identity.groups

    # -- the envelope

    async def smtp_MAIL(self, argument: str) -> Reply:
        """Begin a transaction (RFC 5321 section 4.1.1.2)."""
        if (wrong := out_of_order("MAIL", self.dialogue.phase)) is not None:
            return wrong
        connector = self.here.connector
        if connector.require_tls and self.dialogue.secured_by is None:
            return replies.MUST_STARTTLS
        if not may_submit(self.permissions()):
            return replies.NOT_AUTHENTICATED if self.is_anonymous() else replies.NO_PERMISSION
        sender = read_sender(argument, connector)
        if isinstance(sender, Reply):
            if sender is replies.MESSAGE_TOO_BIG:
                self._too_big("the size that MAIL declared")
            return sender
        if self.faults and (instead := await self.suffer(Point.MAIL, "MAIL", sender.address)) is not None:
            return instead
        assert self.arrival is not None
        struck = await self.house.admit_message(self.arrival, self.here, sender.address)
        if struck is not None:
            self.struck(struck, ends=True)
            return replies.TOO_MANY_MESSAGES
        self.sender = sender
        self.dialogue = self.dialogue.sender_given()
        return replies.SENDER_OK

    async def smtp_RCPT(self, argument: str) -> Reply:
        """Add a recipient (section 4.1.1.3)."""
        if (wrong := out_of_order("RCPT", self.dialogue.phase)) is not None:
            return wrong
        connector = self.here.connector
        recipient = read_recipient(argument, connector, utf8=self.sender.utf8)
        if isinstance(recipient, Reply):
            return recipient
        if self.faults and (instead := await self.disturbed(Point.RCPT, "RCPT", recipient)) is not None:
            return instead
        most = connector.max_recipients_per_message
        if len(self.recipients) >= most:
            if len(self.recipients) == most and not self._full:
                self._full = True
                self.struck(Struck("MaxRecipientsPerMessage", f"a message has more than {most} recipients"))
            return replies.TOO_MANY_RECIPIENTS
        self.recipients.append(recipient)
        self.dialogue = self.dialogue.recipient_given()
        return replies.RECIPIENT_OK

    # -- the content

    async def smtp_DATA(self, argument: str) -> Reply:
        """Take the message (section 4.1.1.4); 250 means that it is durable."""
        if (wrong := out_of_order("DATA", self.dialogue.phase)) is not None:
            return wrong
        if argument:
            return replies.INVALID_ARGUMENTS
        if self.sender.wants_binary:
            # RFC 3030 section 3: what is binary goes by BDAT alone.
            return replies.BAD_SEQUENCE
        if self.faults and (instead := await self.disturbed(Point.DATA, "DATA")) is not None:
            return instead
        self.reply(replies.START_MAIL_INPUT)
        body = DataReader(self.here.connector.max_message_size)
        await self.read_body(body)
        content = body.content()
        if content is not None and self._has_forbidden_line_feeds(content):
            self.end_transaction()
            return replies.BARE_LINE_FEEDS
        return await self._taken(content)

    async def smtp_BDAT(self, argument: str) -> Reply | None:
        """Take a chunk (RFC 3030 section 2); it is read to its last octet, whatever the answer is."""
        chunk = parse_chunk(argument)
        if chunk is None:
            # Nobody can tell where the chunk ends, so nothing behind may be taken for a command.
            self.reply(replies.INVALID_ARGUMENTS)
            self.conclude(Outcome.REFUSED, "BDAT came without a size, so what follows it cannot be read")
            return None
        wrong = out_of_order("BDAT", self.dialogue.phase)
        if not self.here.connector.chunking_enabled:
            wrong = replies.UNRECOGNIZED
        if self.faults and wrong is None:
            wrong = await self.disturbed(Point.DATA, "BDAT")
        kept = self._content if self._content is not None else bytearray()
        fits = len(kept) + chunk.size <= self.here.connector.max_message_size
        if chunk.size:
            await self.read_body(ChunkReader(chunk.size, kept if fits and wrong is None else None))
        if wrong is not None:
            return wrong
        if not fits:
            return await self._taken(None)
        return await self._chunk_taken(chunk, kept)

    async def _chunk_taken(self, chunk: Chunk, content: bytearray) -> Reply:
        if not chunk.is_last:
            self._content = content
            self.dialogue = self.dialogue.chunk_given()
            return replies.chunk_received(chunk.size)
        return await self._taken(bytes(content), "BDAT")

    async def _taken(self, content: bytes | None, verb: str = "DATA") -> Reply:
        try:
            if content is None:
                self.transcript.note("the message was over MaxMessageSize and is not kept")
                self._too_big("the message")
                return replies.MESSAGE_TOO_BIG
            self.transcript.note(f"a message of {len(content)} octets came")
            fields = headers.parse_header_section(content)
            return self._over_a_limit(content, fields) or await self._deliver(content, fields, verb)
        finally:
            # The end of the data ends the transaction, whatever came of it.
            self.end_transaction()

    def _has_forbidden_line_feeds(self, content: bytes) -> bool:
        # Set-ReceiveConnector speaks of "the SMTP DATA stream": in BDAT nothing can be smuggled.
        if not self.here.connector.bare_linefeed_rejection_enabled or not headers.has_bare_line_end(content):
            return False
        self.struck(Struck("BareLinefeedRejectionEnabled", "the message has a line feed or a CR of its own"))
        return True

    def _over_a_limit(self, content: bytes, fields: tuple[tuple[str, str], ...]) -> Reply | None:
        connector = self.here.connector
        size = headers.header_section_octets(content)
        if size > connector.max_header_size:
            self.struck(
                Struck(
                    "MaxHeaderSize", f"the header section has {size} octets of {connector.max_header_size}"
                )
            )
            return replies.HEADER_TOO_BIG
        hops = headers.received_count(fields)
        if hops > connector.max_hop_count:
            return self._too_many_hops("MaxHopCount", hops, connector.max_hop_count)
        if hops > connector.max_local_hop_count:
            # Only then can so many of them be this server's own.
            hops = headers.local_received_count(fields, self.fqdn)
            if hops > connector.max_local_hop_count:
                return self._too_many_hops("MaxLocalHopCount", hops, connector.max_local_hop_count)
        return None

    def _too_many_hops(self, limit: str, hops: int, most: int) -> Reply:
        self.struck(Struck(limit, f"the message has {hops} Received fields of {most}"))
        return replies.TOO_MANY_HOPS

    def _too_big(self, what: str) -> None:
        most = self.here.connector.max_message_size
        self.struck(Struck("MaxMessageSize", f"{what} is over {most} octets"))

    async def disturbed(self, point: Point, verb: str, recipient: Mailbox | None = None) -> Reply | None:
        """Carry out the faults of a transaction, about one recipient or all; return the reply of one."""
        asked = self.recipients if recipient is None else [recipient]
        return await self.suffer(point, verb, self.sender.address, tuple(each.address for each in asked))

    async def _deliver(self, content: bytes, fields: tuple[tuple[str, str], ...], verb: str) -> Reply:
        if self.faults and (instead := await self.disturbed(Point.END_OF_DATA, verb)) is not None:
            return instead
        subject = headers.value_of("subject", fields)
        given = headers.message_id(fields)
        recipients = tuple([recipient.address for recipient in self.recipients])
        message = MessageRecord(
            time=self.house.now(),
            server=self.here.server.name,
            connector=self.here.connector.name,
            session_id=self.id,
            sender=self.sender.address,
            recipients=recipients,
            mail_parameters=self.sender.parameters,
            recipient_parameters=tuple([recipient.parameters for recipient in self.recipients]),
            subject=None if subject is None else headers.decoded_subject(subject),
            message_id=given,
            run=headers.run_of(fields, recipients),
            verb=self.dialogue.secured_by,
            headers=fields,
            raw=content,
        )
        try:
            # A message's session is in the same transaction; its later messages find it there.
            internal_id = await self.house.deliver(message, None if self.messages else self.record())
        except DeliveryError:
            self.struck(Struck(OUT_OF_RESOURCES, "the message could not be made durable and was not taken"))
            return replies.INSUFFICIENT_RESOURCES
        self.messages.append(internal_id)
        if self.faults and (instead := await self.disturbed(Point.ACCEPTED, verb)) is not None:
            return instead
        shown = given or f"<{internal_id}@{self.fqdn}>"
        return replies.queued(shown, internal_id, self.fqdn)

    # -- state

    def end_transaction(self) -> None:
        """Forget the envelope and what there is of the content; the hello stays."""
        self.forget_transaction()
        self.dialogue = self.dialogue.reset()

    def forget_transaction(self) -> None:
        """Forget the envelope and what there is of the content."""
        self.sender, self.recipients = NULL_SENDER, []
        self._content = None
        self._full = False
