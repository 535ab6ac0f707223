"""``session``, ``message`` and ``event``: what happened, read from the journal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options, program
from smtpd_anontls.cli.groups import Command, CommandGroup, WholeNumber
from smtpd_anontls.cli.journals import (
    EVENT_FILTERS,
    MESSAGE_FILTERS,
    SESSION_FILTERS,
    filtered,
    journal_of,
    reading,
)
from smtpd_anontls.cli.output import (
    NOTHING,
    Column,
    say,
    say_facts,
    say_json,
    say_json_lines,
    say_verbatim,
    short_time,
    table,
)
from smtpd_anontls.cli.showing import say_step

if TYPE_CHECKING:
    from smtpd_anontls.domain.filters import Filter

_HIGHEST_ID = 2**63 - 1  # Of a database.

MARKS = {
    "completed": "green",
    "handshake_failed": "red",
    "plaintext_after_tls_verb": "red",
    "internal_error": "red",
    "no_connector": "red",
    "Error": "red",
    "Warning": "yellow",
}


@click.group(cls=CommandGroup, short_help="Sessions: selections, TLS facts, transcript.")
def session() -> None:
    """Look at what happened in each session, failed ones included."""


@session.command("list", cls=Command)
@common_options
@filtered(*SESSION_FILTERS, numbered=False)
@reading
def list_sessions(common: Common, *, wanted: Filter, limit: int) -> None:
    """List sessions, the newest first."""
    sessions = journal_of(common).sessions(wanted, limit=limit)
    if common.as_json:
        say_json_lines(sessions)
        return
    rows = [
        (
            each["id"],
            short_time(each["started"]),
            each["connector"] or NOTHING,
            each["remote"],
            each["verb"] or NOTHING,
            _protocol(each) or NOTHING,
            str(len(each["messages"])),
            ", ".join(map(str, each["event_ids"])) or NOTHING,
            each["outcome"] or "running",
        )
        for each in sessions
    ]
    columns = (
        Column("Session"),
        Column("Started (UTC)"),
        Column("Connector", leaves=4),
        Column("Peer", leaves=3),
        Column("TLS"),
        Column("Protocol", leaves=5),
        Column("Messages", leaves=2),
        Column("Events", leaves=1),
        Column("Outcome"),
    )
    if rows:
        table(columns, rows, marks=MARKS)
    else:
        say(f"No such session yet. To make one: {program()} probe 127.0.0.1:2525")


@session.command("show", cls=Command)
@click.argument("session_id", metavar="ID")
@common_options
@reading
def show_session(common: Common, *, session_id: str) -> None:
    """Show one session: the selections, TLS facts and the transcript."""
    found = journal_of(common).session(session_id.lower())
    if found is None:
        raise CommandError(f"there is no session {session_id}", ExitCode.NOT_AS_IT_SHOULD_BE)
    if common.as_json:
        say_json(found)
        return
    say(f"Session {found['id']}", style="bold")
    say_facts(_session_facts(found), indent="  ")
    for selection in found["selections"]:
        _show_stored_selection(selection)
    say("\nTranscript", style="bold")
    for row in found["transcript"]:
        style = {"C": "", "S": "cyan", "*": "magenta"}[row["mark"]]
        label = Text(f"  {row['offset_ms']:>7} ms  {row['mark']}: ", style=style)
        say(row["text"], style=style, label=label)


def _session_facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("peer", f"{found['remote']} to {found['local']}"),
        ("time", f"{found['started']} to {found['ended'] or 'now'}"),
        ("server", found["server"] or NOTHING),
        ("connector", f"{found['connector'] or 'none'}: {found['connector_detail']}"),
        ("outcome", f"{found['outcome'] or 'running'}: {found['outcome_detail']}"),
    ]
    tls = found["tls"]
    if tls:
        facts.append(("TLS", tls_in_short(found)))
        facts.append(("certificate", tls["thumbprint"]))
        if tls["failure"]:
            facts.append(("failure", tls["failure"]))
        if tls["offered"]:
            offered = tls["offered"]
            facts.append(
                (
                    "offered",
                    f"{', '.join(offered['versions'])}; {len(offered['cipher_suites'])} cipher suites",
                )
            )
            if offered["server_name"]:
                facts.append(("SNI", offered["server_name"]))
    facts.extend(_sender_facts(found))
    if found["messages"]:
        facts.append(("messages", ", ".join(map(str, found["messages"]))))
    if found["event_ids"]:
        facts.append(("events", ", ".join(map(str, found["event_ids"]))))
    return facts


def _sender_facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who the sender is, what it may do, and the limits that struck."""
    # A journal may hold sessions from before these were recorded.
    facts = []
    if found.get("proxy"):
        facts.append(("proxy", found["proxy"]))
    for each in found.get("authentications", ()):
        ended = "succeeded" if each["failure"] is None else f"failed ({each['failure']})"
        facts.append(("logon", f"{each['verb']} {each['mechanism']} {ended}: {each['detail']}"))
    if found["authenticated_as"]:
        groups = ", ".join(found.get("groups", ())) or "no group"
        facts.append(("sender", f"{found['authenticated_as']} ({groups})"))
    if found.get("permissions"):
        facts.append(("permissions", " ".join(found["permissions"])))
    facts.extend(("limit", struck) for struck in found.get("limits", ()))
    facts.extend(("fault", f"{each['at']}: {each['detail']}") for each in found.get("faults", ()))
    return facts


