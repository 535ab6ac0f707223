"""``credential add``, ``list`` and ``remove``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import select
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.credentials import NtHash, UnknownUser, User, UserFile
from smtpd_anontls.domain.account_names import AccountName
from tests.command import PATIENCE, PROGRAM, ROOT, Answer, call, environment, run

if TYPE_CHECKING:
    from pathlib import Path

HASH = "8846F7EAEE8FB117AD06BDD830B7586C"
FORM = "write USER:nt: and the 32 hexadecimal digits of the NT hash, as `credential add` does"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a configuration that names a file of users beside it, which is not there yet."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "servers: [{name: MBX1, fqdn: mbx1.contoso.test}]\nauthentication: {credentials: users.txt}\n"
    )
    return path


@pytest.fixture
def users(config: Path) -> Path:
    """Return where the file of users is."""
    return config.parent / "users.txt"


def add(config: Path, user: str, password: str = "Passw0rd", *more: str) -> Answer:  # noqa: S107 - of a test
    """Add a user whose password stands in a file."""
    secret = config.parent / "password"
    secret.write_text(f"{password}\n")
    return call("credential", "add", user, "--password-file", secret, "--config", config, *more)


# -- add


def test_add_makes_the_file_and_a_user_that_a_running_receiver_knows(config: Path, users: Path) -> None:
    """Its owner alone may read it, and no password is in it."""
    running = UserFile(users)
    answer = add(config, "CONTOSO\\alice")
    found = asyncio.run(running.find(AccountName.parse("alice@contoso.test")))

    assert (answer.code, answer.stdout, answer.stderr) == (0, "Added CONTOSO\\alice to users.txt.\n", "")
    assert isinstance(found, User)
    assert found.nt_hash.matches(NtHash.of("Passw0rd"))
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    assert "Passw0rd" not in users.read_text()


def test_add_gives_a_user_another_password(config: Path, users: Path) -> None:
    """There is one entry as before, and the comments are there."""
    add(config, "alice@contoso.test")
    users.write_text(f"# mine\n{users.read_text()}")
    answer = add(config, "CONTOSO\\alice", "Other")

    assert answer.stdout == "CONTOSO\\alice in users.txt has another password now.\n"
    assert users.read_text().startswith("# mine\n# The users of NTLM and LOGIN")
    assert users.read_text().endswith(f"\nCONTOSO\\alice:nt:{NtHash.of('Other').octets.hex().upper()}\n")


def test_add_for_programs(config: Path, users: Path) -> None:
    """One document, which says whether the user is new."""
    expected = {"user": "CONTOSO\\alice", "file": str(users)}

    assert add(config, "alice@contoso.test", "x", "--json").document == expected | {"added": True}
    assert add(config, "CONTOSO\\alice", "x", "--json").document == expected | {"added": False}


def test_add_with_a_password_from_the_environment(
    config: Path, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a container, which gets its secrets that way."""
    monkeypatch.setenv("ALICES", "password")
    answer = call("credential", "add", "alice", "--password-env", "ALICES", "--config", config)

    assert answer.code == 0
    assert users.read_text().endswith(f"\nalice:nt:{HASH}\n")


@pytest.mark.slow
def test_add_asks_a_person_for_the_password(config: Path, users: Path) -> None:
    """It is typed twice, and not shown."""
    replies = [("Password of alice: ", "password\n"), ("Repeat for confirmation: ", "password\n")]
    code, shown = on_terminal_with(replies, "credential", "add", "alice", "--config", str(config))

    assert (code, shown.splitlines()[-1]) == (0, "Added alice to users.txt.")
    assert "password" not in shown
    assert users.read_text().endswith(f"\nalice:nt:{HASH}\n")


