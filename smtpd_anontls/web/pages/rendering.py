"""Templates to pages.

Whatever a template prints passes through ``shown`` and then through autoescape: no page can forget to
escape what a peer sent.  What is laid out in several lines goes through the filter ``verbatim``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from smtpd_anontls import __version__
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from smtpd_anontls.web.pages.static import StaticFiles

_TEMPLATES = Path(__file__).parent.parent / "templates"
_SECONDS = 19  # Characters of 2027-06-01T12:00:00.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # With no-referrer a browser would hide from where a form of ours comes, and the door would not take it.
    "Referrer-Policy": "same-origin",
    # What happened changes all the time, and may be confidential.
    "Cache-Control": "no-store",
}


class Renderer:
    """Makes pages of templates."""

    def __init__(self, static: StaticFiles) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            finalize=shown,
        )
        self._environment.globals.update(static=static.url, version=__version__)
        self._environment.filters.update(verbatim=verbatim, clock=clock, octets=octets, words=words)

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page."""
        html = self._environment.get_template(template).render(values)
        return HTMLResponse(html, status_code=status, headers=_HEADERS)

    def not_found(self, what: str, list_url: str) -> HTMLResponse:
        """Return the page that says that there is no such thing, and where to look for others."""
        return self.page("not_found.html", status=404, what=what, list_url=list_url)


def shown(value: object) -> object:
    """Return *value* as a person may see it: text without control characters and bidirectional controls."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value)
    return value


def verbatim(text: str) -> Markup:
    """Return *text* with its line ends and tabs, all other control characters escaped."""
    lines = text.replace("\r\n", "\n").split("\n")
    return Markup("\n").join(escape("\t".join(map(printable, line.split("\t")))) for line in lines)


def clock(instant: str | None) -> str:
    """Return an instant of a record to the second, in UTC, as lists show it."""
    return "" if instant is None else instant[:_SECONDS].replace("T", " ")


def words(name: str) -> str:
    """Return a name of the records as a person reads it."""
    return name.replace("_", " ").replace(" tls ", " TLS ")


def octets(size: int) -> str:
    """Return a size as a person reads it."""
    for unit, factor in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} byte" + ("" if size == 1 else "s")
