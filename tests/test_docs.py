"""README.md: it names everything there is, and what it tells people to type works."""

from __future__ import annotations

import re
import shlex
import smtplib
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from docs import commands, reference
from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.scenarios import Scenario
from tests.command import PATIENCE, ROOT, call, environment, on_free_ports, run, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.command import Serving

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
STEPS = sorted(
    {
        step
        for path in (ROOT / "smtpd_anontls" / "selection").glob("*.py")
        for step in re.findall(r'trace\.(?:passed|failed)\(\s*"(\w+)"', path.read_text())
    }
)


# -- it names everything


def test_every_section_can_be_gone_to() -> None:
    """The contents name each section, and each link within the page has a heading."""
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)
    anchors = {_anchor(title): marks for marks, title in headings}
    contents, _, _ = prose.partition("\n## ")

    assert {name for name, marks in anchors.items() if marks == "##"} == _linked(contents)
    assert _linked(prose) <= anchors.keys()


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _linked(text: str) -> set[str]:
    return set(re.findall(r"\]\(#([^)]+)\)", text))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_a_file_that_is_linked_is_there(path: str) -> None:
    """Pictures and documents beside README.md."""
    assert (ROOT / path).is_file()


def test_the_options_are_what_the_commands_say() -> None:
    """README.md holds the table as it is written from the commands now."""
    assert commands.rewritten(TEXT) == TEXT, "README.md is behind the commands; run: make reference"


def test_a_readme_without_place_for_the_options_is_refused() -> None:
    """Without its two comments nobody knows where the table belongs."""
    with pytest.raises(ValueError, match=re.escape("README.md has no lines")):
        commands.rewritten("# smtpd-anontls\n")


def test_both_references_leave_each_other_alone() -> None:
    """Writing one does not undo the other."""
    assert reference.rewritten(commands.rewritten(TEXT)) == commands.rewritten(reference.rewritten(TEXT))


@pytest.mark.parametrize("words", [words for words, _ in commands.commands()])
def test_every_command_is_named(words: str) -> None:
    """In the table of commands, alone or beside its siblings."""
    rows = re.findall(r"^\| `([^`]+)` \|", TEXT.partition("## Commands\n")[2], re.MULTILINE)
    named = {
        f"{group} {name}".strip()
        for group, _, names in (re.sub(r" HOST\S*$", "", row).rpartition(" ") for row in rows)
        for name in names.split("\\|")
    }

    assert words in named


@pytest.mark.parametrize(
    "option",
    sorted({option for _, command in commands.commands() for each in command.params for option in each.opts}),
)
def test_every_option_is_named(option: str) -> None:
    """By its own name, or as the property that it sets."""
    is_property = option.removeprefix("--").replace("-", "_") in ReceiveConnector.__dataclass_fields__
    if option.startswith("--"):
        assert re.search(rf"`{option}\b", TEXT) or is_property
    else:
        assert option.isidentifier()  # An argument, which the usage line names.


def test_every_property_is_in_the_reference() -> None:
    """What `connector set` takes is explained as a key of the configuration."""
    assert [name for name in ReceiveConnector.__dataclass_fields__ if f"| `{name}` |" not in TEXT] == []


def test_every_event_is_named() -> None:
    """Each id has its row in the table of events."""
    assert [each.value for each in EventId if f"| {each.value} |" not in TEXT] == []


def test_every_step_is_named() -> None:
    """Each step of both selections, as traces call it."""
    assert len(STEPS) >= 8
    assert [step for step in STEPS if f"`{step}`" not in TEXT] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT))))
def test_a_test_that_is_named_is_there(path: str) -> None:
    """The tables of extensions and limits point at tests that exist."""
    assert (ROOT / path).exists()


def test_every_scenario_is_named() -> None:
    """Each server of the gallery, with its port, in their order."""
    rows = re.findall(r"^\| (26\d\d) \| `([a-z-]+)` \|", TEXT, re.MULTILINE)

    assert rows == [(str(2601 + number), name.value) for number, name in enumerate(Scenario)]


def test_every_outcome_of_the_exit_codes_is_named() -> None:
    """0 to 3, and what each means."""
    for code in range(4):
        assert re.search(rf"`{code}` [a-z]", TEXT)


# -- what it tells people to type


@dataclass(frozen=True)
class Typed:
    """A command of README.md."""

    line: int
    text: str

    @property
    def is_for_make(self) -> bool:
        """Whether it runs make, which sets up what these tests run in."""
        return self.text.startswith("make ")

    @property
    def asks_the_gallery(self) -> bool:
        """Whether it is about the gallery."""
        return "gallery.yaml" in self.text


