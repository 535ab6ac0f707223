"""The gallery, walked over real sockets and real TLS: each scenario advertises, presents and records what it must.

What is expected stands here as the documents have it; which certificate was presented is read from
the handshake, and compared with the files of the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from smtpd_anontls.household import utc_now
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import load_config
from tests.command import on_free_ports
from tests.lab import all_ended
from tests.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

pytestmark = pytest.mark.slow  # Thirteen RSA keys.

ANONYMOUS, STARTTLS = "X-ANONYMOUSTLS", "STARTTLS"
EVERY_ANONYMOUS_STEP = "auth_mechanism+ suppression+ directory+ certificate_store+ validity+"
EVERY_STARTTLS_STEP = (
    "auth_mechanism+ certificate_name+ certificate_store+ eligibility+ preference+ validity+"
)


@dataclass(frozen=True)
class Expected:
    """What the documents say of a scenario: the steps and their answers, and the events by verb."""

    anonymous: str
    starttls: str
    at_start: tuple[int, ...] = ()
    in_session: tuple[int, ...] = ()
    directory: str = "names it"

    @property
    def offered(self) -> set[str]:
        """The verbs that EHLO offers: those whose last step was reached."""
        steps = {ANONYMOUS: self.anonymous, STARTTLS: self.starttls}
        return {verb for verb, taken in steps.items() if taken.split()[-1].startswith("validity")}


SCENARIOS = {
    "healthy": Expected(EVERY_ANONYMOUS_STEP, EVERY_STARTTLS_STEP),
    "auth-mechanism": Expected("auth_mechanism-", EVERY_STARTTLS_STEP),
    "not-set": Expected(
        "auth_mechanism+ suppression+ directory-", EVERY_STARTTLS_STEP, at_start=(12012,), directory="null"
    ),
    "unreadable": Expected(
        "auth_mechanism+ suppression+ directory-",
        EVERY_STARTTLS_STEP,
        at_start=(12012,),
        directory="unreadable",
    ),
    "not-in-store": Expected(
        "auth_mechanism+ suppression+ directory+ certificate_store-",
        EVERY_STARTTLS_STEP,
        at_start=(12013,),
        in_session=(12013,),
        directory="names another",
    ),
    "no-private-key": Expected(
        "auth_mechanism+ suppression+ directory+ certificate_store-",
        "auth_mechanism+ certificate_name+ certificate_store+ eligibility-",
        at_start=(12013, 12014),
        in_session=(12013, 12014),
    ),
    "expired": Expected(
        EVERY_ANONYMOUS_STEP.replace("validity+", "validity-"),
        EVERY_STARTTLS_STEP.replace("validity+", "validity-"),
        at_start=(12015, 12016),
        in_session=(12015, 12016),
    ),
    "expires-soon": Expected(EVERY_ANONYMOUS_STEP, EVERY_STARTTLS_STEP, at_start=(12017, 12018)),
    "suppressed": Expected("auth_mechanism+ suppression-", EVERY_STARTTLS_STEP),
    "starttls-only": Expected("auth_mechanism-", EVERY_STARTTLS_STEP),
    "anonymous-tls-only": Expected(EVERY_ANONYMOUS_STEP, "auth_mechanism-"),
    "no-tls": Expected("auth_mechanism-", "auth_mechanism-"),
    "exchange-limits": Expected(EVERY_ANONYMOUS_STEP, EVERY_STARTTLS_STEP),
}

# Events of STARTTLS are about one connector, those of X-ANONYMOUSTLS about the server at start.
ABOUT_STARTTLS = {12014, 12016, 12018}
LEVELS = {
    12012: "Error",
    12013: "Error",
    12014: "Error",
    12015: "Warning",
    12016: "Error",
    12017: "Warning",
    12018: "Error",
}


@dataclass
class Visit:
    """What one peer met."""

    hello: list[str]
    answer: list[str]  # To the verb.
    presented: str | None = None  # The thumbprint of the certificate that the handshake showed.
    hello_after_tls: list[str] = field(default_factory=list)
    record: Json = field(default_factory=dict)  # The session as the journal has it.


@dataclass
class Walk:
    """Everything that a walk through the gallery has shown."""

    folder: Path
    made: list[str]
    visits: dict[tuple[str, str], Visit]
    events: list[Json]

    def only_certificate(self, scenario: str) -> str:
        """Return the thumbprint of the one certificate in the scenario's store."""
        (thumbprint,) = thumbprints(self.folder / "certs" / "gallery" / scenario)
        return thumbprint

    def entry(self, scenario: str) -> Json:
        """Return the scenario's entry in the directory file."""
        entries = yaml.safe_load((self.folder / "config" / "gallery-directory.yaml").read_text())
        entry: Json = entries[scenario]
        return entry


