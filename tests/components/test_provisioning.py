"""What a first start and the gallery make, and what they leave alone."""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import yaml

from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.certificates.store import LocalComputerStore
from smtpd_anontls.deciding import Surroundings
from smtpd_anontls.directory.file import FileDirectory
from smtpd_anontls.domain.certificate import KeyState
from smtpd_anontls.domain.directory_value import Named
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.scenarios import Scenario
from smtpd_anontls.provisioning import ProvisioningError, provision
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.settings.load import load_config
from smtpd_anontls.settings.values import FileDirectorySettings
from smtpd_anontls.starting import select_at_start

if TYPE_CHECKING:
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import Settings

NOW = datetime(2027, 6, 1, 15, 30, tzinfo=UTC)
GALLERY = Path(__file__).parents[2] / "config" / "gallery.yaml"

# Scenario, whether each verb is advertised, and the events of a start.
SHOWN: dict[Scenario, tuple[bool, bool, list[int]]] = {
    Scenario.HEALTHY: (True, True, []),
    Scenario.AUTH_MECHANISM: (False, True, []),
    Scenario.NOT_SET: (False, True, [12012]),
    Scenario.UNREADABLE: (False, True, [12012]),
    Scenario.NOT_IN_STORE: (False, True, [12013]),
    Scenario.NO_PRIVATE_KEY: (False, False, [12013, 12014]),
    Scenario.EXPIRED: (True, True, [12015, 12016]),
    Scenario.EXPIRES_SOON: (True, True, [12017, 12018]),
    Scenario.SUPPRESSED: (False, True, []),
    Scenario.STARTTLS_ONLY: (False, True, []),
    Scenario.ANONYMOUS_TLS_ONLY: (True, False, []),
    Scenario.NO_TLS: (False, False, []),
    Scenario.EXCHANGE_LIMITS: (True, True, []),
}


def settings_in(folder: Path, content: str) -> Settings:
    """Write a configuration into ``folder/config`` and return what it says."""
    path = folder / "config" / "lab.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return load_config(path, environ={}, machine_fqdn="lab.test").settings


def one_server(folder: Path) -> Settings:
    """Return a configuration with one server that makes its first certificate."""
    server = {
        "name": "MBX1",
        "fqdn": "mbx1.lab.test",
        "certificate_store": "../certs",
        "default_certificate": True,
        "connectors": [
            {"name": "c", "bindings": ["127.0.0.1:0"], "auth_mechanism": ["Tls", "ExchangeServer"]}
        ],
    }
    return settings_in(folder, yaml.safe_dump({"servers": [server], "directory": {"path": "directory.yaml"}}))


async def made(settings: Settings, now: datetime = NOW) -> list[str]:
    """Provision, and return what was said of it."""
    said: list[str] = []
    await provision(settings, now=now, on_made=said.append)
    return said


async def decided(settings: Settings, now: datetime) -> dict[tuple[str, TlsVerb], Selection]:
    """Return every selection of a start, by server and verb."""
    surroundings = Surroundings.of(settings, on_warning=pytest.fail)
    servers = [each.server for each in settings.servers]
    surroundings.load(servers)
    selections, _ = await select_at_start(surroundings, servers, Moment(now, at_start=True))
    return {(selection.server, selection.verb): selection for _, selection in selections}


def files_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time of change and content of every file below the folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ctime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- the default certificate


async def test_a_first_start_makes_what_exchange_makes(tmp_path: Path) -> None:
    """A certificate for NetBIOS name and FQDN, enabled for Exchange's default services, that the directory names."""
    settings = one_server(tmp_path)
    said = await made(settings)

    (held,) = await LocalComputerStore(tmp_path / "certs").all()
    certificate = held.certificate
    assert held.key is KeyState.USABLE
    assert held.services == frozenset({"IMAP", "POP", "SMTP"})
    assert (certificate.subject, certificate.issuer) == ("CN=MBX1", "CN=MBX1")
    assert certificate.subject_alternative_names == ("MBX1", "mbx1.lab.test")
    assert certificate.not_before <= NOW < certificate.not_after
    answer = await FileDirectory(tmp_path / "config" / "directory.yaml").internal_tls_certificate("MBX1")
    assert isinstance(answer, Named)
    assert answer.thumbprint == certificate.thumbprint
    (line,) = said
    assert line.startswith(f"MBX1: made certificate {certificate.thumbprint}")
    selections = await decided(settings, NOW)
    assert all(selection.certificate == certificate for selection in selections.values())


