"""The HTML of a message, fit to be shown in a frame of its own.

The wall is the Content-Security-Policy of the answer: a sandbox without scripts, forms, pop-ups and an
origin, into which nothing is loaded but ``data:`` images.  It does not govern what a browser may do ahead
of a load (``preconnect``, ``dns-prefetch``) nor what a document says of itself (``refresh``, ``base``), so
the elements that can say so become unknown ones.  That needs no parser: a tag begins with ``<`` and its
name, with nothing in between, wherever it stands.
"""

from __future__ import annotations

import re

# No header of its own may weaken this one: policies add up.
POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Disposition": "inline",
}

_TAGS = re.compile(
    r"<(/?)(link|meta|base|script|noscript|template|iframe|frame|frameset|object|embed|applet|portal|fencedframe|"
    r"form|plaintext)(?![a-z0-9-])",
    re.IGNORECASE,
)
_REMOTE = re.compile(
    r"""(?:\b(?:src|srcset|background|poster)\s*=\s*["']?|url\(\s*["']?)\s*(?:https?:)?//""", re.IGNORECASE
)


def neutralised(html: str) -> str:
    """Return *html* without the elements that act before or beside loading."""
    return _TAGS.sub(r"<\1x-\2", html)


def remote_references(html: str) -> int:
    """Return how many pictures and the like it would load from elsewhere."""
    return sum(1 for _ in _REMOTE.finditer(html))