def thumbprint_of(der: bytes) -> str:
    """Return what Windows calls the thumbprint."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def thumbprints(store: Path) -> list[str]:
    """Return the thumbprints of the certificates in a store's files."""
    files = [path for path in store.iterdir() if path.suffix in {".pem", ".cer"}]
    return sorted(
        thumbprint_of(ssl.PEM_cert_to_DER_cert(path.read_text().partition("-----BEGIN PRIV")[0]))
        for path in files
    )


async def visit(address: tuple[str, int], verb: str) -> Visit:
    """Say EHLO and *verb*; where it is taken, upgrade and say EHLO again; leave."""
    async with await Peer.connect(address) as peer:
        await peer.reply()
        met = Visit(hello=await peer.ask("EHLO sender.test"), answer=await peer.ask(verb))
        if met.answer[-1].startswith("220"):
            await peer.upgrade()
            met.presented = thumbprint_of(peer.presented() or b"")
            met.hello_after_tls = await peer.ask("EHLO sender.test")
        remote = peer.remote
        await peer.ask("QUIT")
        await peer.rest()
    met.record = {"remote": remote}
    return met


async def walk_through(folder: Path, config: Path, *, clock: Callable[[], datetime] = utc_now) -> Walk:
    """Start the gallery and visit every scenario with both verbs."""
    made: list[str] = []
    async with Receiver(load_config(config, environ={}), on_made=made.append, clock=clock) as receiver:
        visits = {
            (scenario, verb): await visit(receiver.address(f"Default Frontend {scenario}"), verb)
            for scenario in SCENARIOS
            for verb in (ANONYMOUS, STARTTLS)
        }
        await all_ended(receiver)
        sessions = {each["remote"]: each for each in await receiver.journal.sessions(limit=1000)}
        for met in visits.values():
            met.record = sessions[met.record["remote"]]
        events = list(reversed(await receiver.journal.events(limit=1000)))
    return Walk(folder, made, visits, events)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Walk through the shipped gallery at its first start."""
    folder = tmp_path_factory.mktemp("gallery")
    return asyncio.run(walk_through(folder, on_free_ports(folder, "gallery.yaml")))


def test_the_gallery_has_every_scenario_in_the_order_of_its_ports(tmp_path: Path) -> None:
    """The shipped file has the thirteen servers on ports 2601 to 2613 of 127.0.0.1."""
    on_free_ports(tmp_path, "gallery.yaml")  # The copy that the other tests use is of the same file.
    loaded = load_config("config/gallery.yaml", environ={})

    assert [
        (each.server.name, [str(b) for c in each.server.connectors for b in c.bindings])
        for each in loaded.settings.servers
    ] == [(name, [f"127.0.0.1:{2601 + n}"]) for n, name in enumerate(SCENARIOS)]
    assert (loaded.findings, [each.scenario for each in loaded.settings.servers]) == ((), list(SCENARIOS))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("verb", [ANONYMOUS, STARTTLS])
def test_ehlo_offers_exactly_the_verbs_whose_selection_found_a_certificate(
    walk: Walk, scenario: str, verb: str
) -> None:
    """The EHLO lines stand in Exchange's order; both verbs are gone after either upgrade."""
    met, offered = walk.visits[scenario, verb], SCENARIOS[scenario].offered
    first = f"{scenario}.gallery.test Hello [127.0.0.1]"

    assert keywords(met.hello) == keywords_with(first, *(v for v in (STARTTLS, ANONYMOUS) if v in offered))
    assert keywords(met.hello_after_tls) == (keywords_with(first) if verb in offered else [])


