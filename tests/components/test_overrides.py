"""What one receiver is told while it runs holds at every receiver on the same journal."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import load_config
from tests.components.journal_making import eventually, looking_into
from tests.crew import MANY, crew, first_lines
from tests.lab import CONNECTOR, FQDN, SERVER, Lab
from tests.peer import Peer
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.lab import Pki
    from tests.postgres import Postgres

pytestmark = pytest.mark.slow

BUSY = {"at": "banner", "kind": "reply", "code": 554, "text": "No"}
ON_A_SERVER = pytest.param("postgresql", marks=pytest.mark.slow)


@pytest.fixture(params=["sqlite", ON_A_SERVER])
def pair(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> tuple[Lab, Lab]:
    """Return the files of two receivers that share a journal, each with a configuration of its own."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.create()
    labs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        labs.append(Lab(tmp_path / name, pki))
        write(labs[-1], url)
    return labs[0], labs[1]


def write(lab: Lab, url: str | None, **connector: object) -> None:
    """Write the files of a receiver on the journal at *url*."""
    lab.write(connector=connector, settings={"capture": {"url": url}})


def url_of(lab: Lab) -> str:
    """Return where the journal of a receiver is."""
    url = load_config(lab.config, environ={}, machine_fqdn=FQDN).settings.capture.url
    assert url is not None
    return url


@asynccontextmanager
async def serving(lab: Lab) -> AsyncIterator[Receiver]:
    """Run a receiver of the files as they are."""
    loaded = load_config(lab.config, environ={}, machine_fqdn=FQDN)
    async with Receiver(loaded, on_warning=lab.warnings.append) as receiver:
        yield receiver


async def banner_of(receiver: Receiver) -> str:
    """Return what a session hears first."""
    async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
        return (await peer.reply())[0]


async def hears(receiver: Receiver, banner: str) -> None:
    """Wait until sessions hear *banner* first."""

    async def does() -> bool:
        return (await banner_of(receiver)).startswith(banner)

    await eventually(does)


async def test_faults_of_another_receiver(pair: tuple[Lab, Lab]) -> None:
    """A list that is put at one holds at the other; each counts for itself, and the last list counts."""
    async with serving(pair[0]) as one, serving(pair[1]) as two:
        one.put_faults([BUSY])
        assert (await banner_of(one))[:3] == "554"
        await one.applied()
        await hears(two, "554 No")
        counted = one.faults.as_json()["items"][0]["fired"]
        two.put_faults([{**BUSY, "text": "Never"}])
        await hears(one, "554 Never")
        one.delete_faults()
        await hears(two, "220 ")

    assert counted == 1
    assert pair[0].warnings == pair[1].warnings == []


async def test_a_connector_that_is_changed_at_another_receiver(pair: tuple[Lab, Lab]) -> None:
    """Properties that two receivers are told hold together at both, whichever was first."""
    async with serving(pair[0]) as one, serving(pair[1]) as two:
        await asyncio.gather(
            one.alter(SERVER, CONNECTOR, {"banner": "220 changed"}),
            two.alter(SERVER, CONNECTOR, {"max_recipients_per_message": 7}),
        )
        for receiver in (one, two):
            await hears(receiver, "220 changed")

            async def has_both(receiver: Receiver = receiver) -> bool:
                connector = receiver.settings.servers[0].server.connectors[0]
                return (connector.banner, connector.max_recipients_per_message) == ("220 changed", 7)

            await eventually(has_both)


async def test_a_file_that_changes_takes_back(pair: tuple[Lab, Lab]) -> None:
    """When the configuration of one changes, what had been said beside it holds nowhere any more."""
    url = url_of(pair[0])
    async with serving(pair[0]) as one, serving(pair[1]) as two:
        await one.alter(SERVER, CONNECTOR, {"banner": "220 changed"})
        await hears(two, "220 changed")
        write(pair[1], url, banner="220 of its file")
        await hears(two, "220 of its file")
        await hears(one, "220 mx1.lab.test Microsoft ESMTP")