async def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """The file with the key has mode 0600, and the store's folder 0700."""
    await made(one_server(tmp_path))

    with_keys = [path for path in (tmp_path / "certs").iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in with_keys] == [0o600]
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700


async def test_a_second_start_makes_nothing(tmp_path: Path) -> None:
    """A second start, even many years later, touches no file."""
    settings = one_server(tmp_path)
    await made(settings)
    before = files_in(tmp_path)

    assert await made(settings) == []
    assert await made(settings, NOW.replace(year=2050)) == []
    assert files_in(tmp_path) == before


async def test_a_store_with_a_certificate_is_left_alone(tmp_path: Path) -> None:
    """Where the store holds any certificate, none is made, and the directory gets no entry."""
    settings = one_server(tmp_path)
    (tmp_path / "certs").mkdir()
    own = issue(["own.lab.test"], now=NOW, key_type=KeyType.EC)
    (tmp_path / "certs" / "own.cer").write_bytes(own.certificate_pem)
    before = files_in(tmp_path)

    assert await made(settings) == []
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("entry", ["{msExchServerInternalTLSCert: null}", "{readable: false}"])
async def test_a_server_with_an_entry_is_left_alone(tmp_path: Path, entry: str) -> None:
    """Where the directory has an entry in any case, whatever it says, none is made."""
    settings = one_server(tmp_path)
    (tmp_path / "config" / "directory.yaml").write_text(f"mbx1: {entry}  # by hand\n")
    before = files_in(tmp_path)

    assert await made(settings) == []
    assert files_in(tmp_path) == before
    assert not (tmp_path / "certs").exists()


async def test_entries_of_others_stay(tmp_path: Path) -> None:
    """The directory gets its entry beside those of other servers, comments and all."""
    settings = one_server(tmp_path)
    others = "# ours\nMBX2: {readable: false}  # on purpose\n"
    (tmp_path / "config" / "directory.yaml").write_text(others)

    assert len(await made(settings)) == 1
    assert (tmp_path / "config" / "directory.yaml").read_text().startswith(others)


async def test_without_being_asked_nothing_is_made(tmp_path: Path) -> None:
    """A server with neither default_certificate nor scenario gets nothing."""
    content = yaml.safe_load((one_server(tmp_path).path or tmp_path).read_text())
    del content["servers"][0]["default_certificate"]

    assert await made(settings_in(tmp_path, yaml.safe_dump(content))) == []
    assert not (tmp_path / "certs").exists()


# -- what keeps it from being made


async def test_a_file_in_place_of_the_store(tmp_path: Path) -> None:
    """One line says that the store cannot be written; the directory gets no entry."""
    settings = one_server(tmp_path)
    (tmp_path / "certs").touch()

    with pytest.raises(ProvisioningError, match=r"^MBX1: no certificate could be made: .*certs") as failed:
        await made(settings)

    assert "\n" not in str(failed.value)
    assert not (tmp_path / "config" / "directory.yaml").exists()


async def test_a_broken_directory(tmp_path: Path) -> None:
    """One line says where the directory is broken; no certificate is made, so that the next start makes it."""
    settings = one_server(tmp_path)
    directory = tmp_path / "config" / "directory.yaml"
    directory.write_text("MBX2: {")

    with pytest.raises(
        ProvisioningError, match=r"^MBX1: no certificate could be made: .*directory\.yaml: line 1: "
    ):
        await made(settings)
    assert not (tmp_path / "certs").exists()

    directory.unlink()
    assert len(await made(settings)) == 1


async def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """Where the entry cannot be written, no certificate stays behind: the next start makes both."""
    settings = one_server(tmp_path)
    content = yaml.safe_load((tmp_path / "config" / "lab.yaml").read_text())
    content["directory"]["path"] = "file/directory.yaml"
    spoilt = settings_in(tmp_path, yaml.safe_dump(content))
    (tmp_path / "config" / "file").touch()

    with pytest.raises(ProvisioningError, match=r"^MBX1: no certificate could be made: .*directory\.yaml"):
        await made(spoilt)
    assert await LocalComputerStore(tmp_path / "certs").all() == []

    assert len(await made(settings)) == 1


