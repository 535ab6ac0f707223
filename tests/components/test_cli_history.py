"""``session``, ``message`` and ``event``: what people and programs read of what happened."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.command import PROGRAM, call, environment, on_terminal, run
from tests.lab import CONNECTOR, SERVER, Lab, Pki
from tests.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

# What a peer can write to move a terminal: an escape sequence, and a bidirectional control.
EVIL = "\x1b[31mred\u202egnp.exe"
EVIL_ESCAPED = r"\x1b[31mred\u202egnp.exe"
FIRST = (
    f"From: a@example.test\r\nTo: b@contoso.test\r\nSubject: {EVIL}\r\nMessage-ID: <one@example.test>\r\n"
    "X-Test: yes\r\n\r\nBody \x1b]0;title\x07 of the first.\r\n"
).encode()
SECOND = b"Subject: Second\r\nMessage-ID: <two@example.test>\r\n\r\nBody of the second.\r\n"

MESSAGE_KEYS = {
    "id",
    "time",
    "server",
    "connector",
    "session_id",
    "run",
    "sender",
    "recipients",
    "subject",
    "message_id",
    "size",
    "verb",
}
SESSION_KEYS = {
    "id",
    "started",
    "ended",
    "server",
    "connector",
    "local",
    "remote",
    "verb",
    "tls",
    "authenticated_as",
    "outcome",
    "selections",
    "event_ids",
    "messages",
}
EVENT_KEYS = {
    "id",
    "time",
    "event_id",
    "level",
    "source",
    "category",
    "symbol",
    "message",
    "inserts",
    "server",
    "connector",
    "session_id",
    "thumbprint",
}
SELECTION_KEYS = {
    "server",
    "connector",
    "verb",
    "advertised",
    "certificate",
    "steps",
    "event_ids",
    "duration_ms",
}


@dataclass
class Past:
    """What happened: three sessions at a connector whose X-ANONYMOUSTLS certificate has expired."""

    lab: Lab
    sessions: dict[str, str] = field(default_factory=dict)  # By what they were about.
    messages: list[int] = field(default_factory=list)
    remotes: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.lab.config


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Let something happen, once."""
    happened = Past(Lab(tmp_path_factory.mktemp("past"), Pki()))
    asyncio.run(happen(happened))
    return happened


async def happen(past: Past) -> None:
    """Deliver a message by each verb, and leave once without; the expired certificate makes events."""
    async with past.lab.receiver(store={"internal": "expired"}) as receiver:
        address = receiver.address(CONNECTOR)
        async with await Peer.connect(address) as peer:
            await peer.reply()
            await peer.ask(f"EHLO {EVIL}")
            await peer.ask("EHLO sender.test")
            await peer.ask("STARTTLS")
            await peer.upgrade()
            await deliver(
                peer, FIRST, sender="a@example.test", recipients=("b@contoso.test", "c@contoso.test")
            )
            past.remotes.append(peer.remote)
        async with await Peer.connect(address) as peer:
            await peer.reply()
            await peer.ask("EHLO sender.test")
            await peer.ask("X-ANONYMOUSTLS")
            await peer.upgrade()
            await deliver(peer, SECOND, sender="", recipients=("B@Contoso.TEST",))
            past.remotes.append(peer.remote)
        async with await Peer.connect(address) as peer:
            await peer.reply()
            await peer.ask("NOOP \x1b[2J")
            await peer.ask("QUIT")
            past.remotes.append(peer.remote)
    by_remote = {each["remote"]: each for each in past.lab.sessions}
    for about, remote in zip(("starttls", "anonymous", "nothing"), past.remotes, strict=True):
        past.sessions[about] = by_remote[remote]["id"]
        past.messages += by_remote[remote]["messages"]


