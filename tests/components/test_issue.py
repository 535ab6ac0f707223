"""Certificates such as Exchange makes for itself, read back by other means."""

from __future__ import annotations

import re
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.domain.certificate import Certificate
from tests.components.handshake import NOW, exchange_rsa, fresh

if TYPE_CHECKING:
    from pathlib import Path


def test_makes_what_exchange_makes() -> None:
    """Names, extensions and their criticality are those of a "Microsoft Exchange" certificate."""
    parsed = x509.load_pem_x509_certificate(exchange_rsa().certificate_pem)

    assert parsed.subject.rfc4514_string() == parsed.issuer.rfc4514_string() == "CN=MBX1"
    assert [(e.oid.dotted_string, e.critical) for e in parsed.extensions] == [
        ("2.5.29.15", True),  # keyUsage
        ("2.5.29.17", False),  # subjectAltName
        ("2.5.29.37", False),  # extKeyUsage
        ("2.5.29.19", True),  # basicConstraints
    ]
    usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.public_bytes() == bytes.fromhex("030205a0")  # digitalSignature, keyEncipherment: a0.
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["MBX1", "mbx1.contoso.test"]
    assert list(parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_is_valid_for_five_years_from_now() -> None:
    """Valid from is now, Valid to the same day five years on, the signature SHA-256."""
    parsed = x509.load_pem_x509_certificate(exchange_rsa().certificate_pem)

    assert parsed.not_valid_before_utc == NOW
    assert parsed.not_valid_after_utc == datetime(2031, 11, 22, 12, 0, tzinfo=UTC)
    assert parsed.signature_hash_algorithm is not None
    assert parsed.signature_hash_algorithm.name == "sha256"
    parsed.verify_directly_issued_by(parsed)


def test_takes_the_dates_that_it_is_given() -> None:
    """A scenario's certificate may have expired already, or be issued on 29 February."""
    leap_day = datetime(2028, 2, 29, tzinfo=UTC)
    expired = issue(
        ["a"], now=NOW, valid_from=NOW - timedelta(9), valid_to=NOW - timedelta(1), key_type=KeyType.EC
    )
    leaping = issue(["a"], now=leap_day, key_type=KeyType.EC)

    assert expired.certificate.not_after == NOW - timedelta(1)
    assert leaping.certificate.not_after == datetime(2033, 2, 28, tzinfo=UTC)


def test_makes_keys_of_both_kinds() -> None:
    """RSA has 2048 bits, EC is P-256, and the key is that of the certificate."""
    for issued in (exchange_rsa(), fresh()):
        key = load_pem_private_key(issued.key_pem, None)
        parsed = x509.load_pem_x509_certificate(issued.certificate_pem)

        assert key.public_key() == parsed.public_key()
        if isinstance(key, rsa.RSAPrivateKey):
            assert key.key_size == 2048
        else:
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            assert isinstance(key.curve, ec.SECP256R1)


def test_value_is_the_certificate() -> None:
    """The value describes the very octets of the PEM text."""
    issued = exchange_rsa()

    assert issued.certificate == Certificate.from_der(
        ssl.PEM_cert_to_DER_cert(issued.certificate_pem.decode())
    )
    assert issued.certificate.self_signed
    assert issued.certificate.has_name("MBX1.contoso.TEST")


def test_serial_numbers_have_sixteen_octets_and_differ() -> None:
    """Serial numbers look like those of Windows: 32 digits, never the same twice."""
    serials = {fresh().certificate.serial_number for _ in range(20)}

    assert len(serials) == 20
    assert all(re.fullmatch("[4-7][0-9A-F]{31}", serial) for serial in serials)


def test_key_is_not_printed() -> None:
    """The representation of a new certificate shows neither PEM text."""
    assert "BEGIN" not in repr(exchange_rsa())


def test_repeated_names_count_once() -> None:
    """A server without a domain has one name, however it is spelled."""
    issued = issue(["MBX1", "mbx1", "*.contoso.test"], now=NOW, key_type=KeyType.EC)

    assert issued.certificate.subject_alternative_names == ("MBX1", "*.contoso.test")


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        pytest.param([], "needs a name", id="none"),
        pytest.param([""], "'' is not a DNS name", id="empty"),
        pytest.param(["mbx 1"], "'mbx 1' is not a DNS name", id="space"),
        pytest.param(["mbx1", "bücher.test"], "in its xn-- form", id="another script"),
        pytest.param(["a." * 127 + "a"], "is not a DNS name", id="longer than 253"),
        pytest.param(["a" * 33 + "." + "b" * 33], "too long for a CN", id="longer than a CN"),
        pytest.param(["mbx1\n"], "is not a DNS name", id="line feed"),
    ],
)
def test_refuses_names_that_are_none(names: list[str], complaint: str) -> None:
    """What cannot stand in a certificate is refused in words."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        issue(names, now=NOW, key_type=KeyType.EC)


def test_refuses_dates_in_the_wrong_order() -> None:
    """Valid to has to come after Valid from."""
    with pytest.raises(ValueError, match="has to be later"):
        issue(["a"], now=NOW, valid_to=NOW, key_type=KeyType.EC)


@pytest.mark.slow
def test_openssl_agrees(tmp_path: Path) -> None:
    """Openssl reads the certificate as an administrator would expect it."""
    (tmp_path / "mbx1.pem").write_bytes(exchange_rsa().certificate_pem)
    text = subprocess.run(
        ["openssl", "x509", "-in", "mbx1.pem", "-noout", "-text", "-fingerprint", "-sha1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert "Public-Key: (2048 bit)" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment" in text
    assert "TLS Web Server Authentication" in text
    assert "CA:FALSE" in text
    assert "DNS:MBX1, DNS:mbx1.contoso.test" in text
    assert exchange_rsa().certificate.thumbprint in text.replace(":", "")
