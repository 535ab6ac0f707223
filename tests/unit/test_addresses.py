"""Paths of MAIL and RCPT, and names behind EHLO."""

from __future__ import annotations

import pytest

from smtpd_anontls.protocol.addresses import AddressError, is_hello_name, parse_path

LOCAL_64 = "l" * 64
LABEL_63 = "d" * 63
# Together with 64 octets of local part, "@" and the brackets these are 256 octets, and 257.
DOMAIN_189 = ".".join([LABEL_63, LABEL_63, "d" * 61])
DOMAIN_190 = ".".join([LABEL_63, LABEL_63, "d" * 62])

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


@pytest.mark.parametrize(("text", "address", "rest"), TAKEN.values(), ids=TAKEN)
def test_path_is_taken(text: str, address: str, rest: str) -> None:
    """The address is what stands between the brackets, less a source route; the rest follows it."""
    assert parse_path(text) == (address, rest)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_path_is_refused(text: str) -> None:
    """What is no path within the limits of RFC 5321 raises, and nothing else does."""
    with pytest.raises(AddressError):
        parse_path(text)


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
        "m\u00fcnchen.test",
        "edge\udcff",
        LABEL_63 + "d",
        ".".join([LABEL_63] * 4) + ".d",
    ],
)
def test_hello_name_is_refused(text: str) -> None:
    """Anything else, and a name that is too long."""
    assert not is_hello_name(text)
