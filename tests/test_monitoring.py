"""``deploy/prometheus`` and ``deploy/grafana``: promtool takes them, and they ask only for what a receiver has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.limits import OUT_OF_RESOURCES
from smtpd_anontls.domain.records import Outcome, TlsVerb
from tests.lab import all_ended, greeted, lab, pki, secured
from tests.web.visiting import deliver, visiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab import Lab

__all__ = ["lab", "pki"]

Json = dict[str, Any]
Labels = dict[str, set[str]]  # Of a series: each of its labels with the values that were seen.

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "smtpd-anontls.json"

# What Prometheus adds to every series.
ADDED = {"job", "instance"}
# These are not the receiver's: Prometheus and the blackbox exporter have them.
OTHERS = {"up", "probe_success"}
# promtool wants seconds; administrators count the life of certificates in days.
ACCEPTED = {'smtpd_anontls_certificate_expiry_days use base unit "seconds" instead of "days"'}
# Values of labels that the rules and the dashboard may ask for, where they come from a catalogue.
CATALOGUES = {
    "verb": {each.value for each in TlsVerb},
    "outcome": {each.value for each in Outcome},
    "event_id": {str(each.value) for each in EventId},
    "advertised": {"true", "false"},
    "failure": {""},
    "reason": {OUT_OF_RESOURCES},
    "last_step": {
        step
        for path in (DEPLOY.parent / "smtpd_anontls" / "selection").glob("*.py")
        for step in re.findall(r'trace\.(?:passed|failed)\(\s*"(\w+)"', path.read_text())
    },
}


def promtool(*words: str | Path, said: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        ["promtool", *map(str, words)], input=said, capture_output=True, text=True, timeout=60, check=False
    )


def alerts() -> dict[str, str]:
    """Return the expression of each alert."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def panels() -> Iterator[Json]:
    """Yield the panels of the dashboard that show something."""
    yield from (each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row")


def drawn() -> dict[str, str]:
    """Return each expression of the dashboard as Prometheus gets it."""
    found = {}
    for panel in panels():
        for target in panel["targets"]:
            expression = re.sub(r"\$__(?:rate_interval|range)\b", "5m", target["expr"])
            found[f"{panel['id']}{target['refId']}"] = re.sub(r"\$(?:job|instance)\b", ".*", expression)
    return found


def series_of(expression: str) -> Iterator[tuple[str, str]]:
    """Yield the series that *expression* names, each with what stands in its braces."""
    yield from re.findall(r"\b(smtpd_anontls_\w+|up|probe_success)\b(?:\{([^}]*)\})?", expression)


def grouped_by(expression: str) -> set[str]:
    """Return the labels that *expression* keeps."""
    lists = re.findall(r"\bby \(([^)]*)\)", expression)
    return {label for each in lists for label in re.split(r",\s*", each) if label}


async def exposed(lab: Lab) -> str:
    """Return /metrics of a receiver that has had a mail, a refusal, handshakes of both kinds, and events."""
    async with visiting(lab) as visit:
        await deliver(visit.receiver)
        async with await secured(visit.receiver) as peer:
            assert (await peer.ask("MAIL FROM:<a@example.test> SIZE=999999999"))[0].startswith("552 ")
            await peer.ask("QUIT")
        async with await greeted(visit.receiver) as peer:
            await peer.ask("STARTTLS")
            await peer.send(b"no TLS at all, but long enough to be read as a record\r\n" * 10)
            await peer.raw_rest()
        # From here on what the directory names cannot be loaded: event 12013.
        (lab.store / "internal.pem").unlink()
        async with await greeted(visit.receiver) as peer:
            await peer.ask("QUIT")
        await all_ended(visit.receiver)
        answer = await visit.client.get("/metrics")
    assert answer.status_code == 200
    return answer.text


def labels_of(text: str) -> dict[str, Labels]:
    """Return the series that *text* has."""
    found: dict[str, Labels] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def unknown(expression: str, known: Mapping[str, Labels]) -> set[str]:
    """Return what *expression* asks for and no receiver has: names of series, of labels, and values."""
    missing = set()
    kept = set(ADDED)
    for name, braces in series_of(expression):
        if name in OTHERS:
            continue
        if name not in known:
            missing.add(name)
            continue
        kept |= known[name].keys()
        for label, how, values in re.findall(r'(\w+)\s*([!=~]+)\s*"([^"]*)"', braces):
            if label in ADDED:
                continue
            wanted = set(values.split("|")) if "~" in how else {values}
            if label not in known[name] or not wanted <= CATALOGUES[label]:
                missing.add(f"{name}{{{label}{how}{values}}}")
    return missing | (grouped_by(expression) - kept)


@pytest.mark.slow
def test_the_rules_are_rules() -> None:
    """Promtool takes them."""
    answer = promtool("check", "rules", ALERTS)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(alerts())} rules found" in answer.stdout


