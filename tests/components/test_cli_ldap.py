"""The commands with Active Directory: slapd answers, and ldapsearch says what really stands there."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from smtpd_anontls.directory.file import ATTRIBUTE
from smtpd_anontls.domain.directory_value import MAX_VALUE_BYTES
from tests.command import Answer, call, on_terminal
from tests.lab import FQDN, Belongings, eventually, greeted
from tests.running import running
from tests.slapd import (
    ADMINISTRATOR,
    ADMINISTRATOR_PASSWORD,
    BLIND,
    BLIND_PASSWORD,
    CONFIGURATION,
    READER,
    READER_PASSWORD,
    SERVERS,
    Slapd,
)
from tests.slapd import running as running_slapd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Json, Lab

pytestmark = pytest.mark.slow

SERVER = "MBX1"
DN = f"CN={SERVER},{SERVERS}"


@pytest.fixture(scope="module")
def ldap_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """Run one slapd for this file."""
    with running_slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


@dataclass
class Site:
    """A receiver's files whose directory is slapd, and slapd."""

    lab: Lab
    slapd: Slapd

    def write(self, *, user: str = ADMINISTRATOR, **changes: Any) -> Path:
        """Write the files, with *changes* to the section ``directory``, and return the configuration."""
        passwords = {
            ADMINISTRATOR: ADMINISTRATOR_PASSWORD,
            READER: READER_PASSWORD,
            BLIND: BLIND_PASSWORD,
        }
        (self.lab.folder / "password").write_text(passwords[user] + "\n")
        directory = {
            "type": "ldap",
            "urls": [self.slapd.url],
            "bind": {"user": user, "password_file": "../password"},
            "ca_file": self.slapd.ca_file,
            "configuration_dn": CONFIGURATION,
            **changes,
        }
        return self.lab.write(server={"name": SERVER}, settings={"directory": directory})

    def der(self, name: str) -> bytes:
        """Return a certificate of the store, known once the files are written."""
        return self.lab.certificate(name).der

    def enable(self, name: str, *more: str) -> Answer:
        """Enable a certificate of the store for SMTP, where nobody can be asked."""
        thumbprint = self.lab.certificate(name).thumbprint
        return call(
            "certificate", "enable", thumbprint, "--services", "SMTP", *more, "--config", self.lab.config
        )

    def backups(self) -> list[Path]:
        """Return the files of old values, oldest first."""
        return sorted(
            (self.lab.folder / "directory-backup").glob("*"), key=lambda path: path.stat().st_mtime_ns
        )


@pytest.fixture
def site(lab: Lab, ldap_server: Slapd) -> Site:
    """Return files that are written, with an attribute that is not set."""
    ldap_server.set(None)
    found = Site(lab, ldap_server)
    found.write()
    return found


# -- looking


def test_show_has_the_object_as_the_server_names_it(site: Site) -> None:
    """The real DN, the form of the value and its thumbprint."""
    site.slapd.set(site.der("internal"))
    (shown,) = call("transport-service", "show", "--config", site.lab.config, "--json").document

    assert shown["dn"].casefold() == DN.casefold()
    assert (shown["readable"], shown["value_form"]) == (True, "der")
    assert shown["thumbprint"] == site.lab.certificate("internal").thumbprint


def test_show_of_what_is_hidden_says_what_else_it_can_mean(site: Site) -> None:
    """An access rule leaves the attribute out without a word, and so does one that is not set."""
    site.slapd.set(site.der("internal"))
    site.write(user=BLIND)
    answer = call("transport-service", "show", "--config", site.lab.config)
    (shown,) = call("transport-service", "show", "--config", site.lab.config, "--json").document

    assert "not set; an access rule that hides it looks the same" in " ".join(answer.stdout.split())
    assert (shown["readable"], shown["thumbprint"]) == (True, None)
    assert shown["reason"] == "an access rule that hides it looks the same"


def test_show_of_what_cannot_be_read_says_why(site: Site) -> None:
    """A server that is not there, told as a reason and not as a failure."""
    config = site.write(urls=["ldaps://localhost:1"])
    answer = call("transport-service", "show", "--config", config, "--json")

    assert (answer.code, answer.stderr) == (0, "")
    assert "connection refused" in answer.document[0]["reason"]


