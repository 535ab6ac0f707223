"""X.500 names as Windows and as RFC 4514 write them."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.distinguished_names import same_distinguished_name, written

KINDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": NameOID.LOCALITY_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "C": NameOID.COUNTRY_NAME,
    "E": NameOID.EMAIL_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "STREET": NameOID.STREET_ADDRESS,
    "T": NameOID.TITLE,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "OID.2.5.4.15": NameOID.BUSINESS_CATEGORY,
}


def name(*attributes: tuple[str, str]) -> x509.Name:
    """Return the name with these attributes, the most general first as in a certificate."""
    return x509.Name([x509.NameAttribute(KINDS[kind], value) for kind, value in attributes])


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (name(("CN", "mbx1")), "CN=mbx1"),
        (
            name(("C", "US"), ("S", "Arizona"), ("O", "GoDaddy.com, Inc."), ("CN", "Go Daddy CA - G2")),
            'CN=Go Daddy CA - G2, O="GoDaddy.com, Inc.", S=Arizona, C=US',
        ),
        (name(("O", 'The "Best" Mail')), 'O="The ""Best"" Mail"'),
        (name(("O", " Contoso ")), 'O=" Contoso "'),
        (name(("CN", "CONTOSO\\mbx1")), "CN=CONTOSO\\mbx1"),
        (name(("E", "postmaster@contoso.test"), ("CN", "a")), "CN=a, E=postmaster@contoso.test"),
        (name(("DC", "test"), ("DC", "contoso")), "DC=contoso, DC=test"),
        (name(("OID.2.5.4.15", "Private Organization")), "OID.2.5.4.15=Private Organization"),
        (name(("CN", "B\u00fccher")), "CN=B\u00fccher"),
        (x509.Name([]), ""),
    ],
)
def test_written_as_windows_does(made: x509.Name, shown: str) -> None:
    """Most specific part first, Windows' keys, and quotes around special values."""
    assert written(made) == shown


def test_several_values_in_one_part_are_joined() -> None:
    """A relative name of two attributes is written with a plus between them."""
    part = x509.RelativeDistinguishedName(
        [x509.NameAttribute(KINDS["CN"], "a"), x509.NameAttribute(KINDS["OU"], "b")]
    )

    assert written(x509.Name([part])) == "CN=a + OU=b"


def test_a_value_that_is_no_text_is_written_in_hexadecimal() -> None:
    """An X.500 unique identifier is a bit string."""
    value = x509.NameAttribute(
        NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\xab", _type=x509.name._ASN1Type.BitString
    )

    assert written(x509.Name([value])) == "OID.2.5.4.45=#00AB"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("CN=a, S=WA", "cn=A,ST=wa"),
        ('CN=a, O="Acme, Inc."', "CN=a,O=Acme\\, Inc."),
        ('O="The ""Best"" Mail"', 'O=The \\"Best\\" Mail'),
        ('O="The \\"Best\\" Mail"', 'O=The \\"Best\\" Mail'),
        ("E=a@b.test", "1.2.840.113549.1.9.1=a@b.test"),
        ("E=a@b.test", "emailAddress=a@b.test"),
        ("OID.2.5.4.15=x", "2.5.4.15=x"),
        ("OID.2.5.4.3=x", "CN=x"),
        ("SERIALNUMBER=1", "2.5.4.5=1"),
        ("T=x", "title=x"),
        ("CN = a ,  O = b  c", "CN=a,O=b c"),
        ("CN=a; O=b", "CN=a, O=b"),
        ("CN=a+OU=b", "OU=b + CN=a"),
        ("CN=\\C3\\A9", "CN=\u00e9"),
        ("CN=\\ff", "CN=\ufffd"),
        ("CN=a\\20", "CN=a"),
        ('CN="#1"', "CN=\\#1"),
        ("CN=CONTOSO\\mbx1", "CN=CONTOSO\\\\mbx1"),
        ("", ""),
    ],
)
def test_two_spellings_of_one_name(first: str, second: str) -> None:
    """Keys, quotes, escapes, spacing and case do not make another name."""
    assert same_distinguished_name(first, second)
    assert same_distinguished_name(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("CN=a, O=b", "O=b, CN=a"),
        ("CN=a", "OU=a"),
        ("CN=a", "CN=a, O=b"),
        ("CN=a, O=b", "CN=a + O=b"),
        ('CN="a, O=b"', "CN=a, O=b"),
        ("CN=a", ""),
        ("a", "CN=a"),
        ('CN="a', "CN=a"),
        ("CN=a\\", "CN=a"),
    ],
)
def test_two_names(first: str, second: str) -> None:
    """Order, keys and parts make another name."""
    assert not same_distinguished_name(first, second)
    assert not same_distinguished_name(second, first)


VALUES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TEXT_KINDS = st.sampled_from([KINDS[k] for k in ("CN", "O", "OU", "L", "S", "STREET", "T", "OID.2.5.4.15")])
PARTS = st.dictionaries(TEXT_KINDS, VALUES, min_size=1, max_size=2).map(
    lambda made: x509.RelativeDistinguishedName([x509.NameAttribute(k, v) for k, v in made.items()])
)


@given(st.lists(PARTS, max_size=4).map(x509.Name))
def test_what_windows_and_what_openssl_print_is_one_name(made: x509.Name) -> None:
    """Any name, as Windows writes it and as RFC 4514 does, is the same."""
    assert same_distinguished_name(written(made), made.rfc4514_string())


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts_can_be_compared(first: str, second: str) -> None:
    """Comparing never raises, and gives the same answer both ways."""
    assert same_distinguished_name(first, second) is same_distinguished_name(second, first)
    assert same_distinguished_name(first, first)