def typed() -> Iterator[Typed]:
    """Yield the commands of README.md."""
    is_console = False
    for number, line in enumerate(TEXT.splitlines(), start=1):
        if line.startswith("```"):
            is_console = line == "```console"
        elif is_console and line.startswith("$ "):
            # A remark behind a command is for people.
            yield Typed(number, re.sub(r"\s{2,}#.*", "", line.removeprefix("$ ")))


TYPED = list(typed())
OURS = ".venv/bin/smtpd-anontls "
# What begins like this is not for a test: it needs a container engine, a service manager or root.
ELSEWHERE = ("docker ", "sudo ", "systemctl ")


@dataclass
class Checkout:
    """A fresh copy of what a newcomer has: `config`, and the command in `.venv/bin`."""

    folder: Path
    receiver: Serving
    stack: ExitStack
    gallery: Serving | None = None

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Type a command as it is printed, but for the port and what its words in capitals stand for."""
        command = command.replace("127.0.0.1:2525", self.receiver.target("MBX1"))
        if "SESSION" in command:
            run("probe", self.receiver.target("MBX1"))
            newest = self.ask(".venv/bin/smtpd-anontls session list --limit 1 --json")
            command = command.replace("SESSION", re.findall(r'^{"id": "([0-9a-f]{16})"', newest)[0])
        if "THUMBPRINT" in command:
            held = self.ask(
                ".venv/bin/smtpd-anontls certificate list --server not-set --config config/gallery.yaml --json"
            )
            command = re.sub(
                r"\bTHUMBPRINT\b", re.findall(r'"thumbprint": "([0-9A-F]{40})"', held)[0], command
            )
        return self._run(command)

    def ask(self, command: str) -> str:
        """Type a command that must work, and return what it prints."""
        done = self._run(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def with_gallery(self) -> None:
        """Start the gallery, once."""
        if self.gallery is None:
            self.gallery = self.stack.enter_context(serving(on_free_ports(self.folder, "gallery.yaml")))

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Make the copy, and run the receiver in it as `make run` does."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".venv" / "bin").mkdir(parents=True)
    command = folder / ".venv" / "bin" / "smtpd-anontls"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m smtpd_anontls "$@"\n')
    command.chmod(0o755)
    with ExitStack() as stack:
        receiver = stack.enter_context(serving(on_free_ports(folder, "receive.yaml")))
        # What swaks would have sent, for those who choose single lines.
        with smtplib.SMTP(*receiver.address("MBX1"), local_hostname="client.test") as client:
            client.sendmail("a@example.test", "b@contoso.test", "Subject: Hello\r\n\r\nBody\r\n")
        yield Checkout(folder, receiver, stack)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(each, id=f"line {each.line}")
        for each in TYPED
        if not each.is_for_make and not each.text.startswith(ELSEWHERE)
    ],
)
def test_a_command_of_the_readme_works_as_printed(checkout: Checkout, command: Typed) -> None:
    """It ends with exit code 0, and says nothing of a mistake."""
    if command.asks_the_gallery:
        checkout.with_gallery()
    done = checkout.type(command.text)

    assert done.returncode == 0, (command.text, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout != ""


@pytest.mark.parametrize(
    "command", [pytest.param(each, id=f"line {each.line}") for each in TYPED if each.text.startswith(OURS)]
)
def test_a_command_of_ours_is_understood(command: Typed) -> None:
    """There is such a command, and it has these options."""
    answer = call(*shlex.split(command.text)[1:], "--help")

    assert answer.code == 0, answer.stderr


def test_the_walk_has_something_to_walk() -> None:
    """There are commands for each way in: our own, swaks and openssl; none needs what a newcomer has not."""
    first_words = {each.text.split()[0] for each in TYPED if not each.text.startswith(ELSEWHERE)}

    assert first_words == {".venv/bin/smtpd-anontls", "swaks", "openssl", "make"}
    # It would not end by itself.
    assert not any(each.text.startswith(f"{OURS}serve") for each in TYPED)


@pytest.mark.parametrize("target", [each.text.split()[1] for each in TYPED if each.is_for_make])
def test_a_target_of_make_is_there(target: str) -> None:
    """The Makefile has every target that README.md names."""
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize(("target", "config"), [("run", "receive.yaml"), ("gallery", "gallery.yaml")])
def test_make_starts_what_the_walk_starts(target: str, config: str) -> None:
    """`make run` and `make gallery` are `serve` with the shipped files."""
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(
        rf"^{target}:.*\n\t\$\(BIN\)/smtpd-anontls serve --config config/{config}$", makefile, re.MULTILINE
    )


def test_the_python_of_the_readme_is_python() -> None:
    """Its examples compile, and what they import is there."""
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

    assert examples
    for example in examples:
        compile(example, "README.md", "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT
        for names in re.findall(r"^from smtpd_anontls import (.+)$", example, re.MULTILINE):
            package = __import__("smtpd_anontls")
            assert [name for name in names.split(", ") if not hasattr(package, name)] == []