async def test_a_start(pair: tuple[Lab, Lab]) -> None:
    """With a server a receiver that starts takes over what holds; with a file it begins with its configuration."""
    is_on_server = url_of(pair[0]).startswith("postgresql:")
    async with serving(pair[0]) as one:
        one.put_faults([{**BUSY, "at": "ehlo"}])
        await one.alter(SERVER, CONNECTOR, {"banner": "220 changed"})
        await one.applied()
    async with serving(pair[1]) as two:
        banner = await banner_of(two)
        faults = len(two.faults.faults)

    assert (banner == "220 changed", faults) == (is_on_server, int(is_on_server))


async def test_a_receiver_that_has_no_such_connector(pair: tuple[Lab, Lab]) -> None:
    """It says so in one line, and goes on as it was."""
    async with serving(pair[0]) as one:
        write(pair[1], url_of(pair[0]), name="Another")
        async with serving(pair[1]) as two:
            await one.alter(SERVER, CONNECTOR, {"banner": "220 changed"})

            async def is_said() -> bool:
                return bool(pair[1].warnings)

            await eventually(is_said)
            bound = [each.connector.banner for each in two.bound]

    assert bound == [None]
    assert pair[1].warnings == [
        f"{SERVER}: {CONNECTOR}: is changed at another receiver; there is no such connector here"
    ]


async def test_while_the_journal_cannot_be_written(pair: tuple[Lab, Lab]) -> None:
    """A change holds here at once, and elsewhere as soon as it can be written; that is said once."""
    url = url_of(pair[0])
    async with serving(pair[0]) as one, serving(pair[1]) as two:
        with looking_into(url) as connection:
            connection.exec_driver_sql("ALTER TABLE overrides RENAME TO elsewhere")
        one.put_faults([BUSY])
        await one.applied()
        await one.applied()
        assert (await banner_of(one))[:3] == "554"
        with looking_into(url) as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO overrides")
        await hears(two, "554 No")

    (warning,) = pair[0].warnings
    assert "are not shared meanwhile" in warning


async def test_without_a_journal_nothing_is_shared(lab: Lab) -> None:
    """capture.url null: what is wanted holds here."""
    write(lab, None)
    async with serving(lab) as receiver:
        receiver.put_faults([BUSY])
        await receiver.alter(SERVER, CONNECTOR, {"max_recipients_per_message": 7})
        await receiver.applied()
        banner = await banner_of(receiver)

    assert banner == "554 No"


@pytest.mark.slow
async def test_workers_of_one_and_a_receiver(lab: Lab, postgres: Postgres) -> None:
    """The API of either changes what the next session is told in all processes of both."""
    write(lab, postgres.create())
    async with crew(lab.config) as many, served(lab.config, has_page=True) as single:
        path = f"connectors/{SERVER}/{CONNECTOR.replace(' ', '%20')}"
        await single.ask(path, method="PATCH", body={"banner": "220 changed"})

        async def is_changed() -> bool:
            return set(await first_lines(many.address)) == {"220 changed"}

        await eventually(is_changed)
        await many.ask("faults", method="PUT", body={"faults": [BUSY]})

        async def is_refused() -> bool:
            return {line[:3] for line in await first_lines(single.address, 1)} == {"554"}

        await eventually(is_refused)
        refused = await first_lines(many.address)
        await many.lose_one()
        still = await first_lines(many.address)

    assert refused == still == ["554 No"] * MANY


async def test_a_journal_that_cannot_be_written_at_start(pair: tuple[Lab, Lab]) -> None:
    """A start says in one line what is wrong with the table."""
    async with serving(pair[0]):
        pass
    with looking_into(url_of(pair[0])) as connection:
        connection.exec_driver_sql("DROP TABLE overrides")
    with pytest.raises(JournalError, match="overrides"):
        async with serving(pair[0]):
            pass