async def deliver(peer: Peer, content: bytes, *, sender: str, recipients: tuple[str, ...]) -> None:
    """Send one message and leave."""
    await peer.ask("EHLO sender.test")
    await peer.ask(f"MAIL FROM:<{sender}>")
    for recipient in recipients:
        await peer.ask(f"RCPT TO:<{recipient}>")
    await peer.ask("DATA")
    await peer.send(content + b".\r\n")
    assert (await peer.reply())[0].startswith("250 2.6.0")
    await peer.ask("QUIT")


# -- sessions


def test_session_list_for_programs(past: Past) -> None:
    """One object a line, newest first, with the names of the contract and nothing on stderr."""
    answer = call("session", "list", "--config", past.config, "--json")

    assert (answer.code, answer.stderr) == (0, "")
    assert [each["id"] for each in answer.objects] == [
        past.sessions[about] for about in ("nothing", "anonymous", "starttls")
    ]
    assert [(each["verb"], each["outcome"]) for each in answer.objects] == [
        (None, "quit_without_mail"),
        ("X-ANONYMOUSTLS", "completed"),
        ("STARTTLS", "completed"),
    ]
    for each in answer.objects:
        assert set(each) >= SESSION_KEYS
        assert [set(selection) for selection in each["selections"]] == [SELECTION_KEYS, SELECTION_KEYS]


def test_session_list_for_people(past: Past) -> None:
    """A table with one line for each session; piped, it is as wide as it is."""
    answer = call("session", "list", "--config", past.config)
    head, *rows = answer.stdout.splitlines()

    assert (answer.code, answer.stderr) == (0, "")
    assert re.split("  +", head) == [
        "Session",
        "Started (UTC)",
        "Connector",
        "Peer",
        "TLS",
        "Protocol",
        "Messages",
        "Events",
        "Outcome",
    ]
    assert [re.split("  +", row) for row in rows] == [
        [
            past.sessions[about],
            each["started"][:19].replace("T", " "),
            CONNECTOR,
            each["remote"],
            verb,
            protocol,
            str(len(each["messages"])),
            "12015",
            each["outcome"],
        ]
        for about, each, verb, protocol in zip(
            ("nothing", "anonymous", "starttls"),
            past.lab.sessions,
            ("-", "X-ANONYMOUSTLS", "STARTTLS"),
            ("-", *["TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384"] * 2),
            strict=True,
        )
    ]


SESSION_FILTERS = [
    (("--server", SERVER), ["nothing", "anonymous", "starttls"]),
    (("--server", "MX2"), []),
    (("--connector", CONNECTOR, "--limit", "1"), ["nothing"]),
    (("--outcome", "completed"), ["anonymous", "starttls"]),
    (("--remote", "127.0.0.*", "--limit", "2"), ["nothing", "anonymous"]),
    (("--remote", "192.0.2.1"), []),
    (("--since", "2199-01-01"), []),
    (("--since", "2020-01-01T00:00:00Z"), ["nothing", "anonymous", "starttls"]),
]


@pytest.mark.parametrize(("terms", "about"), SESSION_FILTERS)
def test_session_list_narrowed(past: Past, terms: tuple[str, ...], about: list[str]) -> None:
    """Each filter and --limit take what they say."""
    answer = call("session", "list", *terms, "--config", past.config, "--json")

    assert (answer.code, [each["id"] for each in answer.objects]) == (
        0,
        [past.sessions[one] for one in about],
    )


def test_session_list_of_one_session(past: Past) -> None:
    """--session and --since take the id of a session."""
    one = past.sessions["anonymous"]

    assert [
        [each["id"] for each in call("session", "list", *terms, "--config", past.config, "--json").objects]
        for terms in (("--session", one), ("--since", one))
    ] == [[one], [past.sessions["nothing"]]]


