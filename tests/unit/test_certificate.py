"""Certificates as the selections see them, from real DER."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.certificate import (
    Certificate,
    CertificateError,
    CertificateName,
    KeyState,
    StoreCertificate,
    name_matches,
    normalized_thumbprint,
    thumbprint_of,
)
from smtpd_anontls.selection.outcome import stored_certificate_json
from tests.making import (
    AUTHORITY,
    NOW,
    certificate,
    common_name,
    content_of,
    der,
    element,
    elements,
    stored,
    version_1,
)

GOOD = der()
THUMBPRINT = "5C7AF0E1D2C3B4A5968778695A4B3C2D1E0F5C7A"


def with_serial(serial: bytes) -> bytes:
    """Return the good certificate with the octets of another serial number."""
    signed, *rest = elements(content_of(GOOD))
    version, _, *fields = elements(content_of(signed))
    return element(0x30, element(0x30, version, element(0x02, serial), *fields), *rest)


def with_names(value: bytes) -> bytes:
    """Return a certificate whose subject alternative names are these octets."""
    extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, value)
    return der(names=(), extensions=(extension,))


def test_a_certificate_is_read() -> None:
    """Every field that the selections ask for is read from the DER."""
    found = Certificate.from_der(
        der("mbx1.contoso.test", issuer=AUTHORITY, names=("mbx1", "10.1.2.3", "::1"))
    )

    assert found.thumbprint == thumbprint_of(found.der)
    assert len(found.thumbprint) == 40
    assert found.subject == "CN=mbx1.contoso.test"
    assert found.issuer == f"CN={AUTHORITY}"
    assert found.serial_number == "5C7A"
    assert found.not_before == datetime(2027, 5, 2, 12, tzinfo=UTC)
    assert found.not_after == datetime(2028, 3, 27, 12, tzinfo=UTC)
    assert found.subject_alternative_names == ("mbx1", "10.1.2.3", "::1")
    assert found.common_names == ("mbx1.contoso.test",)
    assert found.self_signed is False
    assert found.version == 3


def test_the_octets_stay_out_of_its_repr() -> None:
    """A certificate in a message or a log does not spill its DER."""
    assert "der=" not in repr(certificate())


def test_self_signed_is_issuer_and_subject_alike() -> None:
    """A certificate that names itself as issuer counts as self-signed."""
    assert certificate("mbx1").self_signed
    assert certificate("mbx1", issuer="mbx1").self_signed


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"\x01", "01"),
        (b"\x00", "00"),
        (b"\xff", "FF"),
        (b"\x80", "80"),
        (b"\xff\x7f", "FF7F"),
        (b"\x00\xc1\x00\x8b", "00C1008B"),
        (b"\x12\x34", "1234"),
    ],
)
def test_serial_number_is_shown_as_windows_does(octets: bytes, shown: str) -> None:
    """The serial number is the octets of its INTEGER, zero and negative ones too, and warns of nothing."""
    assert Certificate.from_der(with_serial(octets)).serial_number == shown


def test_version_1_is_read() -> None:
    """A certificate from before extensions has its subject for a name."""
    found = Certificate.from_der(version_1(der("mbx1.contoso.test", names=())))

    assert found.version == 1
    assert found.subject_alternative_names == ()
    assert found.has_name("mbx1.contoso.test")


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param([(NameOID.COUNTRY_NAME, "USA")], id="a country of three letters"),
        pytest.param([(NameOID.COMMON_NAME, "x" * 65)], id="a common name of 65 characters"),
        pytest.param([(NameOID.COMMON_NAME, "B\u00fccher \u4e2d\u6587")], id="a common name in UTF-8"),
        pytest.param([(NameOID.COMMON_NAME, "a"), (NameOID.COMMON_NAME, "b")], id="two common names"),
    ],
)
def test_odd_subjects_are_read(subject: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    """A subject that breaks the limits of RFC 5280 is read like any other, and warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = x509.Name([x509.NameAttribute(kind, value, _validate=False) for kind, value in subject])

    found = Certificate.from_der(der(name, names=()))

    assert found.common_names == tuple(value for kind, value in subject if kind == NameOID.COMMON_NAME)


def test_a_certificate_without_a_subject_is_read() -> None:
    """RFC 5280 section 4.1.2.6 allows an empty subject beside subject alternative names."""
    found = Certificate.from_der(der(x509.Name([]), issuer=AUTHORITY, names=("mbx1.contoso.test",)))

    assert found.subject == ""
    assert found.common_names == ()
    assert found.has_name("mbx1.contoso.test")


