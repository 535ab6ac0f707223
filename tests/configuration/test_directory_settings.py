"""The section ``directory`` of type ldap: what every key becomes, and the password where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind
from smtpd_anontls.settings.bind_password import BindPassword
from smtpd_anontls.settings.load import load_config
from smtpd_anontls.settings.values import LdapDirectorySettings, PasswordInEnvironment, PasswordInFile

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.settings.values import Settings

VARIABLE = "READER_PASSWORD_OF_A_TEST"


def loaded(folder: Path, text: str, *overrides: str) -> Settings:
    """Return the settings of one server and *text*."""
    path = folder / "config" / "lab.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"servers: [{{name: MBX1}}]\n{text}")
    return load_config(path, overrides=overrides, environ={}, machine_fqdn="host.test").settings


def access(settings: Settings) -> LdapAccess:
    """Return how the directory is reached."""
    assert isinstance(settings.directory, LdapDirectorySettings)
    return settings.directory.access


def test_every_key_as_written(tmp_path: Path) -> None:
    """Paths begin at the folder of the file; durations are seconds."""
    settings = loaded(
        tmp_path,
        """
directory:
  type: ldap
  urls: [ldap://dc1.contoso.test, "LDAP://[::1]:50389"]
  bind: {method: Simple, user: reader@contoso.test, password_file: ../secrets/reader}
  ca_file: ca.pem
  start_tls: true
  configuration_dn: CN=Configuration,DC=contoso,DC=test
  organization: Contoso
  edge: true
  connect_timeout: 2
  search_timeout: 0.5
  cache_seconds: 1m
  change_notification: true
""",
    )

    assert access(settings) == LdapAccess(
        urls=("ldap://dc1.contoso.test", "ldap://[::1]:50389"),
        bind=LdapBind(
            BindMethod.SIMPLE,
            "reader@contoso.test",
            BindPassword(PasswordInFile(tmp_path / "secrets" / "reader")),
        ),
        ca_file=str(tmp_path / "config" / "ca.pem"),
        start_tls=True,
        configuration_dn="CN=Configuration,DC=contoso,DC=test",
        organization="Contoso",
        edge=True,
        connect_timeout=2,
        search_timeout=0.5,
        cache_seconds=60,
        change_notification=True,
    )


def test_what_is_not_written_has_its_default(tmp_path: Path) -> None:
    """Five seconds for each time-out, no cache, TLS verified by what the machine trusts."""
    settings = loaded(
        tmp_path, "directory: {type: LDAP, urls: ldaps://dc1.contoso.test, bind: {method: gssapi}}\n"
    )

    assert access(settings) == LdapAccess(
        ("ldaps://dc1.contoso.test",), LdapBind(BindMethod.GSSAPI), connect_timeout=5, search_timeout=5
    )


def test_a_simple_bind_in_clear_has_to_be_allowed(tmp_path: Path) -> None:
    """In words, and then it is."""
    written = "bind: {user: reader, password_env: READER, allow_clear: true}"
    settings = loaded(tmp_path, f"directory: {{type: ldap, urls: [ldap://dc1], {written}}}\n")

    assert access(settings).bind.allow_clear


@pytest.mark.parametrize(
    ("capture", "folder"),
    [
        ("", "var"),
        ("capture: {url: null}\n", "var"),
        ("capture: {url: sqlite:///../elsewhere/mail.db}\n", "elsewhere"),
    ],
)
def test_the_state_is_where_the_journal_is(tmp_path: Path, capture: str, folder: str) -> None:
    """Without one, where it would be by default."""
    assert loaded(tmp_path, capture).state_folder == tmp_path / folder


def test_two_readings_of_one_file_are_equal(tmp_path: Path) -> None:
    """So that a change elsewhere leaves the directory's connections alone."""
    text = "directory: {type: ldap, urls: [ldaps://dc1], bind: {user: reader, password_file: reader}}\n"

    assert loaded(tmp_path, text).directory == loaded(tmp_path, f"{text}# a comment\n").directory


# -- the password


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter 2 ", " hunter 2 "),
        (b"\xef\xbb\xbfhunter2", "hunter2"),
        ("schlüssel\n".encode(), "schlüssel"),
    ],
)
def test_a_password_file_is_read_as_it_is_now(tmp_path: Path, content: bytes, password: str) -> None:
    """Without the end of its line; a changed file counts at the next reading."""
    path = tmp_path / "password"
    path.write_bytes(content)
    read = BindPassword(PasswordInFile(path))
    first = read()
    path.write_text("another\n")

    assert (first, read()) == (password, "another")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"\n", "is empty"),
        (b"\xff\xfeh\x00", "does not hold UTF-8 text"),
        (b"x" * 5000, "is larger than 4 KiB"),
    ],
)
def test_a_password_file_without_a_password_says_so(tmp_path: Path, content: bytes | None, says: str) -> None:
    """A sentence that names the file; none of its content."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ValueError, match=says) as refused:
        BindPassword(PasswordInFile(path))()

    assert str(path) in str(refused.value)


def test_a_password_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when it is needed; a variable that is not set is named."""
    read = BindPassword(PasswordInEnvironment(VARIABLE))
    with pytest.raises(ValueError, match=f"^the environment variable {VARIABLE} is not set$"):
        read()
    monkeypatch.setenv(VARIABLE, "hunter2")

    assert read() == "hunter2"
    assert "hunter2" not in repr(read)
