"""What goes past SQLAlchemy to the driver, in each kind of database."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from smtpd_anontls.journal.database import database_at
from smtpd_anontls.journal.prepared import Prepared
from smtpd_anontls.journal.schema import message_bodies, state

ADD = Prepared(insert(message_bodies), ("message_id", "raw"))
COUNT = Prepared(
    update(state)
    .values(message_count=state.c.message_count + bindparam("more"), message_octets=bindparam("octets"))
    .returning(state.c.message_count, state.c.message_octets)
)


def test_rows_and_numbers(url: str) -> None:
    """Rows are met as often as there are any; what a statement returns follows the names of its values."""
    database = database_at(url)
    database.create()
    with database.writing() as connection:
        met = (ADD.for_each(connection, [(1, b"a"), (2, b"b")]), ADD.for_each(connection, []))
        returned = COUNT.once(connection, {"octets": 9, "more": 2})
    database.close()

    assert (met, tuple(returned)) == ((2, 0), (2, 9))


def test_what_fails(url: str) -> None:
    """It raises what SQLAlchemy would raise, and takes the whole transaction back."""
    database = database_at(url)
    database.create()
    with pytest.raises(IntegrityError) as refused, database.writing() as connection:
        ADD.for_each(connection, [(1, b"a"), (1, b"b")])
    with database.writing() as connection:
        met = ADD.for_each(connection, [(1, b"c")])
    database.close()

    assert isinstance(refused.value, DBAPIError)
    assert not database.is_of_the_world(refused.value)
    assert met == 1
