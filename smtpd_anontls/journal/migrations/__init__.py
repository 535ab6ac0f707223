"""From the tables of an older version to those of :mod:`smtpd_anontls.journal.schema`, by Alembic.

Each version of the schema has one script in ``versions``; its revision is the number of the version.
A new journal is made by ``METADATA.create_all``: scripts run where there are older tables, and a test
holds that both ways lead to the same.  A change of the tables is a change of ``schema``, the next
``SCHEMA_VERSION`` and a script; what a script says stays as it is from then on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smtpd_anontls.journal.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDEST = 2  # Schema 1 was never released.


def migrate(connection: Connection, found: int, wanted: int = SCHEMA_VERSION) -> None:
    """Bring the tables of schema *found* to schema *wanted*, inside the transaction of *connection*.

    *found* 0: there are no tables yet.
    """
    # Half a second, which a receiver whose journal is up to date does not spend.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if found:
        command.stamp(config, str(found))
    command.upgrade(config, str(wanted))
    # The journal's own state says of which version it is; two such numbers could differ.
    connection.exec_driver_sql("DROP TABLE alembic_version")