def test_names_of_other_kinds_are_left_out() -> None:
    """Of the subject alternative names only DNS names and addresses can be asked for."""
    names = x509.SubjectAlternativeName(
        [
            x509.RFC822Name("postmaster@contoso.test"),
            x509.DNSName("mbx1.contoso.test"),
            x509.UniformResourceIdentifier("https://contoso.test"),
            x509.DirectoryName(common_name("mbx1")),
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a"),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            x509.IPAddress(ip_address("10.1.2.3")),
        ]
    )

    found = Certificate.from_der(der(names=(), extensions=(names,)))

    assert found.subject_alternative_names == ("mbx1.contoso.test", "10.1.2.3")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(with_names(b"zz"), id="not DER"),
        pytest.param(with_names(b"\x30\x03\xa3\x01\x00"), id="an X.400 address"),
        pytest.param(with_names(b"\x30\x07\x87\x05\x0a\x00\x00\x00\xff"), id="an address of five octets"),
        pytest.param(
            der(names=(), extensions=(x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"zz"),)),
            id="another extension that is malformed",
        ),
    ],
)
def test_malformed_extensions_leave_the_certificate(octets: bytes) -> None:
    """A certificate that Windows and OpenSSL would load is read; it only has no alternative names."""
    found = Certificate.from_der(octets)

    assert found.thumbprint == thumbprint_of(octets)
    assert found.subject_alternative_names == ()
    assert found.has_name("mbx1")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"-----BEGIN CERTIFICATE-----", id="PEM"),
        pytest.param(GOOD[:-1], id="cut off"),
        pytest.param(GOOD + b"\0", id="with an octet too many"),
        pytest.param(element(0x30), id="an empty sequence"),
    ],
)
def test_what_is_no_certificate_says_so(octets: bytes) -> None:
    """Octets that are no certificate are refused with one sentence."""
    with pytest.raises(CertificateError, match=r"^not an X\.509 certificate that can be read$"):
        Certificate.from_der(octets)


@given(st.binary(max_size=200))
def test_any_octets_are_a_certificate_or_an_error(octets: bytes) -> None:
    """Whatever the octets, nothing but CertificateError is raised."""
    with pytest.raises(CertificateError):
        Certificate.from_der(octets)


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=4), st.integers(0, 4))
def test_a_damaged_certificate_is_a_certificate_or_an_error(at: int, instead: bytes, gone: int) -> None:
    """Damage anywhere in a certificate gives another certificate or CertificateError."""
    octets = GOOD[:at] + instead + GOOD[at + gone :]

    try:
        found = Certificate.from_der(octets)
    except CertificateError:
        return
    assert found.thumbprint == thumbprint_of(octets)


def test_validity_has_sharp_ends() -> None:
    """Valid from and Valid to belong to the validity; the next microsecond does not."""
    found = certificate()
    moment = timedelta(microseconds=1)

    assert [found.is_not_yet_valid(t) for t in (found.not_before - moment, found.not_before)] == [True, False]
    assert [found.is_expired(t) for t in (found.not_after, found.not_after + moment)] == [False, True]
    assert not found.is_expired(NOW)


@pytest.mark.parametrize(
    ("own", "wanted", "matches"),
    [
        ("mbx1.contoso.test", "mbx1.contoso.test", True),
        ("MBX1.Contoso.Test", "mbx1.contoso.test", True),
        ("mbx1.contoso.test.", "mbx1.contoso.test", True),
        ("mbx1.contoso.test", "mbx1.contoso.test.", True),
        ("mbx1.contoso.test", "mbx2.contoso.test", False),
        ("contoso.test", "mbx1.contoso.test", False),
        ("*.contoso.test", "mbx1.contoso.test", True),
        ("*.Contoso.test.", "MBX1.contoso.test", True),
        ("*.contoso.test", "a.mbx1.contoso.test", False),
        ("*.contoso.test", "contoso.test", False),
        ("*.contoso.test", ".contoso.test", False),
        ("*.contoso.test", "*.contoso.test", True),
        ("m*.contoso.test", "mbx1.contoso.test", False),
        ("*", "mbx1", False),
        ("*.", "mbx1.", False),
        ("mbx1.contoso.test", "*.contoso.test", False),
        ("mbx1", "mbx1", True),
    ],
)
def test_a_name_stands_for_itself_or_one_label(own: str, wanted: str, *, matches: bool) -> None:
    """A name stands for itself in any case; a wildcard for exactly one first label."""
    assert name_matches(own, wanted) is matches