def test_session_show(past: Past) -> None:
    """The whole story of a session: facts, both selections, events and the transcript."""
    one = past.sessions["anonymous"]
    answer = call("session", "show", one, "--config", past.config)
    whole = call("session", "show", one.upper(), "--config", past.config, "--json").document
    certificate = past.lab.certificate("internal").thumbprint

    assert (answer.code, answer.stderr) == (0, "")
    for line in (
        f"Session {one}",
        "  outcome      completed: 1 message taken",
        "  TLS          X-ANONYMOUSTLS TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384",
        f"  certificate  {certificate}",
        "  events       12015",
        "X-ANONYMOUSTLS: advertised",
        "  yes  suppression        SuppressXAnonymousTls is false",
        "STARTTLS: advertised",
        "Transcript",
    ):
        assert line in answer.stdout.splitlines()
    assert "C: X-ANONYMOUSTLS\n" in answer.stdout
    assert set(whole) >= SESSION_KEYS | {"transcript"}
    assert whole["tls"]["thumbprint"] == certificate


# -- messages


def test_message_list_for_programs(past: Past) -> None:
    """One object a line, newest first, with the names of the contract."""
    answer = call("message", "list", "--config", past.config, "--json")
    second, first = answer.objects

    assert (answer.code, answer.stderr) == (0, "")
    assert set(first) == MESSAGE_KEYS
    assert (first["sender"], first["recipients"]) == ("a@example.test", ["b@contoso.test", "c@contoso.test"])
    assert (first["subject"], first["message_id"]) == (EVIL, "<one@example.test>")
    assert (first["verb"], first["size"], first["run"]) == ("STARTTLS", len(FIRST), None)
    assert (second["sender"], second["verb"]) == ("", "X-ANONYMOUSTLS")
    assert second["session_id"] == past.sessions["anonymous"]


def test_message_list_for_people(past: Past) -> None:
    """A table; the null sender is shown as it is said."""
    answer = call("message", "list", "--config", past.config)
    head, second, first = (re.split("  +", line) for line in answer.stdout.splitlines())

    assert head == ["Id", "Time (UTC)", "From", "To", "Subject", "Bytes", "TLS", "Session"]
    assert second[2:] == [
        "<>",
        "B@Contoso.TEST",
        "Second",
        str(len(SECOND)),
        "X-ANONYMOUSTLS",
        past.sessions["anonymous"],
    ]
    assert first[2:5] == ["a@example.test", "b@contoso.test, c@contoso.test", EVIL_ESCAPED]


MESSAGE_FILTERS = [
    (("--recipient", "b@contoso.test"), [1, 0]),
    (("--recipient", "c@*"), [0]),
    (("--sender", "A@EXAMPLE.test"), [0]),
    (("--sender", ""), [1]),
    (("--subject", "seco"), [1]),
    (("--header", "X-Test: yes"), [0]),
    (("--header", "X-Test: no"), []),
    (("--run", "7"), []),
    (("--limit", "1"), [1]),
    (("--server", SERVER, "--connector", CONNECTOR), [1, 0]),
]


@pytest.mark.parametrize(("terms", "wanted"), MESSAGE_FILTERS)
def test_message_list_narrowed(past: Past, terms: tuple[str, ...], wanted: list[int]) -> None:
    """Each filter and --limit take what they say."""
    answer = call("message", "list", *terms, "--config", past.config, "--json")

    assert (answer.code, [each["id"] for each in answer.objects]) == (0, [past.messages[n] for n in wanted])


def test_message_show(past: Past) -> None:
    """Envelope and text for people, the object for programs."""
    number = past.messages[0]
    answer = call("message", "show", str(number), "--config", past.config)
    whole = call("message", "show", str(number), "--config", past.config, "--json").document

    assert (answer.code, answer.stderr) == (0, "")
    for line in (
        f"Message {number}",
        "  from       a@example.test",
        "  to         b@contoso.test",
        "  to         c@contoso.test",
        "  TLS        STARTTLS",
        f"  size       {len(FIRST)} bytes",
        "  Message-ID: <one@example.test>",
    ):
        assert line in answer.stdout.splitlines()
    assert set(whole) >= MESSAGE_KEYS


