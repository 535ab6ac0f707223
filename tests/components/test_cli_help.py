"""How the command explains itself, and what its tables do where there is little room."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from typing import TYPE_CHECKING

import click
import pytest

from smtpd_anontls.cli import main
from smtpd_anontls.cli.common import program
from smtpd_anontls.cli.output import Column, say, say_facts, table
from tests.command import call, environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def every_command(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command and group below *group*, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*path, name)
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


COMMANDS = list(every_command())


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_readable(words: tuple[str, ...], option: str) -> None:
    """It fits 80 columns, no line of help is cut short, and every option has a sentence."""
    answer = call(*words, option)

    assert (answer.code, answer.stderr) == (0, "")
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert "..." not in re.sub(r"(,|\[|COMMAND \[ARGS\]|ARGS\])\.\.\.", "", answer.stdout)
    assert re.findall(r"^  (?:-h, )?--[\w-]+(?: \S+)?$(?!\n {10,}\S)", answer.stdout, re.MULTILINE) == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_takes_the_common_options(words: tuple[str, ...]) -> None:
    """--config, --set and --json stand below a heading of their own, at the end; a group has none of them."""
    text = call(*words, "--help").stdout
    _, heading, common = text.partition("Options of every command:\n")

    if "COMMAND [ARGS]..." in text.splitlines()[0]:
        assert ("--config" in text, heading) == (False, "")
    else:
        # What the journal answers, a running receiver can be asked instead.
        asks_the_journal = words[0] in {"session", "message", "event"}
        assert re.findall(r"^  (?:-h, )?(--[\w-]+)", common, re.MULTILINE) == [
            "--config",
            "--set",
            "--json",
            *(["--url", "--ca-file"] if asks_the_journal else []),
            "--help",
        ]


def test_without_arguments_it_shows_its_help() -> None:
    """As click does: the help, and exit code 2; commands stand under what they are for."""
    answer = call()

    assert answer.code == 2
    assert [
        line for line in (answer.stdout + answer.stderr).splitlines() if re.fullmatch(r"\S.*:", line)
    ] == [
        "Options:",
        "Receive:",
        "Look at what happened:",
        "Manage:",
        "Diagnose a real Exchange server:",
        "Meet any SMTP server:",
    ]


MISSPELT = [
    (("sevre",), "No such command 'sevre'. Did you mean 'serve'?"),
    (("Check",), "No such command 'Check'. Did you mean 'check'?"),
    (("conector", "list"), "No such command 'conector'. Did you mean 'connector'?"),
    (("certificate", "enabel"), "No such command 'enabel'. Did you mean 'enable'?"),
    (("xyzzy",), "No such command 'xyzzy'."),
]


@pytest.mark.parametrize(("words", "says"), MISSPELT)
def test_a_misspelt_command_is_told_the_nearest(words: tuple[str, ...], says: str) -> None:
    """Exit code 2 with one suggestion, where one is near."""
    answer = call(*words)

    assert (answer.code, answer.stdout, answer.mistakes[-1]) == (2, "", f"Error: {says}")


def test_the_version() -> None:
    """--version says which."""
    assert re.fullmatch(r"smtpd-anontls, version \d+\.\d+\.\d+\S*\n", call("--version").stdout)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--help",), ("--version",), ("sevre",), ("check", "--nonsense"), ()])
def test_as_a_program_it_says_the_same(words: tuple[str, ...]) -> None:
    """What the process prints is what the call prints, which click's test runner gives two columns more."""
    assert run(*words, env=environment(COLUMNS="82")) == call(*words)


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("/usr/lib/python3/site-packages/smtpd_anontls/__main__.py", f"{sys.executable} -m smtpd_anontls"),
        ("nowhere/smtpd-anontls", "nowhere/smtpd-anontls"),
        ("no where/smtpd-anontls", "'no where/smtpd-anontls'"),
        ("pytest", "smtpd-anontls"),
    ],
)
def test_commands_to_copy_are_called_as_this_one_was(
    monkeypatch: pytest.MonkeyPatch, called: str, shown: str
) -> None:
    """By module, by path, or by name where that is how it can be typed again."""
    monkeypatch.setattr(sys, "argv", [called])

    assert program() == shown