@pytest.mark.parametrize("name", ["mbx1.contoso.test", "cn.contoso.test", "10.1.2.3"])
def test_subject_and_alternative_names_both_count(name: str) -> None:
    """Unlike browsers, Exchange looks at Subject even beside subject alternative names."""
    assert certificate("cn.contoso.test", names=("mbx1.contoso.test", "10.1.2.3")).has_name(name)


@pytest.mark.parametrize(
    "text",
    [
        THUMBPRINT,
        THUMBPRINT.lower(),
        f"\u200e{THUMBPRINT}",
        " ".join(THUMBPRINT[i : i + 2] for i in range(0, 40, 2)),
        ":".join(THUMBPRINT[i : i + 2] for i in range(0, 40, 2)).lower(),
        f" {THUMBPRINT}\n",
    ],
)
def test_a_thumbprint_is_read_as_people_paste_it(text: str) -> None:
    """Spaces, colons, case and the invisible mark of the certificate dialog do not matter."""
    assert normalized_thumbprint(text) == THUMBPRINT


@pytest.mark.parametrize(
    "text", ["", THUMBPRINT[:-1], f"{THUMBPRINT}0", f"{THUMBPRINT[:-1]}G", "\uff11" * 40]
)
def test_what_is_no_thumbprint_says_so(text: str) -> None:
    """Anything but 40 hexadecimal digits is refused, and the message repeats it."""
    with pytest.raises(ValueError, match=r"is not a thumbprint; it has 40 hexadecimal digits$") as raised:
        normalized_thumbprint(text)

    assert str(raised.value).startswith(repr(text))


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        (f"<I>CN={AUTHORITY}<S>CN=mbx1", True),
        (f"  <i> CN={AUTHORITY} <s> cn=MBX1 ", True),
        (f"<I>CN={AUTHORITY}<S>CN=mbx2", False),
        ("<I>CN=mbx1<S>CN=mbx1", False),
    ],
)
def test_certificate_name_asks_for_issuer_and_subject(text: str, *, matches: bool) -> None:
    """A TlsCertificateName matches where both names are the same."""
    name = CertificateName.parse(text)

    assert name.matches(certificate(issuer=AUTHORITY)) is matches
    assert name.text == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write <I>issuer<S>subject"),
        ("mbx1.contoso.test", "write <I>issuer<S>subject"),
        ("<S>CN=a<I>CN=b", "write <I>issuer<S>subject"),
        ("<I>CN=a", "write <I>issuer<S>subject"),
        ("<I><S>CN=a", "write <I>issuer<S>subject"),
        ("<I> <S>CN=a", "neither issuer nor subject may be empty"),
        ("<I>CN=a<S> ", "neither issuer nor subject may be empty"),
    ],
)
def test_what_is_no_certificate_name_says_so(text: str, message: str) -> None:
    """The message repeats the text and says what would do."""
    with pytest.raises(ValueError, match="is not a certificate name") as raised:
        CertificateName.parse(text)

    assert str(raised.value) == f"{text!r} is not a certificate name; {message}"


@pytest.mark.parametrize(
    ("services", "enabled"),
    [(frozenset({"SMTP", "IIS"}), True), (frozenset({"IIS"}), False), (frozenset(), False), (None, True)],
)
def test_enabled_for_smtp_unless_the_list_says_otherwise(
    services: frozenset[str] | None, *, enabled: bool
) -> None:
    """A certificate that services.yaml does not list counts as enabled."""
    found: StoreCertificate = stored(certificate(), services=services, key=KeyState.USABLE)

    assert found.enabled_for_smtp is enabled


@pytest.mark.parametrize(("services", "shown"), [(frozenset({"SMTP", "IIS"}), ["IIS", "SMTP"]), (None, None)])
def test_a_stored_certificate_as_json(services: frozenset[str] | None, shown: list[str] | None) -> None:
    """The object says whose it is, whether it can be used, and whether the directory names it."""
    one = stored(certificate(), services=services, key=KeyState.MISMATCH)

    found = stored_certificate_json(one, "MBX1", internal_transport=True)

    assert found["thumbprint"] == one.certificate.thumbprint
    assert (found["server"], found["file"], found["private_key"]) == ("MBX1", one.file, "mismatch")
    assert (found["services"], found["internal_transport"]) == (shown, True)
