"""The tables of the first schema that can be migrated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = None

# In SQLite only a column declared INTEGER is the row's own address.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_state()
    _make_messages()
    _make_sessions()
    _make_events()


def _make_state() -> None:
    op.create_table(
        "journal_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("last_message_id", _NUMBER, nullable=False),
        sa.Column("last_session_change", _NUMBER, nullable=False),
        sa.Column("message_count", _NUMBER, nullable=False),
        sa.Column("message_octets", _NUMBER, nullable=False),
    )


def _make_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("time", _NUMBER, nullable=False, index=True),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False, index=True),
        sa.Column("run", sa.Text, index=True),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("size", _NUMBER, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
    )
    op.create_table(
        "message_bodies",
        sa.Column("message_id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "message_recipients",
        sa.Column("message_id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Index("ix_message_recipients_address", "address", "message_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "message_headers",
        sa.Column("message_id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Index("ix_message_headers_value", "name", "value", "message_id"),
        sqlite_with_rowid=False,
    )


def _make_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("started", _NUMBER, nullable=False),
        sa.Column("server", sa.Text),
        sa.Column("connector", sa.Text),
        sa.Column("remote", sa.Text, nullable=False),
        sa.Column("remote_host", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("change", _NUMBER, nullable=False, index=True),
        sa.Index("ix_sessions_started", "started", "id"),
    )
    op.create_table(
        "session_transcripts",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("transcript", sa.Text, nullable=False),
    )


def _make_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("time", _NUMBER, nullable=False, index=True),
        sa.Column("event_id", sa.Integer, nullable=False),
        sa.Column("server", sa.Text),
        sa.Column("connector", sa.Text),
        sa.Column("session_id", sa.Text, index=True),
        sa.Column("shown", sa.Text, nullable=False),
    )
