"""A house (smtp.ports.House) that answers as a receiver does, except where a test says otherwise."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.smtp.listener import Listener
from tests.lab import CONNECTOR
from tests.peer import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.limits import Struck
    from smtpd_anontls.domain.records import MessageRecord, SessionRecord, TlsVerb
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.smtp.ports import Arrival, Refusal, ServerContext, SessionLog, Unavailable, Welcome


class Detour:
    """Holds deliveries up until it may deliver, and fails where it is told to."""

    def __init__(self, receiver: Receiver) -> None:
        self.may_deliver = asyncio.Event()
        self.fails_to_deliver: Exception | None = None
        self.fails_to_welcome: Exception | None = None
        self.records: list[SessionRecord] = []
        self.listener = Listener(self, on_warning=pytest.fail)
        self._receiver = receiver

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[str, int]]:
        """Listen on a port of its own, and yield it."""
        opened = await self.listener.open(Binding.parse("127.0.0.1:0"))
        assert opened is not None
        try:
            yield "127.0.0.1", opened.port
        finally:
            await self.listener.close(PATIENCE)

    def now(self) -> datetime:
        """Return the time."""
        return self._receiver.now()

    def new_session_id(self) -> str:
        """Return an id."""
        return self._receiver.new_session_id()

    def expects_proxy_header(self, arrival: Arrival) -> bool:
        """Expect none."""
        return self._receiver.expects_proxy_header(arrival)

    async def welcome(self, arrival: Arrival) -> Welcome | Refusal:
        """Welcome a session as if it had come to the receiver's own port."""
        if self.fails_to_welcome is not None:
            raise self.fails_to_welcome
        host, port = self._receiver.address(CONNECTOR)
        return await self._receiver.welcome(replace(arrival, local=(parse_address(host), port)))

    async def another_context(
        self, welcome: Welcome, verb: TlsVerb, thumbprint: str | None, policy: TlsPolicy
    ) -> tuple[Certificate, ServerContext] | Unavailable:
        """Return another certificate and its context."""
        return await self._receiver.another_context(welcome, verb, thumbprint, policy)

    def departed(self, arrival: Arrival, welcome: Welcome) -> None:
        """Count a session no longer."""
        self._receiver.departed(arrival, welcome)

    def session_log(self, arrival: Arrival, server: Server, connector: ReceiveConnector) -> SessionLog | None:
        """Return the rows of the session."""
        return self._receiver.session_log(arrival, server, connector)

    async def admit_message(self, arrival: Arrival, welcome: Welcome, sender: str) -> Struck | None:
        """Count a message."""
        return await self._receiver.admit_message(arrival, welcome, sender)

    def record_event(self, draft: EventDraft, arrival: Arrival, welcome: Welcome) -> None:
        """Write an event."""
        self._receiver.record_event(draft, arrival, welcome)

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Deliver when the test lets it, or fail."""
        if self.fails_to_deliver is not None:
            raise self.fails_to_deliver
        await self.may_deliver.wait()
        return await self._receiver.deliver(message, session)

    def record_session(self, record: SessionRecord) -> None:
        """Keep the record."""
        self.records.append(record)

    def report_fault(self, session_id: str, error: BaseException) -> None:
        """Pass a fault on."""
        self._receiver.report_fault(session_id, error)