def test_message_show_raw_is_byte_for_byte(past: Past) -> None:
    """The bytes as they were received, and nothing else."""
    done = subprocess.run(
        [*PROGRAM, "message", "show", str(past.messages[0]), "--raw", "--config", str(past.config)],
        env=environment(),
        capture_output=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == (FIRST, b"")


# -- events


def test_event_list_for_programs(past: Past) -> None:
    """One object a line, newest first, with exactly the names of the contract."""
    answer = call("event", "list", "--config", past.config, "--json")

    assert (answer.code, answer.stderr) == (0, "")
    assert [set(each) for each in answer.objects] == [EVENT_KEYS] * 4
    assert [each["session_id"] for each in answer.objects] == [
        *(past.sessions[about] for about in ("nothing", "anonymous", "starttls")),
        None,
    ]
    assert {(each["event_id"], each["level"], each["category"]) for each in answer.objects} == {
        (12015, "Warning", "TransportService")
    }


def test_event_list_for_people(past: Past) -> None:
    """A table with the whole text; an event of the start says so."""
    answer = call("event", "list", "--config", past.config)
    head, *rows = (re.split("  +", line) for line in answer.stdout.splitlines())
    text = (
        f"An internal transport certificate expired. Thumbprint:{past.lab.certificate('internal').thumbprint}"
    )

    assert head == ["Time (UTC)", "Level", "Event", "Server", "Connector", "Session", "Message"]
    assert rows[0][1:] == ["Warning", "12015", SERVER, CONNECTOR, past.sessions["nothing"], text]
    assert rows[-1][1:] == ["Warning", "12015", SERVER, "-", "at start", text]


@pytest.mark.parametrize(
    ("terms", "count"),
    [
        (("--event-id", "12015"), 4),
        (("--event-id", "12013"), 0),
        (("--limit", "3"), 3),
        (("--server", "X"), 0),
    ],
)
def test_event_list_narrowed(past: Past, terms: tuple[str, ...], count: int) -> None:
    """Each filter and --limit take what they say."""
    answer = call("event", "list", *terms, "--config", past.config, "--json")

    assert (answer.code, len(answer.objects)) == (0, count)


# -- text of peers


@pytest.mark.parametrize(
    "command", ["session list", "message list", "event list", "message show", "session show"]
)
def test_text_of_peers_never_reaches_a_terminal_as_it_is(past: Past, command: str) -> None:
    """Escape sequences and bidirectional controls are escaped, for people and in JSON."""
    words = [*command.split(), *wanted_by(past, command), "--config", str(past.config)]
    shown = call(*words).stdout
    document = call(*words, "--json").stdout

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert document.isascii()
    assert "\x1b" not in document
    if command in {"message list", "message show", "session show"}:
        assert EVIL_ESCAPED in shown
        assert json.dumps(EVIL)[1:-1] in document


def wanted_by(past: Past, command: str) -> list[str]:
    """Return the id that *command* takes."""
    return {"message show": [str(past.messages[0])], "session show": [past.sessions["starttls"]]}.get(
        command, []
    )


# -- nothing there


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("session", "show", "0123456789abcdef"), "there is no session 0123456789abcdef"),
        (("session", "show", "\x1b[2J"), r"there is no session \x1b[2J"),
        (("message", "show", "99"), "there is no message 99"),
        (("message", "show", "99", "--raw"), "there is no message 99"),
    ],
)
def test_what_is_not_there_is_exit_code_1(past: Past, words: tuple[str, ...], line: str) -> None:
    """An unknown id is told in one line, and stdout stays empty."""
    answer = call(*words, "--config", past.config)

    assert (answer.code, answer.stdout, answer.mistakes) == (1, "", [line])


BAD_USAGE = [
    (("message", "show", "one"), "'one' is not a valid whole number"),
    (("message", "show", str(2**63)), f"{2**63} is not in the range"),
    (("session", "list", "--limit", "0"), "0 is not in the range 1<=x<=100000"),
    (("session", "list", "--outcome", "fine"), "--outcome: 'fine' is not one of completed"),
    (("session", "list", "--since", "yesterday"), "--since: 'yesterday' is neither a time nor an id"),
    (("event", "list", "--event-id", "x"), "--event-id: 'x' is not a number"),
    (("message", "list", "--header", "X-Test"), "--header: 'X-Test' asks for no value"),
    (
        ("message", "list", "--since", "0123456789abcdef"),
        "--since: '0123456789abcdef' is the id of a session",
    ),
    (("message", "list", "--colour", "red"), "No such option '--colour'"),
]