def on_terminal_with(replies: list[tuple[str, str]], *words: str) -> tuple[int, str]:
    """Run the command on a terminal, and type each reply once its question stands there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *words],
        cwd=ROOT,
        env=environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        shown = b""
        try:
            for question, reply in replies:
                while not shown.endswith(question.encode()):
                    assert select.select([ours], [], [], PATIENCE)[0], f"silent after {shown!r}"
                    shown += os.read(ours, 1024)
                os.write(ours, reply.encode())
            # EIO: the other side has been closed.
            with contextlib.suppress(OSError):
                while octets := os.read(ours, 1024):
                    shown += octets
        finally:
            os.close(ours)
    return child.returncode, re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


@pytest.mark.slow
def test_add_asks_nobody_where_there_is_no_terminal(config: Path, users: Path) -> None:
    """It says how to give the password instead."""
    answer = run("credential", "add", "alice", "--config", config)

    assert answer.code == 2
    assert answer.mistakes == [
        "alice: say --password-env or --password-file where nobody can be asked for the password"
    ]
    assert not users.exists()


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (
            ("--password-env", "NOT_SET_HERE"),
            "the environment variable NOT_SET_HERE is not set",
        ),
        (
            ("--password-env", "NOT_SET_HERE", "--password-file", "x"),
            "--password-env and --password-file exclude each other; say one of them",
        ),
        (
            ("--password-file", "/dev/null/x"),
            "the password file /dev/null/x cannot be read (not a directory)",
        ),
    ],
)
def test_add_without_a_password_that_could_be_taken(
    config: Path, users: Path, words: tuple[str, ...], mistake: str
) -> None:
    """Nothing is written."""
    answer = call("credential", "add", "alice", *words, "--config", config)

    assert (answer.code, answer.mistakes, answer.stdout) == (2, [mistake], "")
    assert not users.exists()


def test_add_takes_no_empty_password(config: Path) -> None:
    """It is more likely a mistake than meant."""
    answer = add(config, "alice", "")

    assert answer.code == 2
    assert answer.stderr.endswith("/password is empty; write the password\n")


@pytest.mark.parametrize(
    "user", ["", "CONTOSO\\", "@contoso.test", "a:b", " alice", "#alice", "a\nb", "\udce4"]
)
def test_add_takes_no_name_that_the_file_could_not_hold(config: Path, users: Path, user: str) -> None:
    """The sentence shows the forms that there are."""
    answer = add(config, user)

    assert answer.code == 2
    assert answer.stderr.endswith("is not a user name; write alice, CONTOSO\\alice or alice@contoso.test\n")
    assert not users.exists()


# -- list


def test_list_for_people(config: Path, users: Path) -> None:
    """Names, without what would prove who they are."""
    users.write_text(f"# comment\nCONTOSO\\alice:nt:{HASH}\nbob@contoso.test:nt:{HASH}\n")
    users.chmod(0o600)
    answer = call("credential", "list", "--config", config)
    rows = [line.split() for line in answer.stdout.splitlines()]

    assert (answer.code, answer.stderr) == (0, "")
    assert rows == [
        ["User", "Written", "as", "Line"],
        ["CONTOSO\\alice", "CONTOSO\\alice", "2"],
        ["CONTOSO\\bob", "bob@contoso.test", "3"],
    ]


def test_list_for_programs(config: Path, users: Path) -> None:
    """One object a line, and mistakes on stderr alone."""
    users.write_text(f"broken: Secret1\nbob@contoso.test:nt:{HASH}\n")
    users.chmod(0o644)
    answer = call("credential", "list", "--config", config, "--json")

    assert answer.objects == [{"user": "CONTOSO\\bob", "written": "bob@contoso.test", "line": 2}]
    assert answer.mistakes == [
        f"warning: users.txt:1: this is no entry; {FORM}",
        "warning: users.txt: others than its owner may read or change it; chmod 600 mends that",
    ]


def test_list_of_nobody(config: Path) -> None:
    """It says how to add somebody."""
    answer = call("credential", "list", "--config", config)

    assert answer.code == 0
    assert answer.stdout == (
        f"There are no users yet. To add one:\n  smtpd-anontls credential add USER --config {config}\n"
    )
    assert call("credential", "list", "--config", config, "--json").stdout == ""


# -- remove


def test_remove_takes_a_user_away_at_once(config: Path, users: Path) -> None:
    """A receiver that runs knows it no more."""
    add(config, "CONTOSO\\alice")
    add(config, "bob")
    running = UserFile(users)
    before = asyncio.run(running.find(AccountName.parse("alice")))
    answer = call("credential", "remove", "alice@contoso.test", "--config", config)
    after = asyncio.run(running.find(AccountName.parse("alice")))

    assert isinstance(before, User)
    assert (answer.code, answer.stdout) == (0, "Removed CONTOSO\\alice from users.txt.\n")
    assert after == UnknownUser("users.txt has no entry for alice")
    assert call("credential", "remove", "bob", "--config", config, "--json").document == {
        "user": "bob",
        "file": str(users),
        "removed": True,
    }


def test_remove_takes_exactly_the_user_that_is_named(config: Path, users: Path) -> None:
    """A name without a domain is no wildcard; the sentence shows which there are."""
    add(config, "CONTOSO\\alice")
    answer = call("credential", "remove", "alice", "--config", config)

    assert answer.code == 1
    assert answer.mistakes == [f"{users}: has no entry for alice; it has CONTOSO\\alice"]
    assert call("credential", "remove", "dave", "--config", config).mistakes == [
        f"{users}: has no entry for dave"
    ]


# -- the file itself


@pytest.mark.parametrize(
    "words", [("list",), ("remove", "alice"), ("add", "alice", "--password-env", "HOME")]
)
def test_without_a_file_in_the_configuration(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The sentence says what to write."""
    config = tmp_path / "config.yaml"
    config.write_text("servers: [{name: MBX1}]\n")
    answer = call("credential", *words, "--config", config)

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr == (
        f"{config}: authentication.credentials: is null, so there is no file of users; "
        "write one such as authentication: {credentials: users.txt}\n"
    )


@pytest.mark.parametrize(
    "words", [("list",), ("remove", "alice"), ("add", "alice", "--password-env", "HOME")]
)
def test_a_file_that_cannot_be_read(config: Path, users: Path, words: tuple[str, ...]) -> None:
    """It could not be reached, and nothing was changed."""
    users.mkdir()
    answer = call("credential", *words, "--config", config)

    assert (answer.code, answer.stdout) == (3, "")
    assert answer.mistakes == [f"{users}: cannot be read (is a directory)"]


def test_a_file_that_cannot_be_written(config: Path) -> None:
    """The sentence says why."""
    answer = add(config, "alice", "x", "--set", "authentication.credentials=/dev/null/users.txt")

    assert answer.code == 3
    assert answer.mistakes == ["/dev/null/users.txt: cannot be read (not a directory)"]
    answer = add(config, "alice", "x", "--set", "authentication.credentials=/proc/users.txt")
    assert answer.code == 3
    assert answer.mistakes == [
        "/proc/users.txt: cannot be written (no such file or directory); give this user write permission"
    ]
