"""Mail that means harm, or is broken, on the pages: shown as what it is, and never obeyed."""

from __future__ import annotations

import re

import pytest

from smtpd_anontls.web.pages import mail_html
from smtpd_anontls.web.pages.mail import MAX_PARTS, take_apart
from smtpd_anontls.web.pages.message_view import MAX_HEADERS
from tests.lab import Lab, greeted
from tests.web.hostile import CORPUS, message, nested
from tests.web.markup import Markup
from tests.web.scene import HOSTILE, send
from tests.web.visiting import visiting

pytestmark = pytest.mark.slow

# C0 without tab and line ends, C1, and what turns text around.
UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Ours are fetched; nothing else may run.
OWN_SCRIPTS = re.compile(r"/static/(htmx\.min|pages)\.js\?v=[0-9a-f]{12}")


def assert_harmless(page: str) -> Markup:
    """See that a page is well-formed, and holds no script, form target or control character of a peer's."""
    found = Markup.of(page)
    assert found.mistakes == []
    assert UNSAFE.findall(page) == []
    assert all(OWN_SCRIPTS.fullmatch(str(each.attributes.get("src"))) for each in found.all("script"))
    for each in found.elements:
        assert not any(name.startswith("on") for name in each.attributes), each
        for name in ("src", "href", "action", "srcset"):
            value = each.attributes.get(name)
            assert value is None or value.startswith(("/", "#")), each
    return found


@pytest.mark.parametrize("name", CORPUS)
async def test_hostile_mail_is_shown_without_harm(lab: Lab, name: str) -> None:
    """Its page, the lists and the session that brought it are sound, whatever the mail is."""
    async with visiting(lab, connector={"max_header_size": "64MB"}) as visit:
        number = await send(visit.receiver, message(name))
        kept = await visit.receiver.journal.message(number)
        assert kept is not None
        for path in (f"/messages/{number}", "/messages", "/sessions", f"/sessions/{kept['session_id']}"):
            answer = await visit.client.get(path)
            assert answer.status_code == 200
            found = assert_harmless(answer.text)
            assert len(list(found.all("h1"))) == 1
        html = await visit.client.get(f"/messages/{number}/html")
        parts = take_apart(message(name)).parts
        for part in parts[:5]:
            saved = await visit.client.get(f"/messages/{number}/parts/{part.number}")
            assert saved.status_code == 200
            assert saved.headers["content-disposition"].startswith("attachment; ")
            assert "x-evil" not in saved.headers

    assert html.headers["content-security-policy"] == mail_html.POLICY
    assert html.headers["x-content-type-options"] == "nosniff"
    shown = Markup.of(html.text)
    for element in ("script", "link", "meta", "base", "iframe", "object", "embed", "form"):
        assert list(shown.all(element)) == []


async def test_hostile_words_of_a_session_are_shown_without_harm(lab: Lab) -> None:
    """Commands, addresses, and what stands in a filter are text, too."""
    async with visiting(lab) as visit:
        async with await greeted(visit.receiver) as peer:
            await peer.ask(f"NOOP {HOSTILE}")
            await peer.ask('MAIL FROM:<"<b>\'x"@example.test>')
            await peer.ask("\x1b[2J<img src=x>")
            await peer.ask("QUIT")
        (session,) = await visit.receiver.journal.sessions()
        whole = await visit.client.get(f"/sessions/{session['id']}")
        for path in ("sessions", "messages", "events", "connectors", "certificates"):
            query = dict.fromkeys(("remote", "subject", "session", "connector", "at", "port"), f'">{HOSTILE}')
            assert_harmless((await visit.client.get(f"/{path}", params=query)).text)

    found = assert_harmless(whole.text)
    assert "<script>alert(1)</script>\\u202e" in found.text
    assert "\\x1b[2J<img src=x>" in found.text


