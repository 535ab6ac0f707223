"""The paths of MAIL and RCPT: RFC 5321 sections 4.1.2, 4.1.3 and 4.5.3.1, and RFC 6531 section 3.3.

Exchange also takes an address without angle brackets, and Microsoft's telnet walk-through
writes it so; a source route is read and dropped, as RFC 5321 appendix C asks.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from unicodedata import category

# What text beyond US-ASCII may hold: RFC 6531 takes any UTF-8.  Left out are C1 controls, line and
# paragraph separators, bidirectional controls, and the surrogates that stand for octets that are no UTF-8.
UTF8_NON_ASCII = (
    r"\xa0-\u061b\u061d-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\U0010ffff"  # Within [].
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an address may be, in octets of UTF-8; a path is its address in brackets."""

    local_part: int
    address: int


# RFC 5321 section 4.5.3.1: a local part has 64 octets, a path 256.  Set-ReceiveConnector grants a complete
# address 571 characters; a test receiver is of more use where it finds what other servers would refuse.
MAX_DOMAIN = 255
USUAL_LIMITS = Limits(local_part=64, address=254)
# Set-ReceiveConnector, LongAddressesEnabled: "X.400 email addresses can be up to 1,860 characters long
# after IMCEA encapsulation"; all of that but the domain is the local part.
LONG_LIMITS = Limits(local_part=1860, address=1860)
_MAX_LABEL = 63  # RFC 1035 section 2.3.4.

# The quantifiers give nothing back, so that each expression is as fast on nonsense as on an address.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]++|\\[\x20-\x7e])*+"'
# An underscore is no letter of RFC 5321, but hosts on Windows networks have it.
_LABEL = r"[A-Za-z0-9_]++(?:-++[A-Za-z0-9_]++)*+"
_LITERAL = r"\[[\x21-\x5a\x5e-\x7e]++\]"

_UTF8_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{UTF8_NON_ASCII}-]++"
_UTF8_QUOTED = rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e{UTF8_NON_ASCII}]++|\\[\x20-\x7e])*+"'
_UTF8_LABEL = rf"[A-Za-z0-9_{UTF8_NON_ASCII}]++(?:-++[A-Za-z0-9_{UTF8_NON_ASCII}]++)*+"


def _dotted(part: str) -> str:
    return rf"{part}(?:\.{part})*+"


def _path(atom: str, quoted: str, label: str) -> re.Pattern[str]:
    mailbox = rf"(?P<local>{_dotted(atom)}|{quoted})@(?P<domain>{_dotted(label)}|{_LITERAL})"
    route = rf"@{_dotted(label)}(?:,@{_dotted(label)})*+:"
    # ASCII: without it the Kelvin sign is a "k" in any case.
    return re.compile(
        rf"[ \t]*+(?:<(?:{route})?{mailbox}>|(?P<null><>)|<(?P<postmaster>postmaster)>)",
        re.IGNORECASE | re.ASCII,
    )


def _bare(atom: str, quoted: str, label: str) -> re.Pattern[str]:
    return re.compile(
        rf"[ \t]*+(?P<local>{_dotted(atom)}|{quoted})@(?P<domain>{_dotted(label)}|{_LITERAL})(?=[ \t]|\Z)",
    )


# Nearly every path is this, and short: none of its parts can then be over a limit, so nothing is measured.
_PLAIN = re.compile(rf"<({_dotted(_ATOM)}@{_dotted(_LABEL)})>")
_SHORT = 64
_PATH = _path(_ATOM, _QUOTED, _LABEL)
_BARE = _bare(_ATOM, _QUOTED, _LABEL)
_UTF8_PATH = _path(_UTF8_ATOM, _UTF8_QUOTED, _UTF8_LABEL)
_UTF8_BARE = _bare(_UTF8_ATOM, _UTF8_QUOTED, _UTF8_LABEL)
_HELLO = re.compile(rf"{_dotted(_LABEL)}\.?|{_LITERAL}")

# RFC 5892: the letters, marks and digits of a U-label (section 2.1), and what its appendix A lets
# stand in a context, which is not looked at here.
_LETTERS_AND_DIGITS = frozenset({"Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"})
_IN_A_CONTEXT = frozenset("\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb")


