"""Health, readiness and metrics of a running receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import CONNECTOR, SERVER, all_ended, greeted, secured
from tests.web.visiting import deliver, visiting

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.web.visiting import Visit

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def _metrics(visit: Visit) -> Samples:
    answer = await visit.client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name.removeprefix("smtpd_anontls_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_what_is_counted(lab: Lab) -> None:
    """Sessions, selections, handshakes, messages, events and certificates are all there, with their labels."""
    async with visiting(lab, directory="missing-thumbprint") as visit:
        await deliver(visit.receiver, content="Subject: x\r\n\r\n")
        async with await greeted(visit.receiver) as peer:
            await peer.ask("STARTTLS")
            await peer.send(b"no TLS at all, but long enough to be read as a record\r\n" * 10)
            await peer.raw_rest()
        await all_ended(visit.receiver)
        seen = await _metrics(visit)

    assert seen["sessions_total", (("outcome", "completed"),)] == 1
    assert seen["sessions_total", (("outcome", "handshake_failed"),)] == 1
    assert seen["sessions_running", ()] == 0
    assert seen["session_duration_seconds_count", ()] == 2
    selection = (("advertised", "false"), ("last_step", "certificate_store"), ("verb", "X-ANONYMOUSTLS"))
    assert seen["selections_total", selection] == 2
    handshake = (("cipher", ""), ("failure", "not_tls"), ("verb", "STARTTLS"), ("version", ""))
    assert seen["handshakes_total", handshake] == 1
    assert seen["messages_total", ()] == 1
    assert seen["message_bytes_total", ()] == len(b"Subject: x\r\n\r\n")
    assert seen["delivery_latency_seconds_count", ()] == 1
    assert seen["directory_latency_seconds_count", ()] == 2
    assert seen["events_total", (("event_id", "12013"), ("level", "Error"))] == 2
    internal = lab.certificate("internal").thumbprint
    assert seen["certificate_expiry_days", (("server", SERVER), ("thumbprint", internal))] > 700


async def test_what_is_refused(lab: Lab) -> None:
    """Limits that struck, mail that could not be kept, and negative replies, a reply of several lines once."""
    async with visiting(lab, connector={"max_message_size": 1000}) as visit:
        async with await greeted(visit.receiver) as peer:
            await peer.ask("MAIL FROM:<a@example.test> SIZE=1001")
            await peer.ask("RCPT TO:<b@contoso.test>")
            await visit.receiver.journal.flush()
            for path in lab.folder.glob("capture.db*"):
                path.unlink()
            lab.database.mkdir()
            await peer.ask("MAIL FROM:<a@example.test>")
            await peer.ask("RCPT TO:<b@contoso.test>")
            await peer.ask("DATA")
            await peer.send(b"Subject: x\r\n\r\n.\r\n")
            assert (await peer.reply())[0].startswith("452 ")
            lab.database.rmdir()
            await peer.ask("QUIT")
        await deliver(visit.receiver)
        await all_ended(visit.receiver)
        seen = await _metrics(visit)

    assert {key: value for key, value in seen.items() if key[0] == "refusals_total"} == {
        ("refusals_total", (("reason", "MaxMessageSize"),)): 1,
        ("refusals_total", (("reason", "InsufficientResources"),)): 1,
    }
    assert {key: value for key, value in seen.items() if key[0] == "negative_replies_total"} == {
        ("negative_replies_total", (("code", code),)): 1 for code in ("452", "503", "552")
    }
    assert [limit.partition(":")[0] for each in lab.sessions for limit in each["limits"]] == [
        "MaxMessageSize",
        "InsufficientResources",
    ]


async def test_a_session_that_runs(lab: Lab) -> None:
    """Sessions are counted while they run, and handshakes when they have ended."""
    async with visiting(lab) as visit:
        async with await secured(visit.receiver) as peer:
            during = await _metrics(visit)
            await peer.ask("QUIT")
        await all_ended(visit.receiver)
        after = await _metrics(visit)

    assert (during["sessions_running", ()], after["sessions_running", ()]) == (1, 0)
    handshakes = [labels for name, labels in after if name == "handshakes_total"]
    assert [dict(labels)["version"] for labels in handshakes] == ["TLSv1.2"]


async def test_a_certificate_that_goes(lab: Lab) -> None:
    """A certificate that has left the store leaves the metrics."""
    async with visiting(lab) as visit:
        before = await _metrics(visit)
        (lab.store / "mx1.lab.test.pem").unlink()
        after = await _metrics(visit)

    counts = [sum(name == "certificate_expiry_days" for name, _ in each) for each in (before, after)]
    assert counts == [2, 1]


async def test_ready(lab: Lab) -> None:
    """A receiver that listens, writes and asks is ready; /healthz asks nothing."""
    async with visiting(lab) as visit:
        health = (await visit.client.get("/healthz")).json()
        ready = (await visit.client.get("/readyz")).json()

    assert (health, ready) == ({"status": "ok"}, {"ready": True})


async def test_not_ready_while_the_directory_is_broken(lab: Lab) -> None:
    """A directory file that cannot be read is a reason, and none any more when it can."""
    async with visiting(lab) as visit:
        path = lab.config.parent / "directory.yaml"
        whole = path.read_text()
        path.write_text("[")
        refused = await visit.problem(503, "GET", "/readyz")
        path.write_text(whole)
        again = await visit.client.get("/readyz")

    assert refused["reasons"] == ["the directory cannot be read"]
    assert again.status_code == 200


async def test_an_entry_that_is_unreadable_on_purpose(lab: Lab) -> None:
    """A scenario of an unreadable attribute is no reason, nor is a broken directory that nobody asks."""
    async with visiting(lab, directory="unreadable") as visit:
        on_purpose = await visit.client.get("/readyz")
    async with visiting(lab, connector={"auth_mechanism": ["Tls"]}) as visit:
        (lab.config.parent / "directory.yaml").write_text("[")
        not_asked = await visit.client.get("/readyz")

    assert (on_purpose.status_code, not_asked.status_code) == (200, 200)


async def test_not_ready_while_nobody_listens(lab: Lab) -> None:
    """Without a connector that listens no mail can be taken."""
    async with visiting(lab) as visit:
        await visit.client.patch(f"connectors/{SERVER}/{CONNECTOR}", json={"enabled": False})
        refused = await visit.problem(503, "GET", "/readyz")

    assert "no connector listens" in refused["reasons"]