def test_what_is_nested_is_found_at_the_bottom() -> None:
    """A text 100 multiparts deep is shown; so is one beyond what can be followed, in another way."""
    assert take_apart(nested(100).encode()).text is not None
    deep = take_apart(nested(2000).encode())
    assert deep.notes
    assert deep.parts
    assert b"at the bottom" in deep.parts[0].octets


def test_parts_are_counted_to_an_end() -> None:
    """A message of thousands of parts is cut, which is told."""
    many = take_apart(message("many parts"))

    assert len(many.parts) == MAX_PARTS
    assert any("parts" in note for note in many.notes)


def test_lines_are_looked_at_to_an_end() -> None:
    """Where lines times boundaries become too many, only the first lines are taken apart."""
    header = b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"
    cut = take_apart(header + b"\n" * 1_000_100 + b"--b--\n")

    assert any("up to line 1,000,000" in note for note in cut.notes)
    assert cut.text is not None
    assert 999_000 < cut.text.octets.count(b"\n") <= 1_000_000


def test_file_names_say_where_nothing_else_is_written() -> None:
    """Of a path the last piece is kept, encoded words are read, and controls are escaped."""
    first, second, third = take_apart(message("file names")).parts

    assert first.file_name == "pass\\u202etxt.exe"
    assert second.file_name == 'X-Evil: 1";.svg'
    assert third.file_name == "<script>.txt"
    assert all(each.is_attachment for each in (first, second, third))


def test_a_message_within_a_message_is_one_part() -> None:
    """It can be saved as what it is, and its HTML is not taken for the outer one's."""
    (part,) = take_apart(message("a message in a message")).parts

    assert part.content_type == "message/rfc822"
    assert part.octets.startswith(b"Subject: inner")
    assert part.file_name == "part-1.eml"


@pytest.mark.parametrize("name", ["no boundary", "boundary that never comes"])
def test_a_multipart_without_parts_is_a_text(name: str) -> None:
    """Its body is shown, and what is wrong with it is told."""
    taken = take_apart(message(name))

    assert taken.text is not None
    assert "body" in taken.text.text(1000)
    assert taken.notes


@pytest.mark.parametrize("name", ["unknown charset", "charset that is none", "broken base64"])
def test_text_is_shown_whatever_its_charset(name: str) -> None:
    """What cannot be read as it says is read as UTF-8."""
    text = take_apart(message(name)).text
    assert text is not None

    shown = text.text(1000)

    assert "\x1b" not in shown
    assert shown or name == "broken base64"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<LINK rel=x>", "<x-LINK rel=x>"),
        ("</script>", "</x-script>"),
        ("<script/src=x>", "<x-script/src=x>"),
        ("<scr<script>ipt>", "<scr<x-script>ipt>"),
        ("<formula>", "<formula>"),
        ("<base\n href=x>", "<x-base\n href=x>"),
        ("< script>", "< script>"),
        ("<my-base>", "<my-base>"),
        ("<base-ball>", "<base-ball>"),
    ],
)
def test_elements_that_act_become_unknown_ones(html: str, expected: str) -> None:
    """Wherever a tag could begin, in any case; nothing else is touched."""
    assert mail_html.neutralised(html) == expected


def test_remote_references_are_counted() -> None:
    """Pictures, styles and backgrounds from elsewhere count; embedded ones and links do not."""
    html = (
        '<img src="http://x/1"><img src=//x/2><td background=\'https://x/3\'><p style="background:url(http://x/4)">'
        '<img src="data:image/gif;base64,AA"><img src="cid:a"><a href="http://x/">x</a>'
    )

    assert mail_html.remote_references(html) == 4


async def test_headers_are_shown_to_an_end(lab: Lab) -> None:
    """Of thousands of headers the first are shown, and the others are counted."""
    async with visiting(lab, connector={"max_header_size": "64MB"}) as visit:
        number = await send(visit.receiver, message("many headers"))
        found = Markup.of((await visit.client.get(f"/messages/{number}")).text)

    assert "X-150" in found.text
    assert f"X-{MAX_HEADERS + 5}" not in found.text.partition("Raw")[0]
    assert "more are not shown" in found.text
