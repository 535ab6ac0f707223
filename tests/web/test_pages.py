"""The pages of a receiver that has seen something of everything, fetched over HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls import __version__
from smtpd_anontls.settings.fault_shape import FaultShape
from tests.lab import ABSENT_THUMBPRINT, CONNECTOR, FQDN, greeted
from tests.web.fault_list import EVERYTHING
from tests.web.markup import Markup
from tests.web.scene import CLIENT_CONNECTOR, scene, send
from tests.web.visiting import deliver, visiting

if TYPE_CHECKING:
    import httpx

    from tests.lab import Lab
    from tests.web.scene import Scene
    from tests.web.visiting import Visit

pytestmark = pytest.mark.slow


async def page(visit: Visit, path: str, *, status: int = 200) -> Markup:
    """Fetch a page, and see that it is one: well-formed, titled, with its landmarks, and sealed."""
    answer = await visit.client.get(f"/{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    found = Markup.of(answer.text)
    assert found.mistakes == []
    assert len(list(found.all("main"))) == 1
    assert len(list(found.all("h1"))) == 1
    assert len(list(found.all("title"))) == 1
    assert f"smtpd-anontls {__version__}." in found.text
    # The policy forbids both, so they would not work.
    assert not any("style" in each.attributes for each in found.elements)
    assert not any(name.startswith("on") for each in found.elements for name in each.attributes)
    assert all("src" in each.attributes for each in found.all("script"))
    return found


async def every_page(about: Scene) -> list[str]:
    """Return the paths of all pages."""
    events = await about.visit.receiver.journal.events()
    return [
        "sessions",
        f"sessions/{about.anonymous_tls}",
        f"sessions/{about.starttls}",
        f"sessions/{about.failed_handshake}",
        f"sessions/{about.failed_logon}",
        "messages",
        f"messages/{about.letter}",
        "events",
        f"events/{events[0]['id']}",
        "certificates",
        "certificates?at=2031-06-01",
        "connectors",
        "connectors?remote=192.0.2.7",
        "faults",
    ]


async def test_all_pages_are_well_formed_and_sealed(lab: Lab) -> None:
    """Each page is HTML without a mistake, and has neither script nor style in it."""
    async with scene(lab) as about:
        for path in await every_page(about):
            await page(about.visit, path)


async def test_all_links_lead_somewhere(lab: Lab) -> None:
    """Each address of our own that a page names is answered."""
    async with scene(lab) as about:
        links = set()
        for path in await every_page(about):
            found = await page(about.visit, path)
            links |= {
                str(value)
                for each in found.elements
                for name, value in each.attributes.items()
                if name in {"href", "src", "hx-get"} and value and value.startswith("/")
            }
        assert len(links) > 30
        for link in links:
            answer = await about.visit.client.get(link, follow_redirects=True)
            assert answer.status_code == 200, link


async def test_a_session_shows_the_way_that_its_selections_took(lab: Lab) -> None:
    """Both charts have every question, with the answer and the sentence of the trace."""
    async with scene(lab) as about:
        found = await page(about.visit, f"sessions/{about.anonymous_tls}")
        record = await about.visit.receiver.journal.session(about.anonymous_tls)

    assert record is not None
    for selection in record["selections"]:
        for step in selection["steps"]:
            assert " ".join(step["detail"].split()) in found.text
    boxes = [
        str(each.attributes["class"])
        for each in found.all("li")
        if "box" in str(each.attributes.get("class"))
    ]
    # The certificate of mx1.lab.test has expired, so the other one was found, and is valid.
    assert boxes == ["box yes"] * 11
    ends = [each for each in found.all("li") if str(each.attributes.get("class")).startswith("end")]
    assert [each.attributes["class"] for each in ends] == ["end reached", "end reached"]


@pytest.mark.parametrize(
    ("directory", "connector", "expected"),
    [
        ("internal", {"auth_mechanism": ["Tls"]}, "no not-asked not-asked not-asked not-asked"),
        ("internal", {"suppress_x_anonymous_tls": True}, "yes no not-asked not-asked not-asked"),
        (None, {}, "yes yes no not-asked not-asked"),
        ("missing-thumbprint", {}, "yes yes yes no not-asked"),
        ("internal", {}, "yes yes yes yes no"),
    ],
)
async def test_the_way_ends_where_the_answer_is_no(
    lab: Lab, directory: str | None, connector: dict[str, object], expected: str
) -> None:
    """Behind a no nothing is asked, except that an expired certificate is advertised all the same."""
    async with visiting(
        lab, directory=directory, connector=connector, store={"internal": "expired"}
    ) as visit:
        async with await greeted(visit.receiver) as peer:
            await peer.ask("QUIT")
        found = await page(visit, "connectors")

    boxes = [
        str(each.attributes["class"])
        for each in found.all("li")
        if "box" in str(each.attributes.get("class"))
    ]
    assert " ".join(boxes[:5]) == " ".join(f"box {answer}" for answer in expected.split())
    if directory == "missing-thumbprint":
        assert ABSENT_THUMBPRINT in found.text


async def test_starttls_with_the_internal_transport_certificate_has_a_chart_of_its_own(lab: Lab) -> None:
    """The questions are those of the directory and the store, not those about names."""
    async with visiting(lab, connector={"starttls_certificate": "internal_transport"}) as visit:
        found = await page(visit, "connectors")

    boxes = [each for each in found.all("li") if "box" in str(each.attributes.get("class"))]
    assert len(boxes) == 5 + 4


async def test_the_transcript_is_cut_where_tls_begins(lab: Lab) -> None:
    """What went in the clear and what went under TLS are told apart, by words and not by colour alone."""
    async with scene(lab) as about:
        found = await page(about.visit, f"sessions/{about.anonymous_tls}")
        failed = await page(about.visit, f"sessions/{about.failed_handshake}")

    stretches = [
        str(each.attributes["class"])
        for each in found.all("div")
        if "stretch" in str(each.attributes.get("class"))
    ]
    assert stretches == ["stretch clear", "stretch encrypted"]
    before, _, after = found.text.partition("Under TLS")
    assert "220 2.0.0 SMTP server ready" in before
    assert "MAIL FROM:<a@example.test>" in after
    assert "MAIL FROM:<a@example.test>" not in before
    assert "Under TLS" not in failed.text
    assert "The handshake failed" in failed.text


async def test_a_session_tells_who_the_sender_is(lab: Lab) -> None:
    """A failed logon has its mechanism, its identity and its reason; no password is shown."""
    async with scene(lab) as about:
        found = await page(about.visit, f"sessions/{about.failed_logon}")

    assert "LOGIN" in found.text
    assert "alice" in found.text
    assert "1035" in found.text
    assert "wrong" not in found.text.replace("wrong_password", "").replace("wrong password", "")


async def test_sessions_are_narrowed_by_the_form(lab: Lab) -> None:
    """Outcome, connector, peer and event narrow the list as the filters of the journal do."""
    async with scene(lab) as about:
        for query, count in (
            ("", 6),
            ("outcome=completed", 1),
            ("outcome=handshake_failed", 1),
            ("event_id=1035", 1),
            ("remote=127.0.0.*", 6),
            ("remote=192.0.2.1", 0),
            (f"connector={CLIENT_CONNECTOR}", 1),
            (f"connector={CONNECTOR}&outcome=quit_without_mail", 2),
        ):
            found = await page(about.visit, f"sessions?{query}")
            rows = [each for each in found.all("tr") if str(each.attributes.get("id")).startswith("session-")]
            assert len(rows) == count, query
        kept = await page(about.visit, "sessions?outcome=completed")
        assert [each.attributes["value"] for each in kept.all("option") if "selected" in each.attributes] == [
            "completed"
        ]


async def test_a_mistake_in_the_form_is_told(lab: Lab) -> None:
    """What cannot be read is told in a sentence, and stays in its field to be put right."""
    async with visiting(lab) as visit:
        for query in ("header=nonsense", "since=yesterday", "since=0123456789abcdef", f"subject={'x' * 600}"):
            found = await page(visit, f"messages?{query}")
            assert any(each.attributes.get("role") == "alert" for each in found.elements), query
            name, _, value = query.partition("=")
            (kept,) = [each for each in found.all("input") if each.attributes.get("name") == name]
            assert kept.attributes["value"] == value
        assert "is not one of" in (await page(visit, "sessions?outcome=fine")).text
        assert "session" in (await page(visit, "events?since=0123456789abcdef")).text


async def test_lists_go_on_where_their_page_ends(lab: Lab) -> None:
    """Each message is on exactly one page, and the last page has no next one."""
    async with visiting(lab) as visit:
        async with await greeted(visit.receiver) as peer:
            for number in range(120):
                await peer.ask("MAIL FROM:<a@example.test>")
                await peer.ask("RCPT TO:<b@contoso.test>")
                await peer.ask("DATA")
                await peer.send(f"Subject: number {number}\r\n\r\n.\r\n".encode())
                assert (await peer.reply())[0].startswith("250 ")
            await peer.ask("QUIT")
        seen: list[str] = []
        path = "messages?recipient=b@contoso.test"
        for _ in range(3):
            found = await page(visit, path)
            seen += [str(each.attributes["id"]) for each in found.all("tr") if "id" in each.attributes]
            older = [each for each in found.all("a") if each.attributes.get("rel") == "next"]
            if older:
                path = str(older[0].attributes["href"]).lstrip("/")

    assert len(seen) == len(set(seen)) == 120
    assert older == []
    assert "before=" in path
    assert "recipient=" in path


async def test_a_message_is_shown_whole(lab: Lab) -> None:
    """Envelope, headers, text, parts, and the frame that nothing leaves."""
    async with scene(lab) as about:
        found = await page(about.visit, f"messages/{about.letter}")

    for shown in (
        "Invoice 4711 \u2013 due in June",
        "BODY=8BITMIME",
        "the invoice for June is attached",
        "invoice-4711.pdf",
        "application/pdf",
        "<4711@contoso.test>",
        "1 remote reference blocked",
        "nightly-7",
    ):
        assert shown in found.text
    (frame,) = found.all("iframe")
    assert frame.attributes["sandbox"] == ""
    assert frame.attributes["src"] == f"/messages/{about.letter}/html"


async def test_a_message_and_its_parts_can_be_saved(lab: Lab) -> None:
    """Every octet of the message comes back; a part comes decoded, under its own name, and is never shown."""
    async with scene(lab) as about:
        visit, base = about.visit, f"/messages/{about.letter}"
        whole = await visit.client.get(f"{base}/download")
        part = await visit.client.get(f"{base}/parts/3")
        missing = await visit.client.get(f"{base}/parts/99")
        raw = await visit.receiver.journal.raw(about.letter)

    assert whole.content == raw
    assert whole.headers["content-disposition"].startswith(
        f'attachment; filename="message-{about.letter}.eml"'
    )
    assert part.content == b"%PDF-1.4 not really " * 200
    assert 'filename="invoice-4711.pdf"' in part.headers["content-disposition"]
    assert part.headers["content-type"] == "application/octet-stream"
    assert part.headers["content-security-policy"].startswith("sandbox")
    assert missing.status_code == 404


async def test_an_event_has_its_xml_and_its_json(lab: Lab) -> None:
    """Both forms of the details are those that the event log writes."""
    async with scene(lab) as about:
        (event,) = await about.visit.receiver.journal.events()
        found = await page(about.visit, f"events/{event['id']}")

    assert "<EventID Qualifiers='32772'>1035</EventID>" in found.text
    assert f'"session_id": "{about.failed_logon}"' in found.text
    assert "MSExchangeFrontEndTransport" in found.text
    assert "<Computer>mx1.lab.test</Computer>" in found.text


async def test_certificates_are_shown_as_of_a_day(lab: Lab) -> None:
    """Validity and selections are those of the day that is asked for."""
    async with scene(lab) as about:
        now = await page(about.visit, "certificates")
        later = await page(about.visit, "certificates?at=2040-01-01")
        wrong = await page(about.visit, "certificates?at=soon")
        thumbprint = lab.certificate("internal").thumbprint

    assert f"Internal transport certificate: {thumbprint}" in now.text
    assert "days left" in now.text
    assert "not yet valid" in now.text
    assert re.findall(r"expires soon, \d days left", now.text) != []
    assert re.findall(r"expired \d+ days ago", now.text) != []
    assert "12015" not in re.sub(r"If not: [^.]*\.", "", now.text)
    assert "As if it were 2040-01-01" in later.text
    assert "days left" not in later.text
    assert "Hence: Advertised all the same; event 12015." in later.text
    assert any(each.attributes.get("role") == "alert" for each in wrong.elements)


async def test_certificates_say_what_each_connector_would_select(lab: Lab) -> None:
    """A line for each connector, with the certificate of each verb on that day, or the step that ended it."""
    async with scene(lab) as about:
        now = await page(about.visit, "certificates")
        later = await page(about.visit, "certificates?at=2040-01-01")
        thumbprint = lab.certificate("internal").thumbprint

    for found, validity in ((now, r"valid, \d+ days left"), (later, r"expired [\d,]+ days ago")):
        _, _, table = found.text.rpartition("What would be selected")
        table, _, _ = table.partition("The selections, step by step")
        assert re.search(rf"{CONNECTOR} {validity} MX1, {FQDN} {thumbprint} Why {validity}", table), table
        assert f"{CLIENT_CONNECTOR} not advertised: auth mechanism Why" in table


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("unreadable", "could not be read"),
        (None, "names no certificate"),
        ("missing-thumbprint", "which this store does not hold"),
    ],
)
async def test_a_server_without_an_internal_transport_certificate_says_why(
    lab: Lab, directory: str | None, expected: str
) -> None:
    """Unreadable, not set and not in the store are three things."""
    async with visiting(lab, directory=directory) as visit:
        assert expected in (await page(visit, "certificates")).text


async def test_connectors_say_which_one_takes_a_peer(lab: Lab) -> None:
    """The answer is that of the match which sessions go through, for one port or for all."""
    async with scene(lab) as about:
        visit = about.visit
        _, port = visit.receiver.address(CLIENT_CONNECTOR)
        all_ports = await page(visit, "connectors?remote=192.0.2.7")
        one = await page(visit, f"connectors?remote=192.0.2.7&port={port}")
        none = await page(visit, "connectors?remote=2001:db8::7")
        wrong = await page(visit, "connectors?remote=nobody")
        wrong_port = await page(visit, "connectors?remote=192.0.2.7&port=smtp")

    assert all_ports.text.count("match 192.0.2.7") == 2
    assert one.text.count("match 192.0.2.7") == 1
    assert "No connector listens there." in none.text
    assert "'nobody' is not an IP address" in wrong.text
    assert "'smtp' is not a port number" in wrong_port.text


async def test_a_peer_that_nobody_takes_is_told_so(lab: Lab) -> None:
    """A peer outside all ranges is refused, with the reason."""
    async with visiting(lab, connector={"remote_ip_ranges": ["10.0.0.0/8"]}) as visit:
        found = await page(visit, "connectors?remote=192.0.2.7")

    assert "no connector" in found.text
    assert "421 4.3.2 Service not available" in found.text


async def test_empty_lists_teach_the_first_command(lab: Lab) -> None:
    """A receiver that has seen nothing names commands that reach it; a search that finds nothing does not."""
    async with visiting(lab) as visit:
        host, port = visit.receiver.address(CONNECTOR)
        for path in ("sessions", "messages"):
            found = await page(visit, path)
            assert f"swaks --server {host}:{port}" in found.text
        assert "gallery" in (await page(visit, "events")).text
        assert "swaks" not in (await page(visit, "messages?subject=x")).text


async def test_a_receiver_that_keeps_no_mail_says_so(lab: Lab) -> None:
    """Where capture.url is null the page of messages explains why it stays empty."""
    async with visiting(lab, settings={"capture": {"url": None}}) as visit:
        await deliver(visit.receiver)
        assert "Mail is not kept" in (await page(visit, "messages")).text
        await page(visit, "messages/1", status=404)


async def test_faults_are_added_and_removed(lab: Lab) -> None:
    """The form adds one as the API would, a mistake is told, and a session shows what it suffered."""
    async with visiting(lab) as visit:
        url = "/faults"
        host = {"Origin": str(visit.page.url).rstrip("/")}
        wrong = await visit.client.post(url, data={"at": "mail", "kind": "reply"}, headers=host)
        added = await visit.client.post(
            url, data={"at": "mail", "kind": "reply", "code": "451", "text": "<b>later</b>"}, headers=host
        )
        elsewhere = await visit.client.post(f"{url}/delete", headers={"Origin": "http://evil.example.test"})
        async with await greeted(visit.receiver) as peer:
            assert (await peer.ask("MAIL FROM:<a@example.test>"))[0].startswith("451")
            await peer.ask("QUIT")
        shown = await page(visit, "faults")
        (session,) = await visit.receiver.journal.sessions()
        suffered = await page(visit, f"sessions/{session['id']}")
        removed = await visit.client.post(f"{url}/delete", headers=host)
        empty = await page(visit, "faults")

    assert wrong.status_code == 422
    assert "code" in Markup.of(wrong.text).text
    assert added.status_code == removed.status_code == 303
    assert elsewhere.status_code == 403
    assert "reply 451" in shown.text
    assert "<b>later</b>" in shown.text
    assert "Faults that were wanted, and happened" in suffered.text
    assert "No fault is wanted" in empty.text


async def test_one_fault_of_several_is_removed(lab: Lab) -> None:
    """The button of a line removes that one, and none of a list that has changed since it was shown."""
    wanted = [{"at": "mail", "kind": "reply", "code": code} for code in (451, 452, 450)]
    async with visiting(lab) as visit:
        host = {"Origin": str(visit.page.url).rstrip("/")}
        visit.receiver.put_faults(wanted)
        shown = await page(visit, "faults")
        (version,) = {
            str(each.attributes["value"])
            for each in shown.all("input")
            if each.attributes.get("name") == "version"
        }
        given = {"version": version, "position": "1"}
        removed = await visit.client.post("/faults/remove", data=given, headers=host)
        again = await visit.client.post("/faults/remove", data=given, headers=host)
        kept = await visit.get("faults")

    assert removed.status_code == 303
    assert again.status_code == 422
    assert "the list has changed" in Markup.of(again.text).text
    assert [each["fault"]["code"] for each in kept["items"]] == [451, 450]


@pytest.mark.parametrize("fault", EVERYTHING, ids=lambda fault: fault["at"])
async def test_the_form_can_say_all_that_the_api_can(lab: Lab, fault: dict[str, Any]) -> None:
    """Every key has its field, and what is typed into them is the fault that JSON would have been."""
    async with visiting(lab) as visit:
        form = await page(visit, "faults")
        fields = {each.attributes.get("name") for kind in ("input", "select") for each in form.all(kind)}
        typed = {
            key: ", ".join(value) if isinstance(value, list) else str(value) for key, value in fault.items()
        }
        host = {"Origin": str(visit.page.url).rstrip("/")}
        added = await visit.client.post("/faults", data=typed, headers=host)
        shown = await visit.get("faults")

    assert fields == set(FaultShape.model_fields)
    assert added.status_code == 303
    assert [each["fault"] for each in shown["items"]] == [fault]


async def test_a_mistake_in_a_fault_names_its_field(lab: Lab) -> None:
    """By the label that the form has, not by a place in a list; what was typed stays in the form."""
    async with visiting(lab) as visit:
        host = {"Origin": str(visit.page.url).rstrip("/")}
        wrong = {"at": "mail", "kind": "throttle", "remote_ip_ranges": "192.0.2.1, nonsense", "sender": "<>"}
        answer = await visit.client.post("/faults", data=wrong, headers=host)

    told = Markup.of(answer.text)
    assert answer.status_code == 422
    assert "Peers: 'nonsense'" in told.text
    assert "faults[0]" not in told.text
    assert "<>" in {each.attributes.get("value") for each in told.all("input")}


async def test_what_is_not_there_is_told(lab: Lab) -> None:
    """A page that names nothing there is says so, with the way back."""
    async with visiting(lab) as visit:
        for path in (
            "sessions/0123456789abcdef",
            "sessions/nonsense",
            "messages/7",
            "messages/7/html",
            "messages/7/download",
            "messages/7/parts/1",
            "messages/99999999999999999999",
            "messages/<script>",
            "events/7",
            "events/x",
        ):
            found = await page(visit, path, status=404)
            assert "Not found" in found.text


async def test_files_are_kept_until_they_change(lab: Lab) -> None:
    """The style sheet and the scripts come with their types, and a browser need not ask again."""
    async with visiting(lab) as visit:
        found = await page(visit, "sessions")
        files = [str(each.attributes["src"]) for each in found.all("script")]
        files += [str(each.attributes["href"]) for each in found.all("link")]
        answers: list[httpx.Response] = [await visit.client.get(file) for file in files]
        unknown = await visit.client.get("/static/pages.py")
        start = await visit.client.get("/")

    assert len(files) == 4
    assert all(each.status_code == 200 for each in answers)
    assert all("immutable" in each.headers["cache-control"] for each in answers)
    assert unknown.status_code == 404
    assert start.headers["location"] == "/sessions"


async def test_the_newest_message_is_there_at_once(lab: Lab) -> None:
    """What has been acknowledged is in the list that is fetched next."""
    async with visiting(lab) as visit:
        for number in range(1, 4):
            await send(visit.receiver, f"Subject: number {number}\n\n")
            assert f"number {number}" in (await page(visit, "messages")).text
