"""The pages in a real browser: usable by everybody, in both colour schemes, narrow, and alone in the world."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.async_api import expect

from tests.web.browser.chromium import axe, chromium
from tests.web.hostile import CORPUS, message
from tests.web.scene import scene, send
from tests.web.test_pages import every_page
from tests.web.visiting import visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, BrowserContext, Page

    from tests.lab import Lab
    from tests.web.visiting import Visit

pytestmark = pytest.mark.slow

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_WIDTH = "document.documentElement.scrollWidth"
_RUN_AXE = "async rules => (await axe.run(document, {runOnly: rules, iframes: false})).violations"


class Watched:
    """A tab, and what it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))

    async def open(self, visit: Visit, path: str) -> None:
        """Go to a page of ours and wait for all that it loads."""
        answer = await self.page.goto(f"{visit.page.url}{path}")
        assert answer is not None
        assert answer.status == 200, path

    def elsewhere(self, visit: Visit) -> list[str]:
        """Return what was asked for that is not ours."""
        return [url for url in self.requests if not url.startswith(str(visit.page.url))]


@asynccontextmanager
async def tab(browser: Browser, **options: Any) -> AsyncIterator[Watched]:
    """Open a tab of a browser that remembers nothing."""
    context: BrowserContext = await browser.new_context(**options)
    try:
        yield Watched(await context.new_page())
    finally:
        await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
async def test_every_page_is_for_everybody(lab: Lab, scheme: Literal["light", "dark"], width: int) -> None:
    """axe-core finds nothing, nothing is wider than the window, nothing is asked of another host, no policy is broken."""
    rules = await asyncio.to_thread(axe)
    async with scene(lab) as about, chromium() as browser:
        visit = about.visit
        visit.receiver.put_faults([{"at": "mail", "kind": "reply", "code": 451, "count": 1}])
        pages = [
            *await every_page(about),
            "messages?subject=nothing-like-it",
            "sessions?remote=x&outcome=fine",
        ]
        async with tab(browser, color_scheme=scheme, viewport={"width": width, "height": 900}) as watched:
            for path in pages:
                await watched.open(visit, path)
                # What is folded away is looked at, too.
                await watched.page.evaluate(
                    "document.querySelectorAll('details').forEach(each => each.open = true)"
                )
                await watched.page.evaluate(rules)
                violations = await watched.page.evaluate(_RUN_AXE, _RULES)
                found = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in violations]
                assert found == [], f"{path} ({scheme}, {width} pixels)"
                for narrower in (width, width - 120, width - 80):
                    await watched.page.set_viewport_size({"width": narrower, "height": 900})
                    assert await watched.page.evaluate(_WIDTH) <= narrower, f"{path} ({narrower} pixels)"
                await watched.page.set_viewport_size({"width": width, "height": 900})
            # The picture of the letter is what the frame's policy keeps from being loaded.
            others = [said for said in watched.complaints if "pictures.example.test" not in said]
            assert others == []
            assert [url for url in watched.elsewhere(visit) if "pictures.example.test" not in url] == []


async def test_no_mail_reaches_out_or_runs(lab: Lab) -> None:
    """Whatever mail says, no host is connected to, no script runs, and neither page nor frame goes elsewhere."""
    connections = 0

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    elsewhere = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    async with (
        elsewhere,
        visiting(lab, connector={"max_header_size": "64MB"}) as visit,
        chromium() as browser,
        tab(browser) as watched,
    ):
        numbers = {name: await send(visit.receiver, message(name, port)) for name in CORPUS}
        page = watched.page
        for number in numbers.values():
            await watched.open(visit, f"messages/{number}")
            assert not (await page.title()).startswith("hacked")
        await watched.open(visit, f"messages/{numbers['html']}")
        frame = page.frame_locator("iframe.mail")
        await expect(frame.get_by_text("Hello")).to_be_visible()
        await frame.get_by_text("click me").click()
        await frame.get_by_text("Log on").click()
        assert page.url == f"{visit.page.url}messages/{numbers['html']}"
        # By itself, too, the document is in its sandbox.
        await watched.open(visit, f"messages/{numbers['html']}/html")
        assert await page.evaluate("self.origin") == "null"
        assert await page.title() != "hacked"
        for path in ("messages", "sessions"):
            await watched.open(visit, path)

    assert connections == 0
    assert [said for said in watched.complaints if said.startswith("dialog")] == []