def test_check_says_who_answered_how_and_how_fast(site: Site) -> None:
    """In a line for people, in a field for programs."""
    site.slapd.set(site.der("internal"))
    human = call("check", "--config", site.write(user=READER))
    document = call("check", "--config", site.lab.config, "--json").document
    (shown,) = document["directory"]["servers"]

    assert (human.code, human.stderr) == (0, "")
    assert f"directory, {SERVER}: {site.slapd.url} as {READER} (" in " ".join(human.stdout.split())
    assert (document["ok"], document["directory"]["type"]) == (True, "ldap")
    assert shown["source"].startswith(f"{site.slapd.url} as {READER} (")
    assert shown["source"].endswith(" ms)")
    assert shown["dn"].casefold() == DN.casefold()


def test_check_without_a_directory_says_why(site: Site) -> None:
    """Exit code 1, event 12012, and the reason where the answer would stand."""
    config = site.write(urls=["ldaps://localhost:1"])
    human = call("check", "--config", config)

    assert (human.code, human.stderr) == (1, "")
    assert "connection refused" in human.stdout
    assert "would write event 12012" in human.stdout


def test_explain_asks_it(site: Site) -> None:
    """The trace has the directory's answer."""
    site.slapd.set(site.der("internal"))
    (explained,) = call("explain", "--verb", "X-ANONYMOUSTLS", "--config", site.lab.config, "--json").document

    assert explained["advertised"]
    assert explained["certificate"]["thumbprint"] == site.lab.certificate("internal").thumbprint


# -- writing


async def presented(site: Site, receiver: Any) -> str:
    """Return the name of the certificate that the next session presents, or the lack of the verb."""
    async with await greeted(receiver) as peer:
        if (await peer.ask("X-ANONYMOUSTLS"))[0] != "220 2.0.0 SMTP server ready":
            return "not offered"
        await peer.upgrade()
        return site.lab.name_of(peer.presented())


async def test_enable_changes_what_the_next_session_presents(site: Site) -> None:
    """A running receiver needs no word of it; ldapsearch shows the certificate itself."""
    async with running(site.lab) as receiver:
        before = await presented(site, receiver)
        first = await as_a_command(site, "internal")
        between = await presented(site, receiver)
        second = await as_a_command(site, FQDN, "--force")
        after = await presented(site, receiver)

    assert (first.code, first.stderr, second.code, second.stderr) == (0, "", 0, "")
    assert (before, between, after) == ("not offered", "internal", FQDN)
    assert site.slapd.value() == site.der(FQDN)


async def as_a_command(site: Site, name: str, *more: str) -> Answer:
    """Enable beside the running receiver: the command has an event loop of its own."""
    return await asyncio.to_thread(site.enable, name, *more)


def test_what_was_there_is_saved_for_its_owner_alone(site: Site) -> None:
    """Server, object, time and the old value; the command to go back is printed."""
    old = site.der("internal")
    site.slapd.set(old)
    answer = site.enable(FQDN, "--force")
    (backup,) = site.backups()
    saved: Json = json.loads(backup.read_text())

    assert (answer.code, answer.stderr) == (0, "")
    assert f"  smtpd-anontls transport-service restore {backup} --config {site.lab.config}" in answer.stdout
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.parent.stat().st_mode) == 0o700
    assert base64.b64decode(saved["old"]) == old
    assert base64.b64decode(saved["written"]) == site.der(FQDN)
    assert (saved["server"], saved["attribute"]) == (SERVER, ATTRIBUTE)
    assert saved["dn"].casefold() == DN.casefold()
    assert saved["time"].endswith("Z")


def test_what_names_it_already_is_left_as_it_is(site: Site) -> None:
    """No write, nothing saved; a serialized value keeps its friendly name."""
    site.slapd.set(site.der(FQDN))
    answer = site.enable(FQDN, "--json")

    assert (answer.code, answer.document["directory_written"], answer.document["backup"]) == (0, False, None)
    assert site.backups() == []


