"""The door of the page: what a request must be like before anything answers it.

A browser on the operator's machine is the attacker's tool: it sends what any page tells it to.  So
the Host header must be one of ours (DNS rebinding), and what changes something must come from this
origin (cross-site requests).  Each answer says that nothing of it may be run, framed or sniffed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from smtpd_anontls.web.problems import BROKEN, TOO_LARGE, problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from smtpd_anontls.settings.values import WebSettings
    from smtpd_anontls.web.access import Access

log = logging.getLogger("smtpd_anontls")

LARGEST_BODY = 64 * 1024
OPEN_PATHS = frozenset({"/healthz"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# A page that is shown may allow itself more.
_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets through to *app* what may come in, and seals what goes out."""

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, access: Access | None, body_timeout: float
    ) -> None:
        self._app = app
        self._body_timeout = body_timeout
        self._access = access
        self._hosts = {"localhost", "127.0.0.1", "::1", *map(str.lower, settings.allowed_hosts)}
        if settings.bind is not None:
            self._hosts.add(str(settings.bind.address))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever becomes of it."""
        if scope["type"] != "http":
            return
        has_begun = False

        async def sealed(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._admit(scope, receive, sealed)
        except Exception:
            # The edge: the operator gets the traceback, the client a number.
            log.exception("%s %s could not be answered", scope["method"], scope["path"])
            if not has_begun:
                broken = problem(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)
                await broken(scope, receive, sealed)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal = self._refused_host(scope, headers)
        if refusal is None:
            refusal = await self._refused_user(scope, headers)
        if refusal is None:
            refusal = _refused_origin(scope, headers)
        body: Receive | None = None
        if refusal is None:
            body, refusal = await _read_body(headers, receive, self._body_timeout)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, body or receive, send)

    def _refused_host(self, scope: Scope, headers: Headers) -> Response | None:
        host = _host_of(headers.get("host", ""))
        # The address at which the connection arrived is no name that somebody could point here.
        arrived = (scope.get("server") or ("",))[0]
        if host in self._hosts or (_is_address(host) and host == arrived):
            return None
        return problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            "the Host header names none of this page's hosts; add the name to web.allowed_hosts",
        )

    async def _refused_user(self, scope: Scope, headers: Headers) -> Response | None:
        if self._access is None or scope["path"] in OPEN_PATHS:
            return None
        if await self._access.admits(headers.get("authorization")):
            return None
        response = problem(HTTPStatus.UNAUTHORIZED, "say who you are: web.auth asks for it")
        for challenge in self._access.challenges:
            response.headers.append("www-authenticate", challenge)
        return response


def _refused_origin(scope: Scope, headers: Headers) -> Response | None:
    """Return the refusal of a change that another site's page asks for (Origin, Sec-Fetch-Site)."""
    if scope["method"] in _SAFE_METHODS:
        return None
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    host = headers.get("host", "").lower()
    if origin is not None and origin.lower() not in {f"http://{host}", f"https://{host}"}:
        return problem(HTTPStatus.FORBIDDEN, "the Origin header is another site's")
    if site not in {None, "same-origin", "none"}:
        return problem(HTTPStatus.FORBIDDEN, "the Sec-Fetch-Site header says that another site asks")
    return None


async def _read_body(
    headers: Headers, receive: Receive, seconds: float
) -> tuple[Receive | None, Response | None]:
    """Read the whole body where there is one, within its limits; return what hands it out again, or a refusal."""
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return None, None
    # The connection stays: closed with octets unread, it would take the answer with it.
    too_large = problem(TOO_LARGE, f"the body is over {LARGEST_BODY} octets")
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > LARGEST_BODY:
        return None, too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    break
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    return None, too_large
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        late = f"the body did not come within {seconds:g} seconds"
        return None, problem(HTTPStatus.REQUEST_TIMEOUT, late, headers={"connection": "close"})
    return _once(bytes(body), receive), None


def _once(body: bytes, receive: Receive) -> Receive:
    """Return what hands out *body*, and then whatever else comes."""
    is_out = False

    async def receive_again() -> Message:
        nonlocal is_out
        if is_out:
            return await receive()
        is_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _host_of(written: str) -> str:
    """Return the host of a Host header, without port and brackets, in lower case."""
    host = written.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