def test_a_command_on_the_path_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However long the path is that the shell found it under."""
    own = tmp_path / "smtpd-anontls"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(own)])

    assert program() == "smtpd-anontls"


# -- tables


COLUMNS = (
    Column("Id"),
    Column("Where", leaves=1),
    Column("How", leaves=2),
    Column("What", wraps=True),
)
ROWS = [
    ("1", "here", "so", "a short text"),
    ("22", "over there", "otherwise", "many words that go on and on"),
]


class Terminal(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Iterator[Terminal]:
    """Print to a terminal of so many columns, without colours."""
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.redirect_stdout(screen):
        yield screen


def shown_at(
    monkeypatch: pytest.MonkeyPatch, columns: int, table_columns: tuple[Column, ...] = COLUMNS
) -> list[str]:
    """Return what the table looks like at a width."""
    with terminal(monkeypatch, columns) as screen:
        table(table_columns, ROWS)
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()


def test_a_table_with_room_stands_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wraps, and no line ends in blanks."""
    assert shown_at(monkeypatch, 80) == [
        "Id  Where       How        What",
        "1   here        so         a short text",
        "22  over there  otherwise  many words that go on and on",
    ]


def test_columns_leave_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least wanted first; what wraps gives way before the next one leaves."""
    assert [shown_at(monkeypatch, width)[0] for width in (50, 47, 46, 36, 35)] == [
        "Id  Where       How        What",
        "Id  Where       How        What",
        "Id  Where       What",
        "Id  Where       What",
        "Id  What",
    ]


def test_a_text_wraps_at_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on below itself."""
    assert shown_at(monkeypatch, 36) == [
        "Id  Where       What",
        "1   here        a short text",
        "22  over there  many words that go",
        "                on and on",
    ]


def test_without_room_each_row_is_a_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels and values, which wrap behind their label."""
    assert shown_at(monkeypatch, 20) == [
        "Id     1",
        "Where  here",
        "How    so",
        "What   a short text",
        "",
        "Id     22",
        "Where  over there",
        "How    otherwise",
        "What   many words that go on and on",
    ]


def test_a_text_below_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the whole row has no room, its text stands below it, indented."""
    columns = (*COLUMNS[:3], Column("What", below=True))

    assert shown_at(monkeypatch, 40, columns) == [
        "Id  Where       How",
        "1   here        so",
        "  a short text",
        "22  over there  otherwise",
        "  many words that go on and on",
    ]


def test_wide_characters_count_as_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns stay in line under characters of double width."""
    with terminal(monkeypatch, 80) as screen:
        table((Column("A"), Column("B")), [("漢字", "x"), ("abcd", "y")])

    assert [
        line.index(each) for line, each in zip(screen.getvalue().splitlines()[1:], "xy", strict=True)
    ] == [4, 6]


def test_no_terminal_gets_everything_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A program or a file takes the whole line, escapes in place of controls."""
    with contextlib.redirect_stdout(io.StringIO()) as piped:
        table((Column("A", leaves=1), Column("B", below=True)), [("x", "long " * 100 + "\x1b[2J")])
        say("word " * 100 + "\u202e")
        say_facts([("label", "value " * 100), ("other label", "value")])

    assert [len(line) > 80 for line in piped.getvalue().splitlines()] == [False, True, True, True, False]
    assert piped.getvalue().isprintable() is False
    assert "\x1b" not in piped.getvalue()
    assert "\\x1b[2J" in piped.getvalue()
    assert "\\u202e" in piped.getvalue()
    assert capsys.readouterr() == ("", "")


def test_a_sentence_wraps_behind_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an indented one keeps its indent."""
    with terminal(monkeypatch, 40) as screen:
        say("one two three four five six seven", label="  label  ")
        say("    one two three four five six seven eight")

    assert screen.getvalue().splitlines() == [
        "  label  one two three four five six",
        "         seven",
        "    one two three four five six seven",
        "    eight",
    ]


def test_a_terminal_that_knows_no_unicode_gets_escapes() -> None:
    """A character that cannot be printed is no reason to fail."""
    answer = run(
        "explain", "--connector", "Größe", env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    )

    assert answer.code == 2
    assert r"'Gr\xf6\xdfe'" in answer.stderr