def test_for_another_service_nothing_is_written(site: Site) -> None:
    """The directory is Exchange's alone where SMTP is not meant."""
    thumbprint = site.lab.certificate(FQDN).thumbprint
    answer = call(
        "certificate", "enable", thumbprint, "--services", "IIS", "--config", site.lab.config, "--json"
    )

    assert (answer.code, answer.document["directory_written"]) == (0, False)
    assert (site.slapd.value(), site.backups()) == (None, [])


@pytest.mark.parametrize("value", [b"garbage", b"\xab" * 20])
def test_a_value_of_others_is_not_replaced_unasked(site: Site, value: bytes) -> None:
    """Also one that is not understood, or names a certificate that this store does not hold."""
    site.slapd.set(value)
    answer = site.enable(FQDN)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (2, "", 1)
    assert "say --force" in answer.stderr
    assert (site.slapd.value(), site.backups()) == (value, [])


def test_a_value_that_changed_while_the_question_stood(site: Site) -> None:
    """Exit code 1, a sentence, and the other's value stays; nothing is left to restore."""
    site.slapd.set(site.der("internal"))
    theirs = b"\xcd" * 20
    thumbprint = site.lab.certificate(FQDN).thumbprint
    enabling = ("certificate", "enable", thumbprint, "--services", "SMTP", "--config", site.lab.config)

    def answer() -> str:
        site.slapd.set(theirs)
        return "y\n"

    code, lines = on_terminal(*enabling, columns=400, question="Replace it?", answer=answer)

    assert code == 1, lines
    assert "changed in between, so nothing was written" in lines[-1]
    assert (site.slapd.value(), site.backups()) == (theirs, [])


def test_who_may_not_write_is_told_which_right_is_missing(site: Site) -> None:
    """Exit code 3; the value stays."""
    site.slapd.set(site.der("internal"))
    site.write(user=READER)
    answer = site.enable(FQDN, "--force")

    assert (answer.code, answer.stdout) == (3, "")
    assert f"may not write {ATTRIBUTE}" in answer.stderr
    assert site.slapd.value() == site.der("internal")


def test_who_may_not_read_overwrites_nothing(site: Site) -> None:
    """What looks as if it were not set is not replaced where something stands there."""
    site.slapd.set(site.der("internal"))
    site.write(user=BLIND)
    answer = site.enable(FQDN, "--force")

    assert answer.code != 0
    assert site.slapd.value() == site.der("internal")


def test_without_a_directory_nothing_is_changed(site: Site) -> None:
    """Exit code 3 before the store is touched."""
    site.write(urls=["ldaps://localhost:1"])
    before = {path: path.read_bytes() for path in site.lab.store.iterdir()}
    answer = site.enable(FQDN, "--force")

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
    assert "connection refused" in answer.stderr
    assert {path: path.read_bytes() for path in site.lab.store.iterdir()} == before


def test_without_a_place_for_the_old_value_nothing_is_written(site: Site) -> None:
    """Exit code 3: what cannot be put back is not taken away."""
    site.slapd.set(site.der("internal"))
    (site.lab.folder / "directory-backup").write_text("in the way")
    answer = site.enable(FQDN, "--force")

    assert answer.code == 3
    assert "nothing was written" in answer.stderr
    assert site.slapd.value() == site.der("internal")


def test_remove_refuses_what_the_directory_names(site: Site) -> None:
    """Remove-ExchangeCertificate's own refusal, with the directory's word."""
    site.slapd.set(site.der(FQDN))
    thumbprint = site.lab.certificate(FQDN).thumbprint
    answer = call("certificate", "remove", thumbprint, "--force", "--config", site.lab.config)

    assert answer.code == 1
    assert "cannot be removed" in answer.stderr


def test_renew_says_how_to_enable_and_writes_nothing(site: Site) -> None:
    """The successor becomes the internal transport certificate when somebody says so."""
    site.slapd.set(site.der("internal"))
    thumbprint = site.lab.certificate("internal").thumbprint
    answer = call("certificate", "renew", thumbprint, "--config", site.lab.config)

    assert (answer.code, answer.stderr) == (0, "")
    assert "The directory does not name it yet" in " ".join(answer.stdout.split())
    assert (site.slapd.value(), site.backups()) == (site.der("internal"), [])


