"""/metrics for Prometheus: counted when something is recorded, looked up when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.domain.records import Acknowledged, EventRecord, SessionRecord
from smtpd_anontls.protocol.handshake import failure_class

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.web.feed import Record

_DAY = 86_400.0
_MILLISECONDS = 1000.0
_SESSIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """What a receiver has done since the page was opened."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._sessions = Counter(
            "smtpd_anontls_sessions", "Sessions that have ended.", ["outcome"], registry=registry
        )
        self._running = Gauge("smtpd_anontls_sessions_running", "Sessions now.", registry=registry)
        self._workers = Gauge("smtpd_anontls_workers", "Processes that serve.", registry=registry)
        self._workers_lost = Counter(
            "smtpd_anontls_workers_lost",
            "Processes that ended without being told to, and were replaced.",
            registry=registry,
        )
        self._known_lost = 0
        self._duration = Histogram(
            "smtpd_anontls_session_duration_seconds",
            "From the connection to its end.",
            buckets=_SESSIONS,
            registry=registry,
        )
        self._selections = Counter(
            "smtpd_anontls_selections",
            "Certificate selections of sessions, by verb, whether it was advertised, and the last step.",
            ["verb", "advertised", "last_step"],
            registry=registry,
        )
        self._directory = Histogram(
            "smtpd_anontls_directory_latency_seconds",
            "Selections that asked the directory: the look-up, and little beside it.",
            buckets=_LATENCIES,
            registry=registry,
        )
        self._handshakes = Counter(
            "smtpd_anontls_handshakes",
            "TLS handshakes; failure is empty where they succeeded.",
            ["verb", "version", "cipher", "failure"],
            registry=registry,
        )
        self._refusals = Counter(
            "smtpd_anontls_refusals",
            "What a limit, or a journal that could not be written (InsufficientResources), refused, by ended session.",
            ["reason"],
            registry=registry,
        )
        self._negative = Counter(
            "smtpd_anontls_negative_replies",
            "Replies of 400 and above, in sessions that have ended.",
            ["code"],
            registry=registry,
        )
        self._messages = Counter("smtpd_anontls_messages", "Messages acknowledged.", registry=registry)
        self._bytes = Counter("smtpd_anontls_message_bytes", "Octets of those messages.", registry=registry)
        self._delivery = Histogram(
            "smtpd_anontls_delivery_latency_seconds",
            "From the last octet of a message until it is durable.",
            buckets=_LATENCIES,
            registry=registry,
        )
        self._events = Counter(
            "smtpd_anontls_events", "Events of the Application log.", ["event_id", "level"], registry=registry
        )
        self._days = Gauge(
            "smtpd_anontls_certificate_expiry_days",
            "Days until Valid to; below zero it has expired.",
            ["server", "thumbprint"],
            registry=registry,
        )

    def notice(self, record: Record) -> None:
        """Count *record*; costs microseconds."""
        match record:
            case SessionRecord():
                self._count_session(record)
            case Acknowledged():
                self._messages.inc()
                self._bytes.inc(record.octets)
                self._delivery.observe(record.seconds)
            case EventRecord():
                shown = record.as_json()
                self._events.labels(shown["event_id"], shown["level"]).inc()

    def _count_session(self, record: SessionRecord) -> None:
        self._sessions.labels("" if record.outcome is None else record.outcome.value).inc()
        if record.ended is not None:
            self._duration.observe(max(0.0, (record.ended - record.started).total_seconds()))
        for selection in record.selections:
            steps = [step["step"] for step in selection["steps"]]
            advertised = "true" if selection["advertised"] else "false"
            self._selections.labels(selection["verb"], advertised, steps[-1] if steps else "").inc()
            if "directory" in steps:
                self._directory.observe(selection["duration_ms"] / _MILLISECONDS)
        for limit in record.limits:
            self._refusals.labels(limit.partition(":")[0]).inc()
        for row in record.transcript:
            # A reply of several lines counts by its last one.
            if row.mark == "S" and row.text[:1] in {"4", "5"} and row.text[3:4] != "-":
                self._negative.labels(row.text[:3]).inc()
        tls = record.tls
        if tls is not None:
            failure = "" if tls.failure is None else failure_class(tls.failure)
            self._handshakes.labels(tls.verb.value, tls.version or "", tls.cipher or "", failure).inc()

    async def exposition(self, receiver: Receiver) -> bytes:
        """Return the text that Prometheus reads."""
        now = receiver.now()
        days: dict[tuple[str, str], float] = {}
        for server, store in receiver.surroundings.stores.items():
            try:
                held = await store.all()
            except StoreError:
                continue
            for one in held:
                left = one.certificate.not_after - now
                days[server, one.certificate.thumbprint] = left.total_seconds() / _DAY
        self._days.clear()
        for (server, thumbprint), left_days in days.items():
            self._days.labels(server, thumbprint).set(left_days)
        self._running.set(receiver.running)
        workforce = receiver.workforce
        self._workers.set(workforce.running)
        self._workers_lost.inc(workforce.lost - self._known_lost)
        self._known_lost = workforce.lost
        return generate_latest(self.registry)
