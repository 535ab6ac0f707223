"""What a running ``serve`` tells its operator on stderr: sentences for a person, or one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from smtpd_anontls.cli.output import diagnose
from smtpd_anontls.domain.events import Level
from smtpd_anontls.domain.instants import rfc3339
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import EventRecord, SessionRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from smtpd_anontls.domain.records import Acknowledged

Json = dict[str, Any]

_log = logging.getLogger("smtpd_anontls")

# The attribute of a log record with what is known beside its message.
_FACTS = "smtpd_anontls"
_EVERYWHERE: Mapping[str, None] = MappingProxyType({"session_id": None, "server": None, "connector": None})

_LEVELS: Mapping[str, int] = MappingProxyType(
    {
        Level.ERROR.value: logging.ERROR,
        Level.WARNING.value: logging.WARNING,
        Level.INFORMATION.value: logging.INFO,
    }
)


class LogFormat(StrEnum):
    """How the lines on stderr look."""

    text = "text"
    json = "json"

    def inform(self, text: str) -> None:
        """Tell what goes on."""
        if self is LogFormat.json:
            _log.info(text)
        else:
            diagnose(text)

    def warn(self, text: str) -> None:
        """Warn of something that is wrong, and with which it goes on."""
        if self is LogFormat.json:
            _log.warning(text)
        else:
            diagnose(f"warning: {text}")

    def fail(self, text: str) -> None:
        """Tell why it cannot start."""
        if self is LogFormat.json:
            _log.error(text)
        else:
            diagnose(text)


@contextlib.contextmanager
def logging_to_stderr(form: LogFormat) -> Iterator[None]:
    """Send what the receiver logs to stderr until the block ends."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneObject() if form is LogFormat.json else _OneLine())
    # With JSON every line is an object, also what a library complains of.
    taken = logging.getLogger() if form is LogFormat.json else _log
    taken.addHandler(handler)
    logging.captureWarnings(capture=form is LogFormat.json)
    _log.setLevel(logging.INFO)
    # aiosmtpd writes a line for each session that says less than ours; asyncio complains of peers
    # that leave in the middle of TLS, which the record says better.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    # What it knows of a request that it cannot read, its client knows better.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        yield
    finally:
        taken.removeHandler(handler)
        logging.captureWarnings(capture=False)


def log_record(record: SessionRecord | Acknowledged | EventRecord) -> None:
    """Log a session that has ended, or an event; a message stands in its session's line."""
    match record:
        case SessionRecord():
            outcome = None if record.outcome is None else record.outcome.value
            facts: Json = {
                "session_id": record.id,
                "server": record.server,
                "connector": record.connector,
                "peer": record.remote,
                "outcome": outcome,
                "verb": None if record.verb is None else record.verb.value,
                "messages": len(record.messages),
            }
            sentence = f"session ended: {record.outcome_detail}"
            _log.info("%s", sentence, extra={_FACTS: facts})
        case EventRecord():
            shown = record.as_json()
            kept = ("session_id", "server", "connector", "event_id", "source", "thumbprint")
            facts = {name: shown[name] for name in kept}
            _log.log(_LEVELS[shown["level"]], "%s", shown["message"], extra={_FACTS: facts})


class _OneLine(logging.Formatter):
    """Time, level and a message without control characters; a traceback only for our own faults."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = f"{self.formatTime(record, '%H:%M:%S')} {printable(record.getMessage())}"
        traceback = _traceback(self, record)
        return line if traceback is None else f"{line}\n{traceback}"


class _OneObject(logging.Formatter):
    """One JSON object: time, level, message, session and place, and what else is known."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object in ASCII, so that no terminal is driven by it."""
        shown: Json = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "message": printable(record.getMessage()),
            **_EVERYWHERE,
        }
        # What was logged elsewhere may know its session alone.
        shown["session_id"] = getattr(record, "session_id", None)
        facts: Json = getattr(record, _FACTS, {})
        shown |= {name: printable(each) if isinstance(each, str) else each for name, each in facts.items()}
        traceback = _traceback(self, record)
        if traceback is not None:
            shown["traceback"] = traceback
        return json.dumps(shown)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    """Return the traceback of *record*; one of a worker comes as a text."""
    return formatter.formatException(record.exc_info) if record.exc_info else record.exc_text