# -- going back


@pytest.mark.parametrize("old", ["internal", None])
def test_restore_puts_back_what_was_there(site: Site, old: str | None) -> None:
    """A value, or none at all; and what it replaced is saved in its turn."""
    value = None if old is None else site.der(old)
    site.slapd.set(value)
    site.enable(FQDN, "--force")
    written = site.slapd.value()
    (backup,) = site.backups()
    answer = call("transport-service", "restore", backup, "--config", site.lab.config)
    restored = site.slapd.value()
    again = call("transport-service", "restore", site.backups()[-1], "--config", site.lab.config, "--json")

    assert (written, restored) == (site.der(FQDN), value)
    assert (answer.code, answer.stderr, len(site.backups())) == (0, "", 3)
    assert ("is not set again" if old is None else "holds again") in " ".join(answer.stdout.split())
    assert (again.code, set(again.document)) == (0, {"server", "dn", "restored", "backup"})
    assert site.slapd.value() == site.der(FQDN)


def test_restore_leaves_what_somebody_else_wrote(site: Site) -> None:
    """Exit code 1 and a sentence; --force puts the old value back all the same."""
    site.slapd.set(site.der("internal"))
    site.enable(FQDN, "--force")
    theirs = b"\xcd" * 20
    site.slapd.set(theirs)
    (backup,) = site.backups()
    refused = call("transport-service", "restore", backup, "--config", site.lab.config)
    kept = site.slapd.value()
    forced = call("transport-service", "restore", backup, "--force", "--config", site.lab.config)

    assert (refused.code, refused.stdout, len(refused.mistakes)) == (1, "", 1)
    assert "changed in between" in refused.stderr
    assert kept == theirs
    assert (forced.code, site.slapd.value()) == (0, site.der("internal"))
    assert base64.b64decode(json.loads(site.backups()[-1].read_text())["old"]) == theirs


def test_restore_of_another_object_is_refused(site: Site) -> None:
    """The backup of one forest does not go into another."""
    site.enable(FQDN)
    (backup,) = site.backups()
    content = json.loads(backup.read_text())
    backup.write_text(json.dumps({**content, "dn": f"CN={SERVER},DC=fabrikam,DC=test"}))
    answer = call("transport-service", "restore", backup, "--force", "--config", site.lab.config)

    assert answer.code == 1
    assert f"the backup is of CN={SERVER},DC=fabrikam,DC=test" in answer.stderr
    assert site.slapd.value() == site.der(FQDN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no such file"),
        (b"{}", "is not a backup"),
        (b"\xff\xfe", "is not a backup"),
        (b"[" * 100_000, "is not a backup"),
        (
            b'{"server": "MBX1", "dn": "x", "time": "2026-01-01", "old": "?", "written": null}',
            "is not a backup",
        ),
        (b"x" * (4 * MAX_VALUE_BYTES + 1), "is larger than"),
    ],
)
def test_restore_of_what_is_no_backup(site: Site, content: bytes | None, says: str) -> None:
    """Exit code 2 and one line."""
    path = site.lab.folder / "backup.json"
    if content is not None:
        path.write_bytes(content)
    answer = call("transport-service", "restore", path, "--config", site.lab.config)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (2, "", 1)
    assert answer.stderr.startswith(f"{path}: {says}")


def test_restore_without_a_directory_says_why(site: Site) -> None:
    """Exit code 3; the backup stays for the next try."""
    site.enable(FQDN)
    (backup,) = site.backups()
    site.write(urls=["ldaps://localhost:1"])
    answer = call("transport-service", "restore", backup, "--config", site.lab.config)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
    assert "connection refused" in answer.stderr
    assert site.backups() == [backup]


