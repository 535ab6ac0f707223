"""How long the API and the pages take to answer over a large journal.

    python -m bench.large_journal [--messages 1000000] [--rounds 21]

Makes the journal in a folder for temporary files (about 2.6 GB for a million messages of 1 KB), opens a
receiver with its page on it, on loopback, and asks each path in turn, round after round.  Prints the
median and the worst answer of each path, and the median of the CPU time that receiver and asker used.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from smtpd_anontls import Receiver, load_config
from smtpd_anontls.domain.records import MessageRecord, Outcome, SessionRecord
from smtpd_anontls.journal import search
from smtpd_anontls.journal.sqlite import SqliteFile
from smtpd_anontls.journal.statements import add_messages, add_sessions
from smtpd_anontls.protocol.headers import parse_header_section
from smtpd_anontls.web.page import Page

GROUP = 2000
IN_A_SESSION = 10
CONFIG = """
servers:
  - name: MBX1
    fqdn: mbx1.contoso.test
    certificate_store: certs
    default_certificate: true
    connectors:
      - {{name: Default Frontend MBX1, bindings: ["127.0.0.1:0"], auth_mechanism: [Tls, ExchangeServer], permission_groups: [AnonymousUsers]}}
directory: {{path: directory.yaml}}
event_log: {{format: jsonl, path: application.jsonl}}
protocol_log: {{path: null}}
capture: {{url: "sqlite:///capture.db", retention: null}}
web: {{bind: "127.0.0.1:0"}}
"""


def message(number: int, when: datetime, count: int) -> MessageRecord:
    """Return a message of about 1 KB, number *number* of *count*.

    What filters look at comes in each distribution: in all, in the older half alone, in every second,
    in 1 %, and in one message alone.
    """
    older = "older" if number < count // 2 else "newer"
    domain = "rare.test" if number % 100 == 0 else f"{older}.test"
    subject = (
        f"report {number} {older} {'odd' if number % 2 else 'even'}{' urgent' if number % 100 == 0 else ''}"
    )
    raw = (
        f"Message-ID: <{number}@edge.test>\r\nSubject: {subject}\r\nX-Batch: {number % 1000}\r\n"
        f"X-Origin: host-{number % 5000}.{domain}\r\n\r\n"
        + "The quick brown fox jumps over the lazy dog.\r\n"
        * 20
    ).encode()
    return MessageRecord(
        time=when,
        server="MBX1",
        connector="Default Frontend MBX1",
        session_id=f"{number // IN_A_SESSION:016x}",
        sender=f"s{number % 5000}@{domain}",
        recipients=(f"r{number % 20_000}@{domain}",),
        subject=subject,
        message_id=f"<{number}@edge.test>",
        headers=parse_header_section(raw),
        raw=raw,
    )


def session(number: int, when: datetime) -> SessionRecord:
    """Return the session of ten messages."""
    return SessionRecord(
        id=f"{number:016x}",
        started=when,
        ended=when + timedelta(seconds=1),
        server="MBX1",
        connector="Default Frontend MBX1",
        connector_detail="the only one",
        local="127.0.0.1:2525",
        remote=f"127.0.0.1:{number % 60000 + 1024}",
        tls=None,
        authenticated_as=None,
        outcome=Outcome.COMPLETED,
        outcome_detail="10 messages taken",
        selections=(),
        event_ids=(),
        messages=(),
        transcript=(),
    )


def fill(path: Path, count: int) -> None:
    """Make a journal of *count* messages, searchable to the last."""
    file = SqliteFile(f"sqlite:///{path}")
    file.create()
    add(file, range(count), count)
    make_searchable(file)
    file.close()


def add(file: SqliteFile, numbers: range, count: int, *, group: int = GROUP) -> None:
    """Add the messages of these *numbers*, of *count* in the end, and the sessions that begin with them."""
    begun = datetime.now(UTC) - timedelta(seconds=count)
    for first in range(numbers.start, numbers.stop, group):
        some = [(n, begun + timedelta(seconds=n)) for n in range(first, min(first + group, numbers.stop))]
        with file.writing() as connection:
            add_messages(connection, [message(n, when, count) for n, when in some])
            starts = [session(n // IN_A_SESSION, when) for n, when in some if n % IN_A_SESSION == 0]
            add_sessions(connection, starts)


def make_searchable(file: SqliteFile) -> None:
    """Take all messages into the search index, as an idle receiver does."""
    more, merging = True, search.merging()
    while more:
        with file.writing() as connection:
            more = search.tidy(connection, merging) or search.extend(connection)


def paths_over(count: int) -> list[str]:
    """Return what is asked: each kind of page, and each kind of filter with many, few and no matches."""
    middle = count // 2
    filters = [
        "recipient=r7@older.test",
        "recipient=*@newer.test",
        "recipient=*@older.test",
        "recipient=*@rare.test",
        "recipient=*@none.test",
        "sender=*@rare.test",
        "sender=*@none.test",
        f"subject={middle}",
        "subject=urgent",
        "subject=older",
        "subject=nothing",
        "header=X-Batch:%207",
        "header=X-Origin:%20*.rare.test",
        "header=X-Origin:%20*.none.test",
        "server=MBX1",
        "server=MBX2",
        "run=none",
        f"since={count - 20}",
        "recipient=*@older.test&subject=odd",
        "recipient=*@older.test&subject=urgent",
    ]
    sessions = ["outcome=completed", "outcome=refused", "remote=127.0.0.1", "remote=10.*", "subject=urgent"]
    return [
        "/api/v1/messages",
        *(f"/api/v1/messages?{each}" for each in filters),
        f"/api/v1/messages/{middle}",
        f"/api/v1/messages/{middle}/raw",
        "/api/v1/sessions",
        *(f"/api/v1/sessions?{each}" for each in sessions),
        f"/api/v1/sessions/{middle // IN_A_SESSION:016x}",
        "/api/v1/events",
        "/api/v1/events?event_id=12015",
        "/",
        "/messages",
        "/messages?recipient=*@older.test",
        f"/messages/{middle}",
        f"/sessions/{middle // IN_A_SESSION:016x}",
        "/events",
    ]


async def measure(folder: Path, count: int, rounds: int) -> None:
    """Ask each path *rounds* times, and print the table."""
    paths = paths_over(count)
    took: dict[str, list[float]] = {path: [] for path in paths}
    used: dict[str, list[float]] = {path: [] for path in paths}
    async with (
        Receiver(load_config(folder / "receive.yaml", environ={})) as receiver,
        Page(receiver) as page,
        httpx.AsyncClient(base_url=page.url or "", timeout=120, follow_redirects=True) as client,
    ):
        for _ in range(rounds):
            for path in paths:
                began, began_cpu = time.perf_counter(), time.process_time()
                answer = await client.get(path)
                took[path].append((time.perf_counter() - began) * 1000)
                used[path].append((time.process_time() - began_cpu) * 1000)
                if answer.status_code != httpx.codes.OK:
                    raise SystemExit(f"{path}: {answer.status_code}")
    print(f"{'path':60} {'median ms':>10} {'worst ms':>10} {'CPU ms':>10}")
    for path, each in took.items():
        cpu = statistics.median(used[path])
        print(f"{path:60} {statistics.median(each):10.1f} {max(each):10.1f} {cpu:10.1f}")


def main() -> None:
    """Fill, and measure."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--messages", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=21)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-journal-") as name:
        folder = Path(name)
        (folder / "receive.yaml").write_text(CONFIG.format(), encoding="utf-8")
        began = time.perf_counter()
        fill(folder / "capture.db", given.messages)
        size = (folder / "capture.db").stat().st_size / 1024**2
        print(f"{given.messages:,} messages in {time.perf_counter() - began:.0f} s, {size:,.0f} MiB")
        asyncio.run(measure(folder, given.messages, given.rounds))


if __name__ == "__main__":
    main()