async def test_lists_follow_what_happens(lab: Lab) -> None:
    """A new message appears by itself, the focus stays where it was, and following can be switched off."""
    async with visiting(lab) as visit, chromium() as browser, tab(browser) as watched:
        page = watched.page
        await send(visit.receiver, "Subject: first\n\n")
        await watched.open(visit, "messages")
        await page.get_by_role("link", name="first").focus()

        await send(visit.receiver, "Subject: second\n\n")

        await expect(page.get_by_role("link", name="second")).to_be_visible()
        await expect(page.get_by_role("link", name="first")).to_be_focused()
        switch = page.get_by_role("button", name="Follow")
        await switch.click()
        await expect(switch).to_have_attribute("aria-pressed", "false")
        await send(visit.receiver, "Subject: third\n\n")
        await expect(page.get_by_role("link", name="third")).to_have_count(0)
        await switch.click()
        await expect(page.get_by_role("link", name="third")).to_be_visible()
        assert watched.complaints == []


async def test_pages_are_used_by_keyboard(lab: Lab) -> None:
    """The first stop skips to the content; the form is filled, sent and answered without a mouse."""
    async with scene(lab) as about, chromium() as browser, tab(browser) as watched:
        page = watched.page
        await watched.open(about.visit, "sessions")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await page.get_by_label("Peer").focus()
        await page.keyboard.type("192.0.2.1")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="No such session")).to_be_visible()
        await page.get_by_role("link", name="Show all sessions").press("Enter")
        await expect(page.get_by_role("row")).to_have_count(7)
        assert watched.complaints == []


async def test_pages_do_without_javascript(lab: Lab) -> None:
    """Lists, forms and what is folded away work where no script runs; what would need one is not shown."""
    async with (
        scene(lab) as about,
        chromium() as browser,
        tab(browser, java_script_enabled=False) as watched,
    ):
        page = watched.page
        await watched.open(about.visit, "sessions")
        await expect(page.get_by_role("button", name="Follow")).to_have_count(0)
        await page.get_by_label("Outcome").select_option("completed")
        await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("row")).to_have_count(2)
        await page.get_by_role("link", name=about.anonymous_tls).click()
        await page.get_by_text("cipher suites offered").click()
        await expect(page.get_by_text("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384").first).to_be_visible()


@pytest.mark.parametrize("tls", [None, {"certificate": "by_name"}], ids=["HTTP", "HTTPS"])
async def test_faults_are_added_and_removed_in_the_browser(lab: Lab, tls: dict[str, str] | None) -> None:
    """The form's own origin opens the door to what changes something."""
    async with (
        visiting(lab, web={"tls": tls}) as visit,
        chromium() as browser,
        tab(browser, ignore_https_errors=True) as watched,
    ):
        page = watched.page
        await watched.open(visit, "faults")
        await page.get_by_label("At", exact=True).select_option("mail")
        await page.get_by_label("Kind").select_option("reply")
        await page.get_by_label("Reply code").fill("451")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("cell", name="reply 451", exact=True)).to_be_visible()
        await page.get_by_label("At", exact=True).select_option("end of data")
        await page.get_by_label("Kind").select_option("drop")
        await page.get_by_role("button", name="Add").click()
        await page.get_by_role("button", name="Remove fault 1: reply 451").click()
        await expect(page.get_by_role("button", name="Remove fault")).to_have_count(1)
        await expect(page.get_by_role("row", name="end of data")).to_be_visible()
        await page.get_by_role("button", name="Remove all").click()
        await expect(page.get_by_role("heading", name="No fault is wanted")).to_be_visible()
        assert watched.complaints == []