class AddressError(ValueError):
    """The text is no path."""


class NonAsciiAddressError(AddressError):
    """The text is a path, but only where SMTPUTF8 is in force."""


def parse_path(text: str, *, utf8: bool = False, limits: Limits = USUAL_LIMITS) -> tuple[str, str]:
    """Return the address and what follows it; the address is empty for the null path ``<>``.

    Raise NonAsciiAddressError where *text* begins with a path that only *utf8* (RFC 6531) would
    allow, AddressError where it begins with none within *limits*.
    """
    found = _PLAIN.match(text)
    if found is not None and found.end() <= _SHORT:
        return found[1], _rest(text, found)
    return parse_any_path(text, utf8=utf8, limits=limits)


def parse_any_path(text: str, *, utf8: bool, limits: Limits) -> tuple[str, str]:
    """Do the same without the short cut for most paths."""
    found = _PATH.match(text) or _BARE.match(text)
    if found is None and not text.isascii():
        found = _UTF8_PATH.match(text) or _UTF8_BARE.match(text)
    if found is None:
        raise AddressError("no path")
    rest = _rest(text, found)
    if found.lastgroup == "null":
        return "", rest
    if found.lastgroup == "postmaster":
        # RFC 5321 section 4.1.1.3: the one mailbox without a domain.
        return found["postmaster"], rest
    local, domain = found["local"], found["domain"]
    address = f"{local}@{domain}"
    if _octets(local) > limits.local_part or _octets(domain) > MAX_DOMAIN:
        raise AddressError("too long")
    if _octets(address) > limits.address or not _domain_is_sound(domain):
        raise AddressError("not a path")
    if not utf8 and not address.isascii():
        raise NonAsciiAddressError("not a path in US-ASCII")
    return address, rest


def is_hello_name(text: str) -> bool:
    """Whether *text* may stand behind EHLO: a domain, or an address literal (RFC 5321 section 4.1.1.1).

    A domain beyond US-ASCII has to come as A-labels: nobody has said SMTPUTF8 yet (RFC 6531 section 3.7.1).
    """
    return (
        len(text) <= MAX_DOMAIN and _HELLO.fullmatch(text) is not None and _domain_is_sound(text.rstrip("."))
    )


def is_hello_domain(text: str) -> bool:
    """Whether *text* is what RequireEHLODomain asks of EHLO: "a domain name" (Set-ReceiveConnector).

    Nothing is said of its labels, so one is enough; an address literal is no domain name, nor is an
    IPv4 address without its brackets: the last label of a name is not all digits (RFC 1123 section 2.1).
    """
    if text.startswith("[") or not is_hello_name(text):
        return False
    return not text.rstrip(".").rpartition(".")[2].isdigit()


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _rest(text: str, found: re.Match[str]) -> str:
    rest = text[found.end() :]
    if not rest:
        return ""
    if rest[0] not in " \t":
        raise AddressError("text behind the path")
    return rest.strip(" \t")


def _domain_is_sound(domain: str) -> bool:
    if not domain.startswith("["):
        return all(_label_is_sound(label) for label in domain.split("."))
    literal = domain[1:-1]
    try:
        if literal[:5].casefold() == "ipv6:":
            # RFC 5321 section 4.1.3 knows no scope, the "%eth0" of RFC 4007.
            return ipaddress.IPv6Address(literal[5:]).scope_id is None
        # RFC 5321 section 4.1.3: a tag is one that a standard defines, and none has but IPv6.
        ipaddress.IPv4Address(literal)
    except ValueError:
        return False
    return True


def _label_is_sound(label: str) -> bool:
    if label.isascii():
        return len(label) <= _MAX_LABEL
    for character in label:
        if not (
            character.isascii() or character in _IN_A_CONTEXT or category(character) in _LETTERS_AND_DIGITS
        ):
            return False
    # RFC 5890 section 4.2: the limit is that of the A-label, "xn--" and the label in Punycode.
    return len("xn--") + len(label.encode("punycode")) <= _MAX_LABEL