def keywords(hello: list[str]) -> list[str]:
    """Return the lines without what depends on AuthMechanism, which the gallery varies."""
    varied = ("AUTH", "X-EXPS", "XRDST")
    texts = [line[4:] for line in hello if not line[4:].startswith(varied)]
    assert [line[3] for line in hello] == ["-"] * (len(hello) - 1) + [" "] * bool(hello)
    return texts


def keywords_with(first: str, *verbs: str) -> list[str]:
    """Return the answer to EHLO with *verbs*."""
    texts = [first, "SIZE 37748736", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", *verbs, "8BITMIME"]
    return [*texts, "BINARYMIME", "CHUNKING", "SMTPUTF8"]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("verb", [ANONYMOUS, STARTTLS])
def test_the_verb_presents_the_selected_certificate_or_is_refused(
    walk: Walk, scenario: str, verb: str
) -> None:
    """The handshake shows the certificate of the store; a verb that is not offered gets 500 5.3.3."""
    met = walk.visits[scenario, verb]

    if verb in SCENARIOS[scenario].offered:
        assert met.answer == ["220 2.0.0 SMTP server ready"]
        assert met.presented == walk.only_certificate(scenario)
    else:
        assert met.answer == ["500 5.3.3 Unrecognized command"]
        assert met.presented is None


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("verb", [ANONYMOUS, STARTTLS])
def test_the_session_record_carries_both_selections(walk: Walk, scenario: str, verb: str) -> None:
    """Each step and its answer, the certificate, the events and what became of the session."""
    record, expected = walk.visits[scenario, verb].record, SCENARIOS[scenario]
    used = verb in expected.offered
    certificate = walk.only_certificate(scenario)
    wanted = {ANONYMOUS: expected.anonymous, STARTTLS: expected.starttls}

    assert {
        each["verb"]: " ".join(f"{step['step']}{'+' if step['passed'] else '-'}" for step in each["steps"])
        for each in record["selections"]
    } == wanted
    assert {
        each["verb"]: each["certificate"]["thumbprint"] for each in record["selections"] if each["advertised"]
    } == dict.fromkeys(expected.offered, certificate)
    assert [number for each in record["selections"] for number in each["event_ids"]] == list(
        expected.in_session
    )
    assert record["event_ids"] == list(expected.in_session)
    assert (record["server"], record["connector"]) == (scenario, f"Default Frontend {scenario}")
    assert (record["verb"], record["outcome"]) == (verb if used else None, "quit_without_mail")
    assert (record["tls"] or {}).get("thumbprint") == (certificate if used else None)


def test_the_start_wrote_exactly_these_events(walk: Walk) -> None:
    """12012, 12013, 12015 and 12017 once for each server, 12014, 12016 and 12018 once for each connector."""
    at_start = [each for each in walk.events if each["session_id"] is None]

    assert sorted(map(placed, at_start), key=str) == sorted(
        (
            (
                number,
                LEVELS[number],
                scenario,
                f"Default Frontend {scenario}" if number in ABOUT_STARTTLS else None,
            )
            for scenario, expected in SCENARIOS.items()
            for number in expected.at_start
        ),
        key=str,
    )


def placed(event: Json) -> tuple[int, str, str, str | None]:
    """Return what an event says of itself and where it belongs."""
    return event["event_id"], event["level"], event["server"], event["connector"]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("verb", [ANONYMOUS, STARTTLS])
def test_a_session_wrote_exactly_these_events(walk: Walk, scenario: str, verb: str) -> None:
    """12013 to 12016 are written for each session, under its connector; 12012, 12017 and 12018 never."""
    session_id = walk.visits[scenario, verb].record["id"]
    written = [each for each in walk.events if each["session_id"] == session_id]

    assert list(map(placed, written)) == [
        (number, LEVELS[number], scenario, f"Default Frontend {scenario}")
        for number in SCENARIOS[scenario].in_session
    ]


def test_events_name_their_certificate_and_their_source(walk: Walk) -> None:
    """An event about a certificate has its thumbprint; all come from the front end transport service."""
    absent = walk.entry("not-in-store")["msExchServerInternalTLSCert"]
    thumbprint = {scenario: walk.only_certificate(scenario) for scenario in SCENARIOS} | {
        "not-in-store": absent
    }
    nameless = {12012, 12014}

    assert {each["source"] for each in walk.events} == {"MSExchangeFrontEndTransport"}
    assert {each["category"] for each in walk.events} == {"TransportService"}
    assert [each["thumbprint"] for each in walk.events] == [
        None if each["event_id"] in nameless else thumbprint[each["server"]] for each in walk.events
    ]
    assert all(
        each["thumbprint"] in each["message"]
        for each in walk.events
        if each["event_id"] in {12013, 12015, 12017, 12018}
    )


def test_the_event_log_has_the_events_of_the_journal(walk: Walk) -> None:
    """The JSON lines of the Application log are the very events, in their order."""
    log = walk.folder / "var" / "gallery.jsonl"

    assert [json.loads(line) for line in log.read_text().splitlines()] == walk.events
    assert [each["id"] for each in walk.events] == sorted({each["id"] for each in walk.events})


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_first_start_made_the_certificate_and_its_directory_entry(walk: Walk, scenario: str) -> None:
    """One certificate a scenario, told of once, and what the directory says of it."""
    thumbprint = walk.only_certificate(scenario)
    entry = walk.entry(scenario)

    assert [line.split(": ")[0] for line in walk.made if thumbprint in line] == [scenario]
    match SCENARIOS[scenario].directory:
        case "names it":
            assert entry == {"msExchServerInternalTLSCert": thumbprint}
        case "names another":
            assert entry["msExchServerInternalTLSCert"] not in {thumbprint, None}
        case "null":
            assert entry == {"msExchServerInternalTLSCert": None}
        case "unreadable":
            assert entry == {"readable": False}


def test_a_second_start_makes_anew_only_what_no_longer_shows_its_scenario(walk: Walk, tmp_path: Path) -> None:
    """Twenty days on `expires-soon` has expired, and `healthy` has lost its file; all others stay."""
    folder = tmp_path / "gallery"
    shutil.copytree(walk.folder, folder)
    config, stores = folder / "config" / "gallery.yaml", folder / "certs" / "gallery"
    before = {scenario: thumbprints(stores / scenario) for scenario in SCENARIOS}

    again = asyncio.run(walk_through(folder, config))
    unchanged = {scenario: thumbprints(stores / scenario) for scenario in SCENARIOS}
    for path in (stores / "healthy").glob("*.pem"):
        path.unlink()
    later = asyncio.run(walk_through(folder, config, clock=lambda: datetime.now(UTC) + timedelta(days=20)))

    assert (again.made, unchanged) == ([], before)
    assert [line.split(": ")[0] for line in later.made] == ["healthy", "expires-soon"]
    for scenario in ("healthy", "expires-soon"):
        (fresh,) = set(thumbprints(stores / scenario)) - set(before[scenario])
        assert later.entry(scenario) == {"msExchServerInternalTLSCert": fresh}
        assert later.visits[scenario, ANONYMOUS].presented == fresh
        assert later.visits[scenario, STARTTLS].presented == fresh
        assert later.visits[scenario, ANONYMOUS].record["event_ids"] == []
    assert all(
        thumbprints(stores / scenario) == before[scenario]
        for scenario in SCENARIOS
        if scenario not in {"healthy", "expires-soon"}
    )