@pytest.mark.slow
def test_the_alerts_fire_when_they_should() -> None:
    """Promtool plays the series of the tests beside them."""
    answer = promtool("test", "rules", ALERTS.with_name("alerts_test.yml"))

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_has_a_test() -> None:
    """One that says when it fires."""
    tests = yaml.safe_load(ALERTS.with_name("alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for each in tests for case in each["alert_rule_test"] if case["exp_alerts"]}

    assert fired == alerts().keys()


@pytest.mark.slow
def test_the_dashboard_asks_in_promql(tmp_path: Path) -> None:
    """Every expression is one that Prometheus can read."""
    rules = [{"record": f"panel:{name}", "expr": expression} for name, expression in drawn().items()]
    path = tmp_path / "drawn.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "drawn", "rules": rules}]}))
    answer = promtool("check", "rules", path)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(rules)} rules found" in answer.stdout


def test_the_dashboard_is_laid_out() -> None:
    """No two panels have one id or overlap, none leaves the 24 columns, and each says what it shows."""
    every = json.loads(DASHBOARD.read_text())["panels"]
    cells: list[tuple[int, int]] = []
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells += [
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]

    assert len(set(cells)) == len(cells)
    assert len({panel["id"] for panel in every}) == len(every)
    assert all(panel["description"] for panel in panels())


def test_legends_name_labels_that_are_kept() -> None:
    """A legend has a value for each of its labels."""
    for panel in panels():
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert wanted <= grouped_by(target["expr"]), panel["title"]


async def test_what_is_asked_for_is_there(lab: Lab) -> None:
    """Each series, each label, and each value of one is something that a receiver has."""
    known = labels_of(await exposed(lab))

    missing = {name: unknown(each, known) for name, each in {**alerts(), **drawn()}.items()}
    assert {name: each for name, each in missing.items() if each} == {}


async def test_what_is_there_is_drawn(lab: Lab) -> None:
    """The dashboard leaves no metric out."""
    families = {
        family.name
        for family in text_string_to_metric_families(await exposed(lab))
        if not family.name.endswith("_created")
    }
    named = {name for each in drawn().values() for name, _ in series_of(each)} - OTHERS

    assert {re.sub(r"_(?:total|bucket)$", "", name) for name in named} == families


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("smtpd_anontls_session_total", {"smtpd_anontls_session_total"}),
        ("sum by (outcom) (smtpd_anontls_sessions_total)", {"outcom"}),
        (
            'smtpd_anontls_sessions_total{outcome="complete"}',
            {"smtpd_anontls_sessions_total{outcome=complete}"},
        ),
        (
            'smtpd_anontls_sessions_total{verb="STARTTLS"}',
            {"smtpd_anontls_sessions_total{verb=STARTTLS}"},
        ),
        ('sum by (job) (up{job="x"}) + smtpd_anontls_sessions_total{outcome=~"timeout|refused"}', set()),
    ],
)
def test_what_is_not_there_is_found(expression: str, missing: set[str]) -> None:
    """A name that nobody has would be seen."""
    assert unknown(expression, {"smtpd_anontls_sessions_total": {"outcome": {"completed"}}}) == missing


@pytest.mark.slow
async def test_the_metrics_are_as_prometheus_wants_them(lab: Lab) -> None:
    """Promtool finds no fault but what is meant."""
    answer = promtool("check", "metrics", said=await exposed(lab))

    assert set(answer.stderr.splitlines()) == ACCEPTED, answer.stdout + answer.stderr