def test_restore_of_a_server_that_the_configuration_lacks(site: Site) -> None:
    """Exit code 2, with those that it has."""
    site.enable(FQDN)
    (backup,) = site.backups()
    backup.write_text(json.dumps({**json.loads(backup.read_text()), "server": "MBX9"}))
    answer = call("transport-service", "restore", backup, "--config", site.lab.config)

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.mistakes == [f"{backup}: is of the server 'MBX9', and the configuration has {SERVER}"]


def test_restore_is_for_active_directory(lab: Lab, tmp_path: Path) -> None:
    """With the embedded directory there is a file to edit."""
    path = tmp_path / "backup.json"
    path.write_text(
        '{"server": "MX1", "dn": "x", "attribute": "msExchServerInternalTLSCert", '
        '"time": "2026-01-01", "old": null, "written": null}'
    )
    answer = call("transport-service", "restore", path, "--config", lab.write())

    assert (answer.code, len(answer.mistakes)) == (2, 1)
    assert "directory.type is file" in answer.stderr


# -- running


async def test_a_receiver_starts_without_its_directory(site: Site) -> None:
    """12012 says so; the verb comes with the directory, without a restart."""
    site.slapd.set(site.der("internal"))
    site.slapd.stop()
    try:
        async with running(site.lab) as receiver:
            before = await presented(site, receiver)
            events = await receiver.journal.events(limit=10)
            site.slapd.start()
            after = await presented(site, receiver)
    finally:
        if site.slapd.process is None:
            site.slapd.start()

    assert (before, after) == ("not offered", "internal")
    assert 12012 in [each["event_id"] for each in events]


async def test_a_directory_that_hangs_costs_a_start_its_time_outs_once(site: Site) -> None:
    """Not once for each connector: all of them share what they ask."""
    site.write(connect_timeout=1, search_timeout=1)
    content = yaml.safe_load(site.lab.config.read_text())
    connectors = content["servers"][0]["connectors"]
    names = [f"Connector {number}" for number in range(8)]
    ranges = [f"192.0.2.{number}" for number in range(8)]
    connectors += [
        {**connectors[0], "name": name, "remote_ip_ranges": [where]}
        for name, where in zip(names, ranges, strict=True)
    ]
    site.lab.config.write_text(yaml.safe_dump(content))
    with site.slapd.hanging():
        began = time.monotonic()
        async with running(site.lab) as receiver:
            took = time.monotonic() - began
            advertised = [selection.advertised for _, selection in receiver.selections_at_start]

    assert advertised.count(False) == 9
    # Nine times two seconds, were they asked one after the other.
    assert took < 8


async def test_a_changed_access_takes_effect_and_lets_go_of_the_old(site: Site) -> None:
    """The next session asks the new account; the connections of the old one are closed."""
    site.slapd.set(site.der("internal"))
    belongings = Belongings.now()
    async with running(site.lab) as receiver:
        old = receiver.surroundings.directory
        before = await presented(site, receiver)
        site.write(user=BLIND, connect_timeout=0.5, search_timeout=0.5)
        after = await presented(site, receiver)
        new = receiver.surroundings.directory

    assert (before, after) == ("internal", "not offered")
    assert new is not old
    assert Belongings.now() == belongings


async def test_a_retired_directory_is_closed_while_the_receiver_runs(site: Site) -> None:
    """Once no session can be asking it any more."""
    site.write(connect_timeout=0.1, search_timeout=0.1)
    async with running(site.lab) as receiver:
        await presented(site, receiver)
        sockets = Belongings.now().sockets
        site.write(urls=[site.slapd.plain_url], start_tls=True)
        await presented(site, receiver)
        # One connection for each of the two, until the first is given back.
        await eventually(lambda: len(Belongings.now().sockets) <= len(sockets))


async def test_an_unchanged_access_keeps_its_connections(site: Site) -> None:
    """A change elsewhere in the configuration is none of the directory's."""
    async with running(site.lab) as receiver:
        old = receiver.surroundings.directory
        text = site.lab.config.read_text()
        site.lab.config.write_text(f"{text}tls: {{handshake_timeout: 7}}\n")
        await eventually(lambda: receiver.surroundings.tls.handshake_timeout == 7)

    assert receiver.surroundings.directory is old
