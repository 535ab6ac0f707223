"""Every path of /api/v1 against a real receiver and real mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.web.api.connectors import Connectors
from smtpd_anontls.web.api.records import Events, Messages, Sessions, WholeMessage, WholeSession
from smtpd_anontls.web.api.selections import Certificates, Selections
from tests.lab import CONNECTOR, SERVER, all_ended, greeted, secured
from tests.web.visiting import deliver, following, visiting

if TYPE_CHECKING:
    from tests.lab import Lab

MULTIPART = """\
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9
--b
Content-Type: text/html
Content-Disposition: attachment; filename="a b'.html"

<script>alert(1)</script>
--b--
""".replace("\n", "\r\n")


async def test_a_session_with_all_that_decided_it(lab: Lab) -> None:
    """A session shows its selections, TLS facts and transcript, and so do the lists."""
    async with visiting(lab) as visit:
        async with await secured(visit.receiver) as peer:
            await peer.ask("QUIT")
        await all_ended(visit.receiver)

        listed = await visit.get("sessions")
        shown = await visit.get(f"sessions/{listed['items'][0]['id']}")

    Sessions.model_validate(listed)
    WholeSession.model_validate(shown)
    assert [each["verb"] for each in shown["selections"]] == ["X-ANONYMOUSTLS", "STARTTLS"]
    assert shown["tls"]["version"] == "TLSv1.2"
    assert {"offset_ms", "mark", "text"} == set(shown["transcript"][0])
    assert "X-ANONYMOUSTLS" in [row["text"] for row in shown["transcript"]]


async def test_a_message_with_its_parts(lab: Lab) -> None:
    """A message shows envelope, parameters, header and parts; each part is decoded."""
    async with visiting(lab) as visit:
        number = await deliver(visit.receiver, content=MULTIPART)

        listed = await visit.get("messages")
        shown = await visit.get(f"messages/{number}")
        text = await visit.client.get(f"messages/{number}/parts/1")
        page = await visit.client.get(f"messages/{number}/parts/2")

    Messages.model_validate(listed)
    WholeMessage.model_validate(shown)
    assert shown["sender"] == "a@example.test"
    assert shown["headers"][0] == {"name": "Subject", "value": "parts"}
    assert [(each["content_type"], each["filename"]) for each in shown["parts"]] == [
        ("text/plain", None),
        ("text/html", "a b'.html"),
    ]
    assert text.content == "café".encode("latin-1")
    assert text.headers["content-type"] == "text/plain; charset=iso-8859-1"
    assert text.headers["content-disposition"] == f"inline; filename*=UTF-8''{number}-1"
    # What could run is a file to save, and runs nothing if it is opened in place.
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b%27.html"
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


async def test_the_message_as_it_was_received(lab: Lab) -> None:
    """Raw is byte for byte what came, has an ETag, and is not sent again to who has it."""
    async with visiting(lab) as visit:
        number = await deliver(visit.receiver, content="Subject: x\r\n\r\n..dots\r\n")
        answer = await visit.client.get(f"messages/{number}/raw")
        again = await visit.client.get(
            f"messages/{number}/raw", headers={"If-None-Match": answer.headers["etag"]}
        )

    assert answer.content == b"Subject: x\r\n\r\n.dots\r\n"
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["content-disposition"] == f'attachment; filename="{number}.eml"'
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"recipient": "B@CONTOSO.test"}, [3, 1], id="recipient in any case"),
        pytest.param({"recipient": "*+ci-7@*"}, [2], id="recipient with wildcards"),
        pytest.param({"sender": "a@*"}, [2, 1], id="sender"),
        pytest.param({"subject": "SECOND"}, [2], id="part of the subject"),
        pytest.param({"header": "x-run-id: ci-8"}, [3], id="header"),
        pytest.param({"run": "ci-7"}, [2], id="run by tag"),
        pytest.param({"run": "ci-8"}, [3], id="run by header"),
        pytest.param({"since": "1"}, [3, 2], id="since an id"),
        pytest.param({"since": "2000-01-01"}, [3, 2, 1], id="since a time"),
        pytest.param({"server": SERVER, "connector": CONNECTOR}, [3, 2, 1], id="place"),
        pytest.param({"server": "mx1"}, [], id="a place is exact"),
        pytest.param({"session": "0123456789abcdef"}, [], id="no such session"),
    ],
)
async def test_filters(lab: Lab, query: dict[str, str], found: list[int]) -> None:
    """The filters mean what they mean on the command line."""
    async with visiting(lab) as visit:
        await deliver(visit.receiver)
        await deliver(visit.receiver, "c+ci-7@contoso.test", content="Subject: the second\r\n\r\n")
        await deliver(visit.receiver, sender="", content="X-Run-Id: ci-8\r\nSubject: third\r\n\r\n")

        listed = await visit.get("messages", **query)

    assert [each["id"] for each in listed["items"]] == found


async def test_pages_stay_what_they_are_while_mail_comes_in(lab: Lab) -> None:
    """A cursor goes on behind its page, whatever has come in front of it."""
    async with visiting(lab) as visit:
        for _ in range(5):
            await deliver(visit.receiver)
        first = await visit.get("messages", limit=2)
        await deliver(visit.receiver)
        second = await visit.get("messages", limit=2, cursor=first["next"])
        third = await visit.get("messages", limit=2, cursor=second["next"])
        sessions = await visit.get("sessions", limit=4)
        rest = await visit.get("sessions", limit=4, cursor=sessions["next"])

    assert [each["id"] for page in (first, second, third) for each in page["items"]] == [5, 4, 3, 2, 1]
    assert third["next"] is None
    assert (len(sessions["items"]), len(rest["items"]), rest["next"]) == (4, 2, None)


async def test_removing(lab: Lab) -> None:
    """What filters take is removed; all of it only where that is said."""
    async with visiting(lab) as visit:
        await deliver(visit.receiver, "b+one@contoso.test")
        await deliver(visit.receiver)

        refused = await visit.problem(422, "DELETE", "messages")
        one = (await visit.client.delete("messages", params={"run": "one"})).json()
        left = await visit.get("messages")
        everything = (await visit.client.delete("messages", params={"all": "true"})).json()

    assert refused["errors"][0]["name"] == "all"
    assert (one, everything) == ({"removed": 1}, {"removed": 1})
    assert [each["id"] for each in left["items"]] == [2]


async def test_events(lab: Lab) -> None:
    """Events are listed, narrowed to a number, and paged."""
    async with visiting(lab, directory="missing-thumbprint") as visit:
        async with await greeted(visit.receiver) as peer:
            await peer.ask("QUIT")
        await all_ended(visit.receiver)
        listed = await visit.get("events", event_id=12013)
        first = await visit.get("events", limit=1)
        second = await visit.get("events", limit=1, cursor=first["next"])
        nothing = await visit.get("events", event_id=12024)

    Events.model_validate(listed)
    assert [each["session_id"] is None for each in listed["items"]] == [False, True]
    assert first["items"] + second["items"] == listed["items"][:2]
    assert nothing == {"items": [], "next": None}


async def test_certificates_of_all_servers(lab: Lab) -> None:
    """Each certificate says whose it is, and which one the directory names."""
    async with visiting(lab, store={"lonely.lab.test": "no-key"}) as visit:
        found = await visit.get("certificates")

    Certificates.model_validate(found)
    by_file = {each["file"]: each for each in found["items"]}
    assert by_file["internal.pem"]["internal_transport"]
    assert not by_file["mx1.lab.test.pem"]["internal_transport"]
    assert by_file["lonely.lab.test.pem"]["private_key"] == "missing"
    assert found["directory"] == [
        {
            "server": SERVER,
            "state": "named",
            "thumbprint": lab.certificate("internal").thumbprint,
            "detail": None,
        }
    ]


@pytest.mark.parametrize(("directory", "state"), [(None, "unset"), ("unreadable", "unreadable")])
async def test_what_the_directory_does_not_name(lab: Lab, directory: str | None, state: str) -> None:
    """Not set and not readable are told apart."""
    async with visiting(lab, directory=directory) as visit:
        found = await visit.get("certificates")

    assert [each["state"] for each in found["directory"]] == [state]
    assert not any(each["internal_transport"] for each in found["items"])


async def test_explaining(lab: Lab) -> None:
    """The selections are run as a session would, at any time, and write no event."""
    async with visiting(lab, store={"internal": "soon"}) as visit:
        both = await visit.get("explain", server=SERVER, connector=CONNECTOR)
        later = await visit.get("explain", verb="X-ANONYMOUSTLS", at="2040-01-01T00:00:00Z")
        wrong = await visit.problem(422, "GET", "explain", params={"at": "tomorrow"})
        misspelt = await visit.problem(422, "GET", "explain", params={"conector": "x"})
        await visit.problem(404, "GET", "explain", params={"server": "MX9"})
        events = await visit.get("events", event_id=12015)

    Selections.model_validate(both)
    assert [each["verb"] for each in both["items"]] == ["X-ANONYMOUSTLS", "STARTTLS"]
    assert later["items"][0]["event_ids"] == [12015]
    assert "is not a time" in wrong["detail"]
    assert misspelt["errors"][0]["name"] == "conector"
    assert events["items"] == []


async def test_changing_a_connector_while_it_runs(lab: Lab) -> None:
    """A change holds from the next session on, keeps the port, and never reaches the file."""
    async with visiting(lab) as visit:
        written = lab.config.read_text()
        address = visit.receiver.address(CONNECTOR)
        path = f"connectors/{SERVER}/{CONNECTOR}"
        changed = await visit.client.patch(path, json={"auth_mechanism": ["Tls"], "max_message_size": "1MB"})
        listed = await visit.get("connectors")
        async with await greeted(visit.receiver) as peer:
            offered = await peer.ask("EHLO edge.lab.test")

        assert changed.status_code == 200, changed.text
        assert changed.json()["auth_mechanism"] == ["Tls"]
        assert listed["items"] == [changed.json()]
        assert "250-X-ANONYMOUSTLS" not in offered
        assert visit.receiver.address(CONNECTOR) == address
        assert lab.config.read_text() == written

        # What the file says holds again when it changes.
        lab.config.write_text(written + "# changed\n")
        again = await visit.get("connectors")

    Connectors.model_validate(listed)
    assert "ExchangeServer" in again["items"][0]["auth_mechanism"]


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        pytest.param(
            {"require_tls": True, "auth_mechanism": "ExchangeServer"},
            "auth_mechanism",
            "require_tls needs Tls; add it",
            id="a rule",
        ),
        pytest.param(
            {"max_message_size": "huge"},
            "max_message_size",
            "'huge' is not a size; write bytes, or a number with KB, MB, GB or TB",
            id="a value",
        ),
        pytest.param(
            {"max_mesage_size": 1},
            "max_mesage_size",
            "unknown key; did you mean max_message_size?",
            id="a key",
        ),
        pytest.param(
            {"name": "Other"}, "name", "a connector keeps its name while it runs; leave it out", id="name"
        ),
        pytest.param({}, "body", "names no property; name one that is to change", id="nothing"),
    ],
)
async def test_a_change_that_does_not_hold(
    lab: Lab, changes: dict[str, object], name: str, sentence: str
) -> None:
    """A broken rule is refused with the sentence of the configuration check, and nothing has changed."""
    async with visiting(lab) as visit:
        before = await visit.get("connectors")
        refused = await visit.problem(422, "PATCH", f"connectors/{SERVER}/{CONNECTOR}", json=changes)
        after = await visit.get("connectors")

    assert {"in": "body", "name": name, "detail": sentence} in refused["errors"]
    assert after == before


async def test_a_binding_that_is_taken_changes_nothing(lab: Lab) -> None:
    """A change of bindings that cannot be listened on is undone, and the connector goes on."""
    async with visiting(lab) as visit:
        assert visit.page.binding is not None
        path = f"connectors/{SERVER}/{CONNECTOR}"
        address = visit.receiver.address(CONNECTOR)
        refused = await visit.problem(409, "PATCH", path, json={"bindings": [str(visit.page.binding)]})
        await visit.problem(404, "PATCH", f"connectors/{SERVER}/Other", json={"enabled": False})
        kept = visit.receiver.address(CONNECTOR)
        await deliver(visit.receiver)

    assert "nothing has changed" in refused["detail"]
    assert kept[0] == address[0]


async def test_what_is_not_there(lab: Lab) -> None:
    """404 and 405 are problem documents, and tell nothing of what lies behind."""
    async with visiting(lab) as visit:
        number = await deliver(visit.receiver)
        for path in (
            "messages/99",
            "messages/99/raw",
            "messages/99/parts/1",
            f"messages/{number}/parts/2",
            "sessions/0123456789abcdef",
            "nothing",
            "../../etc/passwd",
        ):
            await visit.problem(404, "GET", path)
        refused = await visit.client.post("messages")
        assert refused.headers["allow"]
        await visit.problem(405, "POST", "messages")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("messages", {"limit": "0"}),
        ("messages", {"limit": "1001"}),
        ("messages", {"limit": "many"}),
        ("messages", {"cursor": "-1"}),
        ("messages", {"since": "yesterday"}),
        ("messages", {"since": "0123456789abcdef"}),
        ("messages", {"header": "no colon"}),
        ("messages", {"recipent": "a@x"}),
        ("messages", {"recipient": "x" * 513}),
        ("sessions", {"outcome": "splendid"}),
        ("sessions", {"cursor": "17"}),
        ("events", {"event_id": "x"}),
        ("messages/wait", {"count": "0"}),
        ("messages/wait", {"timeout": "nan"}),
        ("messages/first", {}),
        (f"messages/{2**63}", {}),
    ],
)
async def test_what_cannot_be_read(lab: Lab, path: str, query: dict[str, str]) -> None:
    """A parameter that is wrong or unknown is a 422 that names it, never ignored."""
    async with visiting(lab) as visit:
        refused = await visit.problem(422, "GET", path, params=query)

    assert refused["errors"][0]["name"] in {*query, "message_id"}


async def test_a_journal_that_keeps_nothing(lab: Lab) -> None:
    """Without a database sessions and events are shown, and waiting is refused at once."""
    settings = {"capture": {"url": None}, "web": {"bind": "127.0.0.1:0"}}
    async with visiting(lab, settings=settings) as visit:
        async with following(visit, "sessions/stream") as arrivals:
            await deliver(visit.receiver)
            _, ended = await arrivals.next()
        listed = await visit.get("sessions")
        nothing = await visit.get("messages")
        removed = (await visit.client.delete("messages?all=true")).json()
        refused = await visit.problem(409, "GET", "messages/wait")

    assert [each["id"] for each in listed["items"]] == [ended["id"]]
    assert nothing["items"] == []
    assert removed == {"removed": 0}
    assert "capture.url is null" in refused["detail"]
