"""Why a client command ends early: one sentence for a person, and the exit code it deserves."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The exit codes of ``probe`` and ``tunnel``; 2, bad usage, belongs to the command line."""

    FINE = 0
    NOT_AS_EXPECTED = 1
    UNREACHABLE = 3


class ClientError(Exception):
    """A conversation that cannot go on; ``str`` is one sentence without a full stop."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNREACHABLE


class ConnectError(ClientError):
    """There is no connection: no such name, no route, nobody listens, or no answer in time."""


class ConversationError(ClientError):
    """The peer does not speak SMTP, went silent, or broke off."""


class HandshakeError(ConversationError):
    """The TLS verb was taken, but no TLS session came of it."""


class RefusedError(ClientError):
    """The peer speaks SMTP and said no, or does not offer what was asked for."""

    exit_code = ExitCode.NOT_AS_EXPECTED


class NoTicketError(ClientError):
    """Our own side has nothing to authenticate with: no ticket, and no KDC that gives one."""
