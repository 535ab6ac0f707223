"""What a worker has in place of what its supervisor has: each tells it, and never waits for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from smtpd_anontls.protocol_log.session import SessionRows
from smtpd_anontls.supervisor.outbox import Kind
from smtpd_anontls.supervisor.words import Happened, Logged, Warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.domain.protocol_log import Layout
    from smtpd_anontls.domain.records import MessageRecord, SessionRecord
    from smtpd_anontls.supervisor.outbox import Outbox


class TellsEvents:
    """Writes events by telling of them; see household.Announces."""

    def __init__(self, outbox: Outbox, clock: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._clock = clock

    def write(
        self,
        draft: EventDraft,
        role: TransportRole,
        server: str | None,
        connector: str | None,
        session_id: str | None,
    ) -> None:
        """Write an event."""
        self._outbox.event(Happened(self._clock(), draft, role, server, connector, session_id))


class TellsRows:
    """Has a protocol log at the supervisor; see household.LogsProtocol."""

    def __init__(self, outbox: Outbox, layout: Layout, clock: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._layout = layout
        self._clock = clock

    def session(self, session_id: str, connector_id: str, local: str, remote: str) -> SessionRows:
        r"""Return what takes the rows of a session; *connector_id* is ``SERVER\Connector Name``."""
        return SessionRows(
            self._outbox.rows,
            self._clock,
            self._layout,
            session_id=session_id,
            connector_id=connector_id,
            local=local,
            remote=remote,
        )


class Discards:
    """Takes messages and throws them away; see household.Delivers."""

    def __init__(self, outbox: Outbox, first_id: int) -> None:
        self._outbox = outbox
        self._next_id = first_id

    async def deliver(self, _message: MessageRecord, session: SessionRecord | None) -> int:
        """Return the next id; the worker tells of the message."""
        number = self._next_id
        self._next_id += 1
        if session is not None:
            self.record_session(session)
        return number

    def record_session(self, record: SessionRecord) -> None:
        """Tell of one that runs; of one that has ended the worker tells."""
        if record.outcome is None:
            self._outbox.session(record)


class TellsLog(logging.Handler):
    """Has what is logged logged by the supervisor."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of *record*, with its traceback as a text."""
        told = logging.makeLogRecord(record.__dict__)
        told.msg, told.args = record.getMessage(), ()
        if record.exc_info:
            told.exc_text = logging.Formatter().formatException(record.exc_info)
            told.exc_info = None
        self._outbox.tell_soon(Logged(told), Kind.LINES)


def warns(outbox: Outbox) -> Callable[[str], None]:
    """Return what tells the operator of something; any thread may call it."""
    return lambda text: outbox.tell_soon(Warned(text), Kind.LINES)
