"""The one way in which the journal fails."""

from __future__ import annotations


class JournalError(Exception):
    """The journal could not be opened, read or written; the text is one line for a person."""