@pytest.mark.parametrize(("words", "says"), BAD_USAGE)
def test_bad_usage_is_exit_code_2(past: Past, words: tuple[str, ...], says: str) -> None:
    """What was wrong is told on stderr, and stdout stays empty."""
    answer = call(*words, "--config", past.config)

    assert (answer.code, answer.stdout) == (2, "")
    assert says in answer.stderr


LISTS_AND_SHOWS = [
    ("session", "list"),
    ("message", "list"),
    ("event", "list"),
    ("session", "show", "0123456789abcdef"),
    ("message", "show", "1"),
]


@pytest.mark.parametrize("words", LISTS_AND_SHOWS)
def test_without_a_journal_it_is_exit_code_3(lab: Lab, words: tuple[str, ...]) -> None:
    """A receiver that has never run has no journal; a receiver without one keeps it in memory."""
    config = lab.write()
    never = call(*words, "--config", config)
    discarded = call(*words, "--config", config, "--set", "capture.url=null")

    assert (never.code, never.stdout) == (3, "")
    assert [never.mistakes[0].partition(": ")[2]] == [
        "there is no journal yet; `smtpd-anontls serve` makes it"
    ]
    assert (discarded.code, discarded.mistakes) == (
        3,
        ["capture.url is null: this receiver keeps its last sessions and events in memory only"],
    )


def test_a_list_of_nothing_says_what_would_make_something(lab: Lab) -> None:
    """An empty journal is no mistake; for programs it is an empty list."""
    asyncio.run(nothing_happens(lab))

    for words, hint in (
        (("session", "list"), "probe 127.0.0.1:2525"),
        (("message", "list"), "swaks --server 127.0.0.1:2525"),
        (("event", "list"), "nothing was wrong with a certificate"),
    ):
        answer = call(*words, "--config", lab.config)
        assert (answer.code, hint in answer.stdout) == (0, True)
        assert call(*words, "--config", lab.config, "--json").stdout == ""


async def nothing_happens(lab: Lab) -> None:
    """Run a receiver that nobody calls."""
    async with lab.receiver():
        pass


# -- as programs of their own


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["session list", "message list", "event list", "message show", "session show"]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_as_a_program_it_says_the_same(past: Past, command: str, *, as_json: bool) -> None:
    """What the process prints is what the call prints."""
    words = [*command.split(), *wanted_by(past, command), "--config", str(past.config)] + ["--json"] * as_json

    assert run(*words) == call(*words)


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_mistake(past: Past) -> None:
    """`session list | head -0` leaves no traceback."""
    process = subprocess.Popen(
        [*PROGRAM, "session", "list", "--config", str(past.config)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    process.wait()

    assert said == ""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize(
    "command", ["session list", "message list", "event list", "message show", "session show"]
)
def test_on_a_terminal_everything_fits(past: Past, command: str, columns: int) -> None:
    """No line is longer than the terminal, none ends in blanks, and no thumbprint or id is broken."""
    words = [*command.split(), *wanted_by(past, command), "--config", str(past.config)]
    code, shown = on_terminal(*words, columns=columns)
    thumbprint = past.lab.certificate("internal").thumbprint
    whole = {
        "session list": past.sessions.values(),
        "message list": ["2", "1"],
        "event list": [thumbprint],
        "session show": [thumbprint, past.sessions["starttls"]],
        "message show": ["<one@example.test>"],
    }[command]

    assert code == 0
    assert [line for line in shown if len(line) > columns or line != line.rstrip()] == []
    assert [text for text in whole if not any(text in line for line in shown)] == []