# -- the gallery


def gallery_in(folder: Path) -> Settings:
    """Return the settings of the shipped gallery, with its state in *folder*."""
    return settings_in(folder, GALLERY.read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a gallery after its first start at NOW."""
    folder = tmp_path_factory.mktemp("gallery")
    said = await made(gallery_in(folder))
    assert len(said) == len(Scenario)
    return folder


@pytest.fixture
def gallery(first_start: Path, tmp_path: Path) -> Settings:
    """Return the settings of a gallery of the test's own, as after its first start."""
    shutil.copytree(first_start, tmp_path, dirs_exist_ok=True)
    return gallery_in(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "later", [timedelta(0), timedelta(days=12), timedelta(days=5 * 365 - 20), timedelta(days=3660)]
)
async def test_every_scenario_shows_what_it_is_for(gallery: Settings, later: timedelta) -> None:
    """At a first start and at any later one each scenario advertises and writes what the documents say."""
    now = NOW + later
    await made(gallery, now)
    selections = await decided(gallery, now)

    shown = {}
    for each in gallery.servers:
        both = [selections[each.server.name, verb] for verb in (TlsVerb.X_ANONYMOUSTLS, TlsVerb.STARTTLS)]
        events = [event for selection in both for event in selection.event_ids]
        shown[each.scenario] = (both[0].advertised, both[1].advertised, events)
    assert shown == SHOWN


@pytest.mark.slow
async def test_only_what_no_longer_shows_its_scenario_is_made_anew(gallery: Settings) -> None:
    """After eleven days only `expires-soon` is made again; near five years all that has to be valid."""
    eleven_days = await made(gallery, NOW + timedelta(days=11))
    nothing = await made(gallery, NOW + timedelta(days=11, hours=1))
    years = await made(gallery, NOW + timedelta(days=5 * 365 - 20))

    assert [said.partition(":")[0] for said in eleven_days] == ["expires-soon"]
    assert nothing == []
    # What has expired stays so.
    assert {said.partition(":")[0] for said in years} == {each.value for each in Scenario} - {"expired"}


@pytest.mark.slow
async def test_what_a_person_has_put_there_stays(gallery: Settings, tmp_path: Path) -> None:
    """A remedied scenario stays remedied; files and entries of a person's own are not touched."""
    (healthy,) = [each for each in gallery.servers if each.scenario is Scenario.HEALTHY]
    (healthy.certificate_store / "notes.txt").write_text("mine")
    own = issue(["own.lab.test"], now=NOW, key_type=KeyType.EC)
    (healthy.certificate_store / "own.pem").write_bytes(own.certificate_pem + own.key_pem)
    (not_set,) = [each for each in gallery.servers if each.scenario is Scenario.NOT_SET]
    (held,) = await LocalComputerStore(not_set.certificate_store).all()
    assert isinstance(gallery.directory, FileDirectorySettings)
    file = gallery.directory.path
    directory = FileDirectory(file)
    directory.set_internal_tls_certificate("not-set", held.certificate.thumbprint)
    file.write_text(file.read_text() + "other: {readable: false}  # mine\n")
    before = files_in(tmp_path)

    assert await made(gallery) == []
    assert files_in(tmp_path) == before
    selections = await decided(gallery, NOW)
    assert selections["not-set", TlsVerb.X_ANONYMOUSTLS].certificate == held.certificate

    # Made anew years later, the user's own files are where they were.
    await made(gallery, NOW + timedelta(days=3660))
    after = files_in(healthy.certificate_store)
    assert after["notes.txt"][1] == b"mine"
    assert after["own.pem"][1] == own.certificate_pem + own.key_pem
    assert "other: {readable: false}  # mine\n" in file.read_text()


@pytest.mark.slow
async def test_the_gallery_keeps_its_keys_to_itself(gallery: Settings) -> None:
    """Every file with a key has mode 0600; `no-private-key` has none at all."""
    for each in gallery.servers:
        files = [path for path in each.certificate_store.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
        assert len(files) == (0 if each.scenario is Scenario.NO_PRIVATE_KEY else 1)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} <= {0o600}
