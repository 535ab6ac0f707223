"""The tables.

Times are whole microseconds since 1970 in UTC.  Texts to look things up by are in the forms
of :mod:`smtpd_anontls.domain.filters`; what is shown is JSON beside them, since a column of
text holds neither NUL nor a lone surrogate in every database, and a peer may send both.

:mod:`smtpd_anontls.journal.migrations` says what a change of the tables takes.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    event,
    func,
    literal_column,
)

SCHEMA_VERSION = 7

METADATA = MetaData()

# In SQLite only a column declared INTEGER is the row's own address.
_Number = BigInteger().with_variant(Integer(), "sqlite")

# One row.  Ids of messages and changes of sessions come from its counters, inside the transaction
# that uses them: never given twice, also where the newest has been removed, and visible in their order.
state = Table(
    "journal_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("last_message_id", _Number, nullable=False),
    Column("last_session_change", _Number, nullable=False),
    Column("message_count", _Number, nullable=False),
    Column("message_octets", _Number, nullable=False),
    Column("session_count", _Number, nullable=False, server_default="0"),
    Column("event_count", _Number, nullable=False, server_default="0"),
    Column("searchable_message_id", _Number, nullable=False, server_default="0"),  # See journal.search.
    Column("last_override", _Number, nullable=False, server_default="0"),
)

messages = Table(
    "messages",
    METADATA,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("time", _Number, nullable=False, index=True),
    Column("server", Text, nullable=False),
    Column("connector", Text, nullable=False),
    Column("session_id", Text, nullable=False, index=True),
    Column("run", Text),
    Column("sender", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("size", _Number, nullable=False),
    Column("shown", Text, nullable=False),
    Column("parameters", Text, nullable=False),
)
# Most messages have no run, and no entry.
_has_run = messages.c.run.is_not(None)
Index("ix_messages_run", messages.c.run, sqlite_where=_has_run, postgresql_where=_has_run)

# Beside the messages, so that a list never reads them.  Not compressed: zlib at its fastest costs four
# (text) to eight times (base64) the CPU of storing the octets as they are, at every size from 4 KB to 5 MB
# (50 KB: 0.9 and 2.0 ms against 0.2 ms), and leaves 49 % and 78 % of them.  A file system that compresses
# does so without the writer.
message_bodies = Table(
    "message_bodies",
    METADATA,
    Column("message_id", _Number, primary_key=True, autoincrement=False),
    Column("raw", LargeBinary, nullable=False),
)

message_recipients = Table(
    "message_recipients",
    METADATA,
    Column("message_id", _Number, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False),
    Index("ix_message_recipients_address", "address", "message_id"),
    sqlite_with_rowid=False,
)

message_headers = Table(
    "message_headers",
    METADATA,
    Column("message_id", _Number, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

# SQLite has its search index for them: these are the dearest part of a delivery.  An entry of an index
# of PostgreSQL holds no whole value, so this one has the first characters, and terms ask for these, too.
VALUE_CHARACTERS = 100
start_of_value = func.substr(
    message_headers.c.value, literal_column("1"), literal_column(str(VALUE_CHARACTERS))
)
Index(
    "ix_message_headers_value", message_headers.c.name, start_of_value, message_headers.c.message_id
).ddl_if(dialect="postgresql")

sessions = Table(
    "sessions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("started", _Number, nullable=False),
    Column("server", Text),
    Column("connector", Text),
    Column("remote", Text, nullable=False),
    Column("remote_host", Text, nullable=False),
    Column("outcome", Text),
    Column("shown", Text, nullable=False),
    Column("change", _Number, nullable=False, index=True),  # Of the last time that it was written.
    # What LIKE has before its first wildcard is looked for in it, whatever the collation is.
    Index("ix_sessions_remote_host", "remote_host", postgresql_ops={"remote_host": "text_pattern_ops"}),
    # A list reads no more of the sessions that it leaves out.
    Index("ix_sessions_listed", "started", "id", "server", "connector", "outcome", "remote", "remote_host"),
)

session_transcripts = Table(
    "session_transcripts",
    METADATA,
    Column("session_id", Text, primary_key=True),
    Column("transcript", Text, nullable=False),
)

events = Table(
    "events",
    METADATA,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("time", _Number, nullable=False, index=True),
    Column("event_id", Integer, nullable=False, index=True),
    Column("server", Text, index=True),
    Column("connector", Text, index=True),
    Column("session_id", Text, index=True),
    Column("shown", Text, nullable=False),
)

# See journal.overrides.
overrides = Table(
    "overrides",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("version", _Number, nullable=False),
    Column("content", Text, nullable=False),
)

# See journal.search; detail=column keeps no positions, which are not needed, and most of the size.
_message_search = DDL(  # type: ignore[no-untyped-call]
    "CREATE VIRTUAL TABLE message_search USING fts5(place, sender, recipients, subject, headers, "
    "content='', detail=column, columnsize=0, tokenize='trigram case_sensitive 1')"
)
# FTS5 would merge segments of the index inside whichever transaction comes to their number, for up to half a
# second; journal.search does so in small steps.  Eight at a time is a third of the work less than FTS5's own
# four; a search reads more of them.
_merge_nothing = DDL(  # type: ignore[no-untyped-call]
    "INSERT INTO message_search (message_search, rank) VALUES ('automerge', 0)"
)
_merge_eight = DDL(  # type: ignore[no-untyped-call]
    "INSERT INTO message_search (message_search, rank) VALUES ('usermerge', 8)"
)
for _statement in (_message_search, _merge_nothing, _merge_eight):
    event.listen(METADATA, "after_create", _statement.execute_if(dialect="sqlite"))
