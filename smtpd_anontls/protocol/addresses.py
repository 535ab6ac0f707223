"""The paths of MAIL and RCPT: RFC 5321 sections 4.1.2 and 4.5.3.1.

Exchange also takes an address without angle brackets, and Microsoft's telnet walk-through
writes it so; a source route is read and dropped, as RFC 5321 appendix C asks.
"""

from __future__ import annotations

import ipaddress
import re

MAX_LOCAL_PART = 64
MAX_DOMAIN = 255
MAX_PATH = 256

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_STRING = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
# An underscore is no letter of RFC 5321, but hosts on Windows networks have it.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[\x21-\x5a\x5e-\x7e]+\]"
_MAILBOX = rf"(?P<local>{_DOT_STRING}|{_QUOTED})@(?P<domain>{_DOMAIN}|{_LITERAL})"
_ROUTE = rf"@{_DOMAIN}(?:,@{_DOMAIN})*:"

# Nearly every path is this; one expression settles it.  ASCII: without it the Kelvin sign is a "k"
# in any case.
_PATH = re.compile(
    rf"[ \t]*(?:<(?:{_ROUTE})?{_MAILBOX}>|(?P<null><>)|<(?P<postmaster>postmaster)>)",
    re.IGNORECASE | re.ASCII,
)
_BARE = re.compile(rf"[ \t]*{_MAILBOX}(?=[ \t]|\Z)")
_HELLO = re.compile(rf"{_DOMAIN}\.?|{_LITERAL}")


class AddressError(ValueError):
    """The text is no path."""


def parse_path(text: str) -> tuple[str, str]:
    """Return the address and what follows it; the address is empty for the null path ``<>``.

    Raise AddressError where *text* does not begin with a path within RFC 5321's limits.
    """
    found = _PATH.match(text)
    if found is None:
        found = _BARE.match(text)
        if found is None:
            raise AddressError("no path")
    elif found["null"]:
        return "", _rest(text, found)
    elif found["postmaster"]:
        # RFC 5321 section 4.1.1.3: the one mailbox without a domain.
        return found["postmaster"], _rest(text, found)
    local, domain = found["local"], found["domain"]
    if len(local) > MAX_LOCAL_PART or len(domain) > MAX_DOMAIN:
        raise AddressError("too long")
    if len(local) + len(domain) + 3 > MAX_PATH or not _domain_is_sound(domain):
        raise AddressError("not a path")
    return f"{local}@{domain}", _rest(text, found)


def is_hello_name(text: str) -> bool:
    """Whether *text* may stand behind EHLO: a domain, or an address literal (RFC 5321 section 4.1.1.1)."""
    return (
        len(text) <= MAX_DOMAIN and _HELLO.fullmatch(text) is not None and _domain_is_sound(text.rstrip("."))
    )


def _rest(text: str, found: re.Match[str]) -> str:
    rest = text[found.end() :]
    if rest and rest[0] not in " \t":
        raise AddressError("text behind the path")
    return rest.strip(" \t")


def _domain_is_sound(domain: str) -> bool:
    if not domain.startswith("["):
        return all(len(label) <= 63 for label in domain.split("."))  # noqa: PLR2004 - RFC 1035 section 2.3.4
    literal = domain[1:-1]
    try:
        if literal[:5].casefold() == "ipv6:":
            # RFC 5321 section 4.1.3 knows no scope, the "%eth0" of RFC 4007.
            return ipaddress.IPv6Address(literal[5:]).scope_id is None
        ipaddress.IPv4Address(literal)
    except ValueError:
        return False
    return True
