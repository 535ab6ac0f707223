"""A receiver with its page, a client of both, and a mail that goes in."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from smtpd_anontls.web.page import Page
from smtpd_anontls.web.patience import Patience
from tests.lab import CONNECTOR, greeted
from tests.peer import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

Json = dict[str, Any]

PROBLEM = "application/problem+json"
# A client otherwise reads all of the system's authorities, though none of them is asked.
_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Client(httpx.AsyncClient):
    """A client whose relative paths begin at /api/v1/."""

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """Return the request."""
        path = str(url)
        return super().build_request(method, path if path.startswith("/") else f"/api/v1/{path}", **options)


@dataclass(frozen=True)
class Visit:
    """A running receiver, its page, and a client."""

    receiver: Receiver
    page: Page
    client: Client

    async def get(self, path: str, **query: Any) -> Json:
        """Return what a path answers with 200."""
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def problem(self, status: int, method: str, path: str, **options: Any) -> Json:
        """Return the problem document that a request ends with."""
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == PROBLEM
        found: Json = answer.json()
        assert found["status"] == status
        assert found["type"] == "about:blank"
        assert found["detail"]
        return found


@asynccontextmanager
async def visiting(
    lab: Lab, *, web: Json | None = None, patience: Patience | None = None, **overlay: Any
) -> AsyncIterator[Visit]:
    """Run a receiver of *lab* with its page on a free port, and a client."""
    settings = {"web": {"bind": "127.0.0.1:0", **(web or {})}, **overlay.pop("settings", {})}
    async with (
        lab.receiver(settings=settings, **overlay) as receiver,
        Page(receiver, patience=patience or Patience()) as page,
        Client(base_url=page.url or "", timeout=PATIENCE, trust_env=False, verify=_NOBODY) as client,
    ):
        yield Visit(receiver, page, client)


async def deliver(
    receiver: Receiver,
    recipient: str = "b@contoso.test",
    *,
    sender: str = "a@example.test",
    content: str = "Subject: hello\r\n\r\nbody\r\n",
) -> int:
    """Send a mail and return its id."""
    async with await greeted(receiver) as peer:
        assert (await peer.ask(f"MAIL FROM:<{sender}>"))[0].startswith("250 ")
        assert (await peer.ask(f"RCPT TO:<{recipient}>"))[0].startswith("250 ")
        assert (await peer.ask("DATA"))[0].startswith("354 ")
        await peer.send(content.encode() + b".\r\n")
        (line,) = await peer.reply()
        assert line.startswith("250 2.6.0 "), line
        await peer.ask("QUIT")
    return int(line.partition("InternalId=")[2].partition(",")[0])


@dataclass
class Arrivals:
    """The server-sent events of one stream."""

    lines: AsyncIterator[str]

    async def next(self) -> tuple[int, Json]:
        """Return the id and the data of the next event; comments are passed over."""
        number, data = None, None
        async for line in self.lines:
            field, _, value = line.partition(": ")
            if field == "id":
                number = int(value)
            elif field == "data":
                data = json.loads(value)
            elif not line and number is not None:
                assert data is not None
                return number, data
        raise AssertionError("the stream ended")


@asynccontextmanager
async def following(
    visit: Visit, path: str, last: int | None = None, **query: Any
) -> AsyncIterator[Arrivals]:
    """Follow a stream; *last* is the Last-Event-ID."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with visit.client.stream("GET", path, params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        # It is being followed from here on.
        assert await anext(lines) == "retry: 2000"
        yield Arrivals(lines)


__all__ = ["CONNECTOR", "PROBLEM", "Arrivals", "Visit", "deliver", "following", "visiting"]


def address(visit: Visit) -> tuple[str, int]:
    """Return where the page listens."""
    assert visit.page.binding is not None
    return str(visit.page.binding.address), visit.page.binding.port


async def all_heard(visit: Visit, octets: bytes) -> bytes:
    """Send *octets* to the page in clear, and return what comes until it closes."""
    reader, writer = await asyncio.open_connection(*address(visit))
    try:
        writer.write(octets)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
