"""Paths of MAIL and RCPT, and names behind EHLO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.protocol.addresses import (
    LONG_LIMITS,
    USUAL_LIMITS,
    AddressError,
    Limits,
    NonAsciiAddressError,
    is_hello_domain,
    is_hello_name,
    parse_any_path,
    parse_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL_64 = "l" * 64
LABEL_63 = "d" * 63
# Together with 64 octets of local part, "@" and the brackets these are 256 octets, and 257.
DOMAIN_189 = ".".join([LABEL_63, LABEL_63, "d" * 61])
DOMAIN_190 = ".".join([LABEL_63, LABEL_63, "d" * 62])
# A label of 29 characters and 87 octets, whose A-label has 63.
U_LABEL_63 = "".join(chr(0x4E00 + 10 * n) for n in range(29))

TAKEN: dict[str, tuple[str, str, str]] = {
    "plain": ("<a@contoso.test>", "a@contoso.test", ""),
    "blanks in front": (" \t<a@contoso.test>", "a@contoso.test", ""),
    "blanks behind": ("<a@contoso.test> \t ", "a@contoso.test", ""),
    "parameters behind": ("<a@contoso.test> SIZE=1 BODY=7BIT", "a@contoso.test", "SIZE=1 BODY=7BIT"),
    "tab before the parameters": ("<a@contoso.test>\tSIZE=1", "a@contoso.test", "SIZE=1"),
    "case is kept": ("<Ann.Lee@Contoso.TEST>", "Ann.Lee@Contoso.TEST", ""),
    "every character of an atom": (
        "<a0!#$%&'*+/=?^_`{|}~-.b@contoso.test>",
        "a0!#$%&'*+/=?^_`{|}~-.b@contoso.test",
        "",
    ),
    "one label": ("<a@localhost>", "a@localhost", ""),
    "digits alone": ("<1@2>", "1@2", ""),
    "underscore in a host's name": ("<a@_mail.my_host>", "a@_mail.my_host", ""),
    "hyphens within a label": ("<a@b--c.d-e>", "a@b--c.d-e", ""),
    "null path": ("<>", "", ""),
    "null path with parameters": (" <> AUTH=<>", "", "AUTH=<>"),
    "postmaster": ("<postmaster>", "postmaster", ""),
    "postmaster in any case": ("<PostMaster> NOTIFY=NEVER", "PostMaster", "NOTIFY=NEVER"),
    "postmaster of a domain": ("<postmaster@contoso.test>", "postmaster@contoso.test", ""),
    "quoted local part": ('<"a b"@contoso.test>', '"a b"@contoso.test', ""),
    "quoted brackets and at": ('<"<a@b>"@contoso.test> X=1', '"<a@b>"@contoso.test', "X=1"),
    "quoted pairs": (r'<"a\"\\\ b"@contoso.test>', r'"a\"\\\ b"@contoso.test', ""),
    "empty quotes": ('<""@contoso.test>', '""@contoso.test', ""),
    "IPv4 literal": ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
    "IPv6 literal": ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
    "IPv6 literal, tag in any case": ("<a@[ipv6:::1]>", "a@[ipv6:::1]", ""),
    "IPv6 literal with IPv4 in it": ("<a@[IPv6:::ffff:192.0.2.1]>", "a@[IPv6:::ffff:192.0.2.1]", ""),
    "source route of one host": ("<@hub.test:a@contoso.test>", "a@contoso.test", ""),
    "source route of two": ("<@hub.test,@edge.test:a@contoso.test> X=1", "a@contoso.test", "X=1"),
    "bare": ("a@contoso.test", "a@contoso.test", ""),
    # As Microsoft's telnet walk-through writes RCPT.
    "bare with parameters": (
        "a@contoso.test NOTIFY=success,failure",
        "a@contoso.test",
        "NOTIFY=success,failure",
    ),
    "bare behind a blank": (" a@contoso.test\tX=1", "a@contoso.test", "X=1"),
    "bare and quoted": ('"a b"@contoso.test', '"a b"@contoso.test', ""),
    "bare with a literal": ("a@[192.0.2.1]", "a@[192.0.2.1]", ""),
    "longest local part": (f"<{LOCAL_64}@d>", f"{LOCAL_64}@d", ""),
    "longest label": (f"<a@{LABEL_63}>", f"a@{LABEL_63}", ""),
    "longest path": (f"<{LOCAL_64}@{DOMAIN_189}>", f"{LOCAL_64}@{DOMAIN_189}", ""),
}

REFUSED: dict[str, str] = {
    "nothing": "",
    "a blank": " ",
    "no bracket at the end": "<a@contoso.test",
    "no bracket in front": "a@contoso.test>",
    "two brackets in front": "<<a@contoso.test>",
    "two brackets at the end": "<a@contoso.test>>",
    "bracket alone": "<",
    "brackets the wrong way": ">a@contoso.test<",
    "blank within brackets": "< a@contoso.test>",
    "blank at their end": "<a@contoso.test >",
    "blank in the local part": "<a b@contoso.test>",
    "blank in the null path": "< >",
    "bare null path": "AUTH=<>",
    "text behind the path": "<a@contoso.test>SIZE=1",
    "text behind the null path": "<>SIZE=1",
    "text behind postmaster": "<postmaster>SIZE=1",
    "a second path": "<a@contoso.test><b@contoso.test>",
    "no domain": "<a>",
    "no domain behind at": "<a@>",
    "no local part": "<@contoso.test>",
    "bare without a domain": "a",
    "bare postmaster": "postmaster",
    "two ats": "<a@b@contoso.test>",
    "bare with two ats": "a@b@contoso.test",
    "dot in front": "<.a@contoso.test>",
    "dot at the end": "<a.@contoso.test>",
    "two dots": "<a..b@contoso.test>",
    "dot before the domain": "<a@.contoso.test>",
    "dot behind the domain": "<a@contoso.test.>",
    "two dots in the domain": "<a@contoso..test>",
    "hyphen before a label": "<a@-contoso.test>",
    "hyphen behind a label": "<a@contoso-.test>",
    "open quotes": '<"a@contoso.test>',
    "quote within an atom": '<a"b"@contoso.test>',
    "quotes and an atom": '<"a"b@contoso.test>',
    "backslash at the end of quotes": r'<"a\"@contoso.test>',
    "backslash in an atom": r"<a\b@contoso.test>",
    "specials in an atom": "<a,b@contoso.test>",
    "source route without a path": "<@hub.test:>",
    "source route without a colon": "<@hub.test,a@contoso.test>",
    "source route without an at": "<hub.test:a@contoso.test>",
    "literal that is no address": "<a@[contoso]>",
    "literal with a number too many": "<a@[192.0.2.1.1]>",
    "literal over 255": "<a@[192.0.2.256]>",
    "literal without digits": "<a@[]>",
    "open literal": "<a@[192.0.2.1>",
    "IPv6 without its tag": "<a@[2001:db8::1]>",
    "IPv4 with the tag of IPv6": "<a@[IPv6:192.0.2.1]>",
    "IPv6 literal with a scope": "<a@[IPv6:fe80::1%eth0]>",
    "general literal": "<a@[X400:c=de]>",
    "literal and more": "<a@[192.0.2.1].test>",
    "NUL": "<a\0@contoso.test>",
    "NUL in quotes": '<"a\0"@contoso.test>',
    "NUL behind": "<a@contoso.test>\0",
    "CR": "<a\r@contoso.test>",
    "LF behind": "<a@contoso.test>\n",
    "bare and LF": "a@contoso.test\n",
    "escape": "<a\x1b@contoso.test>",
    "DEL in quotes": '<"\x7f"@contoso.test>',
    "vertical tab in front": "\x0b<a@contoso.test>",
    "no-break space behind": "<a@contoso.test>\u00a0X=1",
    "non-ASCII local part": "<\u00e4@contoso.test>",
    "non-ASCII domain": "<a@m\u00fcnchen.test>",
    "non-ASCII in quotes": '<"\u00e4"@contoso.test>',
    # What "in any case" can let in: the Kelvin sign is a k, the long s an s, the dotless i an i.
    "Kelvin sign": "<\u212aelvin@contoso.test>",
    "Kelvin sign in the domain": "<a@\u212aelvin.test>",
    "long s in postmaster": "<po\u017ftmaster>",
    "dotless i in the tag": "<a@[\u0131pv6:::1]>",
    "full-width at": "<a\uff20contoso.test>",
    "other digits": "<a@[\u0661.0.0.1]>",
    "octets that are no UTF-8": "<a\udcff@contoso.test>",
    "local part too long": f"<{LOCAL_64}l@d>",
    "quoted local part too long": f'<"{"q" * 63}"@d>',
    "label too long": f"<a@{LABEL_63}d.test>",
    "path too long": f"<{LOCAL_64}@{DOMAIN_190}>",
    "domain too long": f"<a@{'.'.join(['d' * 63] * 4)}>",
}


TAKEN_AS_UTF8: dict[str, tuple[str, str, str]] = {
    "local part": ("<müller@contoso.test>", "müller@contoso.test", ""),
    "domain": ("<a@münchen.test> X=1", "a@münchen.test", "X=1"),
    "both, bare": ("ä@ü.test SMTPUTF8", "ä@ü.test", "SMTPUTF8"),
    "in quotes": ('<"ä €"@contoso.test>', '"ä €"@contoso.test', ""),
    "between dots": ("<ä.b.ü@contoso.test>", "ä.b.ü@contoso.test", ""),
    "symbols in the local part": ("<\U0001f4e7@contoso.test>", "\U0001f4e7@contoso.test", ""),
    "source route": ("<@ü.test,@b:a@contoso.test>", "a@contoso.test", ""),
    "right to left": (
        "<\u05d0\u05d1@\u05d2.\u05d3>",
        "\u05d0\u05d1@\u05d2.\u05d3",
        "",
    ),
    "marks and digits of other scripts": (
        "<a@\u0939\u093f\u0928\u094d\u0926\u0940.\u0661>",
        "a@\u0939\u093f\u0928\u094d\u0926\u0940.\u0661",
        "",
    ),
    "what may stand in a context": ("<a@l\u00b7l\u200c\u30fb>", "a@l\u00b7l\u200c\u30fb", ""),
    "capitals": ("<Ä@Ü.test>", "Ä@Ü.test", ""),
    "hyphens": ("<a@ü--ä.b-ü>", "a@ü--ä.b-ü", ""),
    "longest local part": (f"<{'ä' * 32}@d>", f"{'ä' * 32}@d", ""),
    "US-ASCII": ("<a@contoso.test>", "a@contoso.test", ""),
    "longest label": (f"<a@{U_LABEL_63}>", f"a@{U_LABEL_63}", ""),
    "null path": ("<> SMTPUTF8", "", "SMTPUTF8"),
    "postmaster": ("<postmaster> X=ä", "postmaster", "X=ä"),
}

REFUSED_AS_UTF8: dict[str, str] = {
    "octets that are no UTF-8": "<a\udcff@contoso.test>",
    "octets that are no UTF-8, in quotes": '<"\udc80"@contoso.test>',
    "octets that are no UTF-8, in the domain": "<a@\udcff.test>",
    "C1 control": "<a\x85@contoso.test>",
    "last C1 control": "<a\x9f@contoso.test>",
    "C1 control in quotes": '<"\x80"@contoso.test>',
    "Arabic letter mark": "<a\u061c@contoso.test>",
    "left-to-right mark": "<a\u200e@contoso.test>",
    "right-to-left mark in the domain": "<a@b\u200f.test>",
    "line separator": "<a\u2028@contoso.test>",
    "override": "<a\u202e@contoso.test>",
    "isolate in quotes": '<"\u2066"@contoso.test>',
    "quoted pair": '<"\\ä"@contoso.test>',
    "symbol in the domain": "<a@\U0001f4e7.test>",
    "full stop of another script": "<a@b\u3002test>",
    "no-break space in the domain": "<a@b\u00a0.test>",
    "zero-width space in the domain": "<a@b\u200b.test>",
    "full-width at": "<a\uff20contoso.test>",
    "letters in a literal": "<a@[ü]>",
    "other digits in a literal": "<a@[\u0661.0.0.1]>",
    "dotless i in the tag": "<a@[\u0131pv6:::1]>",
    "long s in postmaster": "<po\u017ftmaster>",
    "hyphen at the end of a label": "<a@ü-.test>",
    "dot at the end": "<ä.@contoso.test>",
    "text behind the path": "<ä@contoso.test>x",
    "local part too long": f"<{'ä' * 33}@d>",
    "domain too long": f"<a@{'.'.join(['ä' * 25] * 6)}>",
    "path too long": f"<{'ä' * 32}@{'.'.join(['ä' * 24] * 4)}>",
    "label too long": f"<a@{U_LABEL_63}\u4e00>",
}


@pytest.mark.parametrize(("text", "address", "rest"), TAKEN.values(), ids=TAKEN)
def test_path_is_taken(text: str, address: str, rest: str) -> None:
    """The address is what stands between the brackets, less a source route; the rest follows it."""
    assert parse_path(text) == (address, rest)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_path_is_refused(text: str) -> None:
    """What is no path within the limits of RFC 5321 raises, and nothing else does."""
    with pytest.raises(AddressError):
        parse_path(text)


@pytest.mark.parametrize(("text", "address", "rest"), TAKEN_AS_UTF8.values(), ids=TAKEN_AS_UTF8)
def test_path_beyond_ascii_needs_smtputf8(text: str, address: str, rest: str) -> None:
    """With SMTPUTF8 the address is taken; without it, what is refused is said to be just that."""
    assert parse_path(text, utf8=True) == (address, rest)
    if not address.isascii():
        with pytest.raises(NonAsciiAddressError):
            parse_path(text)


@pytest.mark.parametrize("text", REFUSED_AS_UTF8.values(), ids=REFUSED_AS_UTF8)
@pytest.mark.parametrize("utf8", [False, True])
def test_what_is_no_path_is_none_with_smtputf8(text: str, *, utf8: bool) -> None:
    """SMTPUTF8 would not help: the plain error says so."""
    with pytest.raises(AddressError) as raised:
        parse_path(text, utf8=utf8)

    assert not isinstance(raised.value, NonAsciiAddressError)


@pytest.mark.parametrize("text", [text for text in REFUSED.values() if text.isascii()])
def test_ascii_is_refused_with_smtputf8_too(text: str) -> None:
    """The extension adds characters and nothing else."""
    with pytest.raises(AddressError):
        parse_path(text, utf8=True)


# As Exchange wraps an X.400 address: IMCEAX400-, and what SMTP cannot carry as an underscore or +xx.
IMCEA = "IMCEAX400-_c=US_a=_p=Contoso_o=Exchange_s=Lee_g=Ann"


def test_long_addresses() -> None:
    """With LongAddressesEnabled an encapsulated address may have 1,860 octets, its domain still 255."""
    domain = "@contoso.test"
    longest = IMCEA + "x" * (1860 - len(IMCEA) - len(domain)) + domain

    assert parse_path(f"<{longest}> X=1", limits=LONG_LIMITS) == (longest, "X=1")
    for text in (f"<x{longest}>", f"x{longest}", f"<{IMCEA}@{'.'.join([LABEL_63] * 4)}d>"):
        with pytest.raises(AddressError):
            parse_path(text, limits=LONG_LIMITS)
    with pytest.raises(AddressError, match=r"^too long$"):
        parse_path(f"<{longest}>")
    assert parse_path(f"<a@{'.'.join([LABEL_63] * 4)}>", limits=LONG_LIMITS)[1] == ""


NEAR_PATHS = st.lists(
    st.sampled_from(
        [
            *'<>@."\\[]:,- \t\0',
            "a",
            "ä",
            "\u212a",
            "\u202e",
            "\x85",
            "\udcff",
            "\u0940",
            "\U0001f4e7",
            "postmaster",
            "IPv6:",
            "::1",
            "192.0.2.1",
            "@ü.test>",
            "<ä",
        ]
    ),
    max_size=20,
).map("".join)


@given(st.text(max_size=60) | NEAR_PATHS)
@example("<" + "@ä," * 600)
@example('<"' + "ä\\a" * 1000)
@example("<a@" + "ä-" * 2000)
def test_smtputf8_adds_only_what_is_beyond_ascii(text: str) -> None:
    """What is taken is fit to be shown, within the limits and its own reading; the two readings agree."""
    try:
        address, rest = parse_path(text, utf8=True)
    except AddressError:
        with pytest.raises(AddressError) as raised:
            parse_path(text)
        assert not isinstance(raised.value, NonAsciiAddressError)
        return

    assert printable(address) == address
    assert len(address.encode()) <= 254
    assert parse_path(f"<{address}> {rest}", utf8=True) == (address, rest)
    if address.isascii():
        assert parse_path(text) == (address, rest)
    else:
        with pytest.raises(NonAsciiAddressError):
            parse_path(text)


@given(
    text=st.text(max_size=80)
    | NEAR_PATHS
    | st.from_regex(r"<[a-z.]{0,70}@[a-z.-]{1,70}>( SIZE=1)?", fullmatch=True),
    utf8=st.booleans(),
    limits=st.sampled_from([USUAL_LIMITS, LONG_LIMITS]),
)
@example(text="<a@" + "b" * 60 + ">", utf8=True, limits=LONG_LIMITS)
@example(text="<" + "a" * 65 + "@b>", utf8=False, limits=USUAL_LIMITS)
def test_the_short_cut_changes_no_answer(*, text: str, utf8: bool, limits: Limits) -> None:
    """A plain short path is what the whole expression says it is, and nothing else is taken for one."""

    def answer(read: Callable[..., tuple[str, str]]) -> tuple[str, str] | type[AddressError]:
        try:
            return read(text, utf8=utf8, limits=limits)
        except AddressError as error:
            return type(error)

    assert answer(parse_path) == answer(parse_any_path)


def test_reason_is_said() -> None:
    """The error tells a path that is too long from one that is none."""
    for text, reason in [
        ("x", "no path"),
        (f"<{LOCAL_64}l@d>", "too long"),
        ("<a@[x]>", "not a path"),
        ("<>x", "text behind the path"),
    ]:
        with pytest.raises(AddressError, match=f"^{reason}$"):
            parse_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "edge.contoso.test",
        "EDGE",
        "my_host.local",
        "192.0.2.1",
        "edge.contoso.test.",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
        LABEL_63,
        ".".join([LABEL_63] * 4),
    ],
)
def test_hello_name_is_taken(text: str) -> None:
    """A domain, also one of a single label or with its last dot, or an address literal."""
    assert is_hello_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "edge contoso",
        "edge..test",
        "edge.test..",
        "-edge",
        "edge-",
        "[192.0.2.1",
        "[192.0.2.1].",
        "[192.0.2]",
        "[IPv6:fe80::1%25]",
        "[edge]",
        "<edge>",
        "edge\0",
        "edge\n",
        "\u212aelvin",
        "münchen.test",
        "edge\udcff",
        LABEL_63 + "d",
        ".".join([LABEL_63] * 4) + ".d",
    ],
)
def test_hello_name_is_refused(text: str) -> None:
    """Anything else, and a name that is too long."""
    assert not is_hello_name(text)


@pytest.mark.parametrize(
    "text", ["edge.contoso.test", "EDGE", "my_host.local", "edge.contoso.test.", "3com.4u"]
)
def test_hello_domain_is_a_domain_name(text: str) -> None:
    """RequireEHLODomain is content with any domain name, also one of a single label."""
    assert is_hello_domain(text)


@pytest.mark.parametrize(
    "text",
    ["", "[192.0.2.1]", "[IPv6:2001:db8::1]", "192.0.2.1", "192.0.2.1.", "edge contoso", "-edge", "mü"],
)
def test_hello_domain_is_no_address(text: str) -> None:
    """An address is no domain name, in brackets or without, and what is no hello name is none either."""
    assert not is_hello_domain(text)