def _show_stored_selection(selection: dict[str, Any]) -> None:
    result = "advertised" if selection["advertised"] else "not advertised"
    say(f"\n{selection['verb']}: {result}", style="bold")
    for step in selection["steps"]:
        say_step(step["step"], step["detail"], passed=step["passed"])


def tls_in_short(each: dict[str, Any]) -> str:
    """Return the TLS verb that a session used, and what came of it."""
    return f"{each['verb']} {_protocol(each)}"


def _protocol(each: dict[str, Any]) -> str:
    tls = each["tls"]
    if tls is None:
        return ""
    return "failed" if tls["failure"] else f"{tls['version']} {tls['cipher']}"


@click.group(cls=CommandGroup, short_help="The messages that were taken.")
def message() -> None:
    """Look at the messages that were taken."""


@message.command("list", cls=Command)
@common_options
@filtered(*MESSAGE_FILTERS)
@reading
def list_messages(common: Common, *, wanted: Filter, limit: int) -> None:
    """List messages, the newest first."""
    messages = journal_of(common).messages(wanted, limit=limit)
    show_messages(messages, as_json=common.as_json)
    if not (messages or common.as_json):
        target = "--server 127.0.0.1:2525 --tls --from a@example.test --to b@contoso.test"
        say(f"No such message yet. To send one: swaks {target}")


def show_messages(messages: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print messages as ``message list`` does; of none nothing."""
    if as_json:
        say_json_lines(messages)
        return
    rows = [
        (
            str(each["id"]),
            short_time(each["time"]),
            each["sender"] or "<>",
            ", ".join(each["recipients"]),
            each["subject"] or "",
            str(each["size"]),
            each["verb"] or NOTHING,
            each["session_id"],
        )
        for each in messages
    ]
    columns = (
        Column("Id"),
        Column("Time (UTC)"),
        Column("From", wraps=True),
        Column("To", wraps=True),
        Column("Subject", wraps=True),
        Column("Bytes", leaves=3),
        Column("TLS", leaves=2),
        Column("Session", leaves=1),
    )
    if rows:
        table(columns, rows)


@message.command("show", cls=Command)
@click.argument("message_id", metavar="ID", type=WholeNumber(0, _HIGHEST_ID))
@click.option("--raw", is_flag=True, help="Write the message to stdout, byte for byte as it was received.")
@common_options
@reading
def show_message(common: Common, *, message_id: int, raw: bool) -> None:
    """Show one message: envelope, header and text, or with --raw its bytes."""
    journal = journal_of(common)
    content = journal.raw(message_id)
    found = journal.message(message_id)
    if content is None or found is None:
        raise CommandError(f"there is no message {message_id}", ExitCode.NOT_AS_IT_SHOULD_BE)
    if raw:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    if common.as_json:
        say_json(found)
        return
    say(f"Message {found['id']}", style="bold")
    recipients = zip(found["recipients"], found["recipient_parameters"], strict=False)
    facts = (
        ("time", found["time"]),
        ("connector", f"{found['server']}: {found['connector']}"),
        ("session", found["session_id"]),
        ("from", _with_parameters(found["sender"] or "<>", found["mail_parameters"])),
        *(("to", _with_parameters(recipient, given)) for recipient, given in recipients),
        ("TLS", found["verb"] or "none"),
        ("size", f"{found['size']} bytes"),
    )
    say_facts(facts, indent="  ")
    say()
    for line in content.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n"):
        say_verbatim(f"  {line}")


def _with_parameters(address: str, given: dict[str, str | None]) -> str:
    shown = [keyword if value is None else f"{keyword}={value}" for keyword, value in given.items()]
    return " ".join([address, *shown])


@click.group(cls=CommandGroup, short_help="The events of the Application log.")
def event() -> None:
    """Look at the events of the Application log (Event Viewer)."""


@event.command("list", cls=Command)
@common_options
@filtered(*EVENT_FILTERS)
@reading
def list_events(common: Common, *, wanted: Filter, limit: int) -> None:
    """List events, the newest first."""
    events = journal_of(common).events(wanted, limit=limit)
    if common.as_json:
        say_json_lines(events)
        return
    rows = [
        (
            short_time(each["time"]),
            each["level"],
            str(each["event_id"]),
            each["server"] or NOTHING,
            each["connector"] or NOTHING,
            each["session_id"] or "at start",
            each["message"],
        )
        for each in events
    ]
    columns = (
        Column("Time (UTC)"),
        Column("Level"),
        Column("Event"),
        Column("Server"),
        Column("Connector", leaves=2),
        Column("Session", leaves=1),
        Column("Message", below=True),
    )
    if rows:
        table(columns, rows, marks=MARKS)
    else:
        say("No such event yet: nothing was wrong with a certificate.")
