"""The journal of a receiver that runs elsewhere, asked over HTTP: the same as JournalReader, for the commands."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import fields
from datetime import datetime
from enum import Enum
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from smtpd_anontls.cli.journals import RefusedError
from smtpd_anontls.client.trust import context_that_trusts, tls_problem
from smtpd_anontls.domain.filters import EVERYTHING
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.journal.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.domain.records import Json

# What one page has, and one wait takes, at most.
_MOST = 1000
_LONGEST_WAIT = 300.0
# Seconds without a sign of life.
_PATIENCE = 30.0
_LARGEST_PROBLEM = 1024**2


class _NoRedirects(HTTPRedirectHandler):
    """Follows nobody elsewhere: the token is meant for one receiver."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Return nothing, which makes the answer an error."""


class RemoteJournal:
    """What the receiver at *url* has recorded; JournalError says why it could not be asked."""

    def __init__(self, url: str, token: str | None, ca_file: Path | None) -> None:
        """Take a URL, in which a user and a password may stand; ValueError names the option, and what would do."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("--url: is not a URL; write one such as http://127.0.0.1:8025")
        self._headers = {"Accept": "application/json"}
        host = parts.netloc.rpartition("@")[2]
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif parts.username is not None:
            credentials = f"{parts.username}:{parts.password or ''}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        # Without what may be secret in it.
        self._shown = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        if ca_file is not None and parts.scheme != "https":
            raise ValueError("--ca-file: goes with a --url that begins with https://")
        try:
            trusting = HTTPSHandler(context=context_that_trusts(ca_file))
        except ValueError as error:
            raise ValueError(f"--ca-file: {error}") from None
        # No proxy of the environment either gets to see it.
        self._opener = build_opener(ProxyHandler({}), _NoRedirects(), trusting)

    def messages(self, wanted: Filter = EVERYTHING, *, limit: int = 50) -> list[Json]:
        """Return messages that *wanted* takes, the newest first."""
        return self._pages("messages", wanted, limit)

    def sessions(self, wanted: Filter = EVERYTHING, *, limit: int = 50) -> list[Json]:
        """Return sessions that *wanted* takes, the newest first."""
        return self._pages("sessions", wanted, limit)

    def events(self, wanted: Filter = EVERYTHING, *, limit: int = 50) -> list[Json]:
        """Return events that *wanted* takes, the newest first."""
        return self._pages("events", wanted, limit)

    def message(self, message_id: int) -> Json | None:
        """Return a message with its parameters and its header; None where there is none."""
        found = self._one(f"messages/{message_id}")
        if found is not None:
            # The journal itself does not know of parts.
            found.pop("parts", None)
        return found

    def session(self, session_id: str) -> Json | None:
        """Return a session with its transcript; None where there is none."""
        return self._one(f"sessions/{quote(session_id, safe='')}")

    def raw(self, message_id: int) -> bytes | None:
        """Return a message byte for byte as it was received; None where there is none."""
        try:
            return self._octets(f"messages/{message_id}/raw")
        except _MissingError:
            return None

    def ended_sessions(self, wanted: Filter) -> Iterator[Json]:
        """Yield, without end, the sessions that *wanted* takes as they end; those of before only where it says since."""
        return self._follow("sessions/stream", wanted)

    def coming_events(self, wanted: Filter) -> Iterator[Json]:
        """Yield, without end, the events that *wanted* takes as they come; those of before only where it says since."""
        return self._follow("events/stream", wanted)

    def wait(self, wanted: Filter, *, count: int, limit: int, timeout: float) -> list[Json]:
        """Return up to *limit* messages that *wanted* takes once there are *count*, or after *timeout* seconds."""
        if count > _MOST:
            raise RefusedError(
                f"--count: {count} is out of range; with --url at most {_MOST} can be waited for"
            )
        end = time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            patience = min(left, _LONGEST_WAIT)
            query = {**_terms(wanted), "count": count, "timeout": patience}
            try:
                found: list[Json] = self._load("messages/wait", query, patience=_PATIENCE + patience)["items"]
            except _LateError as late:
                if left > patience:
                    continue
                return late.items
            return self.messages(wanted, limit=limit) if limit > count else found

    def purge(self, wanted: Filter, *, until: datetime | None = None) -> int:
        """Remove the messages that *wanted* takes and return how many."""
        if until is not None:
            raise RefusedError("--older-than does not go with --url; narrow it with a filter")
        query = {**_terms(wanted), **({"all": "true"} if wanted == EVERYTHING else {})}
        removed: int = self._load("messages", query, method="DELETE")["removed"]
        return removed

    def _pages(self, path: str, wanted: Filter, limit: int) -> list[Json]:
        items: list[Json] = []
        cursor: dict[str, str] = {}
        while len(items) < limit:
            query = {**_terms(wanted), **cursor, "limit": min(limit - len(items), _MOST)}
            page = self._load(path, query)
            items += page["items"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        return items

    def _one(self, path: str) -> Json | None:
        try:
            return self._load(path)
        except _MissingError:
            return None

    def _follow(self, path: str, wanted: Filter) -> Iterator[Json]:
        # Now, not when the first one is asked for.
        answer = self._ask(path, _terms(wanted))
        return self._items(answer)

    def _items(self, answer: HTTPResponse) -> Iterator[Json]:
        try:
            with answer:
                for line in answer:
                    if line.startswith(b"data: "):
                        yield json.loads(line.removeprefix(b"data: "))
        except (OSError, HTTPException) as error:
            raise JournalError(f"{self._shown}: the connection broke off ({_reason(error)})") from error
        raise JournalError(f"{self._shown}: the receiver has closed the connection")

    def _load(self, path: str, query: Mapping[str, object] | None = None, **how: Any) -> Json:
        try:
            found = json.loads(self._octets(path, query, **how))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise JournalError(f"{self._shown}: this is no receiver's page: its answer is no JSON object")
        return found

    def _octets(self, path: str, query: Mapping[str, object] | None = None, **how: Any) -> bytes:
        try:
            with self._ask(path, query, **how) as answer:
                return answer.read()
        except (OSError, HTTPException) as error:
            raise JournalError(f"{self._shown}: the connection broke off ({_reason(error)})") from error

    def _ask(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        method: str = "GET",
        patience: float = _PATIENCE,
    ) -> HTTPResponse:
        url = f"{self._shown}/api/v1/{path}?{urlencode(query or {})}"
        request = Request(url, headers=self._headers, method=method)  # noqa: S310 - http or https
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=patience)
        except HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (URLError, OSError, HTTPException) as error:
            raise JournalError(f"{self._shown}: cannot be reached ({_reason(error)})") from error
        return answer

    def _refusal(self, error: HTTPError) -> Exception:
        problem = _problem(error)
        detail = printable(str(problem.get("detail", error.reason)))
        match error.code:
            case HTTPStatus.NOT_FOUND if problem:
                return _MissingError()
            case HTTPStatus.REQUEST_TIMEOUT if "items" in problem:
                return _LateError(problem["items"])
            case HTTPStatus.UNAUTHORIZED:
                return JournalError(f"{self._shown}: asks who you are; set SMTPD_ANONTLS_TOKEN to its token")
            case 422:
                return RefusedError(detail)
        return JournalError(f"{self._shown}: answered {error.code}: {detail}")


class _MissingError(Exception):
    """There is nothing at this path."""


class _LateError(Exception):
    """They did not come in time."""

    def __init__(self, items: list[Json]) -> None:
        super().__init__()
        self.items = items


def _problem(error: HTTPError) -> Json:
    """Return the problem document of an answer; empty where it is none, as of somebody else's server."""
    if error.headers.get_content_type() != "application/problem+json":
        return {}
    try:
        found: Any = json.loads(error.read(_LARGEST_PROBLEM))
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _terms(wanted: Filter) -> dict[str, str]:
    """Return a filter as query parameters."""
    given = {term.name: getattr(wanted, term.name) for term in fields(wanted)}
    return {name: _written(value) for name, value in given.items() if value is not None}


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value.value) if isinstance(value, Enum) else str(value)


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if (why := tls_problem(reason)) is not None:
        return printable(why)
    return printable(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)
