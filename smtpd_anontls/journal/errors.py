"""How the journal fails."""

from __future__ import annotations


class JournalError(Exception):
    """The journal could not be opened, read or written; the text is one line for a person."""


class MissingJournalError(JournalError):
    """There is no journal yet: the receiver that makes it has not started."""
