"""Events as Windows event XML, judged by the event schema and read by readers that know nothing of us."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from smtpd_anontls.domain.events import CATALOGUE, EventDraft, EventId
from smtpd_anontls.eventlog.lines import RotatedFile
from smtpd_anontls.eventlog.log import EventLog
from smtpd_anontls.eventlog.windows_xml import NAMESPACE, event_xml
from tests.components.journal_making import event

if TYPE_CHECKING:
    from smtpd_anontls.domain.records import EventRecord

SCHEMA = Path(__file__).parents[1] / "data" / "event.xsd"
IN = {"e": NAMESPACE}
# A terminal's controls, NUL, what XML has no way to write, markup, and an ordinary letter.
ODD = "\x00\x1b[2J\r\n\t\ufffe\uffff\udcff\u202e ]]> <&'\"> Büro \U0001f4e7"
ODD_SHOWN = r"\x00\x1b[2J\x0d\x0a\x09\ufffe\uffff\udcff\u202e ]]> <&'" + '"> Büro \U0001f4e7'


def computer_of(server: str | None) -> str:
    """Return the FQDN of a server."""
    return "first.contoso.test" if server is None else f"{server.lower()}.contoso.test"


def line_of(record: EventRecord) -> str:
    """Return an event as XML."""
    return event_xml(computer_of)(record)


def every_event() -> list[EventRecord]:
    """Return an event of each kind, with and without a session, with inserts of every sort."""
    found = []
    for number, kind in enumerate(CATALOGUE.values(), start=1):
        for insert, session in (("mbx1", "0123456789abcdef"), (ODD, None)):
            draft = EventDraft(kind.event_id, tuple(insert for _ in range(kind.insert_count)), "AB" * 20)
            found.append(event(2 * number, draft=draft, session_id=session, server=session and "MBX1"))
    return found


def read(line: str) -> ET.Element:
    """Return the element that a line is."""
    return ET.fromstring(line)  # noqa: S314 - the line is ours


def text(element: ET.Element, path: str) -> str:
    """Return the text of the element at *path*."""
    found = element.findtext(path, namespaces=IN)
    assert found is not None
    return found


def attribute(element: ET.Element, path: str, name: str) -> str:
    """Return an attribute of the element at *path*."""
    found = element.find(path, IN)
    assert found is not None
    return found.attrib[name]


def test_the_fields_of_an_event() -> None:
    """A reader finds source, id, level, time, number, server and inserts where Windows has them."""
    local = timezone(timedelta(hours=2))
    record = event(
        7,
        time=datetime(2026, 11, 22, 14, 0, 0, 123456, local),
        draft=EventDraft(EventId.NO_STARTTLS_CERTIFICATE, ("a.test", "Default Frontend", "b.test"), None),
        session_id="0123456789abcdef",
    )

    found = read(line_of(record))

    assert found.tag == f"{{{NAMESPACE}}}Event"
    assert [part.tag.partition("}")[2] for part in found] == ["System", "EventData", "RenderingInfo"]
    assert attribute(found, "e:System/e:Provider", "Name") == "MSExchangeTransport"
    assert text(found, "e:System/e:EventID") == "12014"
    assert attribute(found, "e:System/e:TimeCreated", "SystemTime") == "2026-11-22T12:00:00.1234560Z"
    assert text(found, "e:System/e:EventRecordID") == "7"
    assert text(found, "e:System/e:Computer") == "mbx1.contoso.test"
    assert text(found, "e:System/e:Channel") == "Application"
    assert text(found, "e:System/e:Task") == "12"
    assert attribute(found, "e:System/e:Execution", "ProcessID") == str(os.getpid())
    assert (
        attribute(found, "e:System/e:Correlation", "ActivityID") == "{00000000-0000-0000-0123-456789abcdef}"
    )
    assert [data.text for data in found.iterfind("e:EventData/e:Data", IN)] == [
        "a.test",
        "Default Frontend",
        "b.test",
    ]
    kind = CATALOGUE[EventId.NO_STARTTLS_CERTIFICATE]
    assert text(found, "e:RenderingInfo/e:Message") == kind.message(record.draft.inserts)
    assert text(found, "e:RenderingInfo/e:Task") == "TransportService"


@pytest.mark.parametrize(
    ("event_id", "level", "qualifiers", "task"),
    [
        (EventId.NOT_IN_STORE, "2", "49156", "12"),
        (EventId.EXPIRED, "3", "32772", "12"),
        (EventId.INVALID_CONNECTOR, "2", "49156", "1"),
        (EventId.INBOUND_AUTHENTICATION_FAILED, "3", "32772", "1"),
    ],
)
def test_numbers_of_real_records(event_id: EventId, level: str, qualifiers: str, task: str) -> None:
    """Level, qualifiers and task are those that records of a real Exchange server have."""
    inserts = tuple("x" for _ in range(CATALOGUE[event_id].insert_count))
    found = read(line_of(event(1, draft=EventDraft(event_id, inserts))))

    assert text(found, "e:System/e:Level") == level
    assert attribute(found, "e:System/e:EventID", "Qualifiers") == qualifiers
    assert text(found, "e:System/e:Task") == task
    assert text(found, "e:System/e:Keywords") == "0x80000000000000"


def test_an_event_of_no_session() -> None:
    """Nothing stands where nothing is known, and an event without inserts has no data."""
    found = read(line_of(event(1, draft=EventDraft(EventId.MISSING_IN_DIRECTORY), server=None)))
    correlation = found.find("e:System/e:Correlation", IN)
    data = found.find("e:EventData", IN)

    assert correlation is not None
    assert correlation.attrib == {}
    assert data is not None
    assert len(data) == 0
    assert text(found, "e:System/e:Computer") == "first.contoso.test"


def test_what_xml_cannot_say() -> None:
    """It is shown as an escape, and all else as it was; the line itself is printable ASCII."""
    record = event(1, draft=EventDraft(EventId.EXPIRED, (ODD,)), server=f"M{ODD[0]}", source="<'>")
    line = line_of(record)

    found = read(line)

    assert all(" " <= character <= "~" for character in line[:-1])
    assert text(found, "e:EventData/e:Data") == ODD_SHOWN
    assert text(found, "e:System/e:Computer") == r"m\x00.contoso.test"
    assert attribute(found, "e:System/e:Provider", "Name") == "<'>"


def written(folder: Path, records: list[EventRecord], *, max_size: int = 10**9) -> Path:
    """Return the file that *records* were written to."""
    unexpected: list[str] = []
    path = folder / "application.xml"
    log = EventLog(
        [RotatedFile(path, event_xml(computer_of), max_size=max_size, keep=100)], unexpected.append
    )
    log.open()
    for record in records:
        log.write(record)
    log.close()
    assert unexpected == []
    return path


def test_read_while_it_grows(tmp_path: Path) -> None:
    """A reader that is handed the file in pieces finds each event; no declaration or root is in its way."""
    path = written(tmp_path, every_event())
    reader: ET.XMLPullParser[Any] = ET.XMLPullParser(["end"])
    reader.feed("<Events>")
    content = path.read_text("ascii")
    for start in range(0, len(content), 1000):
        reader.feed(content[start : start + 1000])
    ends: Any = reader.read_events()
    numbers = [text(found, "e:System/e:EventID") for _, found in ends if found.tag.endswith("}Event")]

    assert numbers == [str(record.draft.event_id.value) for record in every_event()]


def test_every_line_stands_alone(tmp_path: Path) -> None:
    """Each line is a document, also where the files were rotated."""
    records = every_event()
    written(tmp_path, records, max_size=4000)
    files = sorted(tmp_path.iterdir(), key=lambda path: -int(path.suffix[1:]) if path.suffix != ".xml" else 0)
    found = [read(line) for path in files for line in path.read_text("ascii").splitlines()]

    assert len(files) > 2
    assert [text(each, "e:System/e:EventRecordID") for each in found] == [
        str(record.id) for record in records
    ]


def judged(document: str) -> subprocess.CompletedProcess[str]:
    """Return what xmllint says of a document by the event schema."""
    return subprocess.run(
        ["xmllint", "--noout", "--schema", str(SCHEMA), "-"],
        input=document,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_every_event_is_valid(tmp_path: Path) -> None:
    """By the event schema each event of the catalogue is valid, alone and as the file that Event Viewer saves."""
    lines = written(tmp_path, every_event()).read_text("ascii").splitlines()
    documents = [*lines, f"<Events xmlns='{NAMESPACE}'>{''.join(lines)}</Events>"]

    assert [(said.returncode, said.stderr) for said in map(judged, documents)] == [
        (0, "- validates\n")
    ] * len(documents)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("<Computer>[^<]*</Computer>", ""),
        ("<Level>2</Level>(.*)<Task>12</Task>", r"<Task>12</Task>\1<Level>2</Level>"),
        ("0x80000000000000", "80000000000000"),
        ("SystemTime='2026", "SystemTime='22.11.2026"),
        ("<EventRecordID>1</", "<EventRecordID>-1</"),
        ("ActivityID='{", "ActivityID='"),
        ("Culture='en-US'", ""),
        ("</EventData>", "<Text/></EventData>"),
    ],
)
def test_the_schema_has_teeth(change: str, to: str) -> None:
    """What is not as the schema says is not valid: a test that everything passes would show nothing."""
    whole = line_of(
        event(
            1,
            draft=EventDraft(EventId.NOT_IN_STORE, ("x",)),
            session_id="0123456789abcdef",
            time=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    spoilt, count = re.subn(change, to, whole, count=1)
    said = judged(spoilt)

    assert count == 1
    assert said.returncode == 3, said.stderr
