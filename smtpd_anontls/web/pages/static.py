"""The style sheet, the scripts and the icon: read once, kept by browsers until they change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import APIRouter

_FOLDER = Path(__file__).parent.parent / "static"
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "pages.css": "text/css; charset=utf-8",
        "pages.js": "text/javascript; charset=utf-8",
        "htmx.min.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
)
_HEADERS = {"X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """The files of the pages by their names."""

    contents: Mapping[str, bytes]

    @classmethod
    def read(cls) -> StaticFiles:
        """Read them from the package."""
        return cls(MappingProxyType({name: (_FOLDER / name).read_bytes() for name in _TYPES}))

    def url(self, name: str) -> str:
        """Return the address of *name*, another one for each content."""
        return f"/static/{name}?v={hashlib.sha256(self.contents[name]).hexdigest()[:12]}"

    def add_to(self, router: APIRouter) -> None:
        """Serve them."""
        router.add_api_route("/static/{name}", self.serve, methods=["GET"], response_model=None)

    async def serve(self, name: str) -> Response:
        """Return one of them."""
        if name not in self.contents:
            return PlainTextResponse("There is no such file.\n", status_code=404, headers=_HEADERS)
        kept = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self.contents[name], media_type=_TYPES[name], headers={**_HEADERS, **kept})
