"""Extended Protection: the policy against what a client sent, and what a channel is named by."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import spnego.channel_bindings
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from smtpd_anontls.authentication.binding import NO_BINDING, binding_failure, channel_bindings_hash
from smtpd_anontls.domain.authentication import FailureReason
from smtpd_anontls.domain.certificate import CertificateError, tls_server_end_point
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.making import NOW, common_name, content_of, element, elements

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

OURS = b"tls-server-end-point:" + b"\x01" * 32
OTHER = b"tls-server-end-point:" + b"\x02" * 32
RIGHT, WRONG = channel_bindings_hash(OURS), channel_bindings_hash(OTHER)

NOT_USED, ALLOW, REQUIRE = (
    ExtendedProtectionPolicy.NotUsed,
    ExtendedProtectionPolicy.Allow,
    ExtendedProtectionPolicy.Require,
)


@pytest.mark.parametrize(
    ("policy", "binding", "sent", "reason"),
    [
        (NOT_USED, OURS, None, None),
        (NOT_USED, OURS, WRONG, None),
        (NOT_USED, None, RIGHT, None),
        (ALLOW, OURS, RIGHT, None),
        (ALLOW, OURS, None, None),
        (ALLOW, OURS, NO_BINDING, None),
        (ALLOW, OURS, WRONG, FailureReason.WRONG_BINDING),
        (ALLOW, OURS, b"", FailureReason.WRONG_BINDING),
        (ALLOW, None, None, None),
        (ALLOW, None, NO_BINDING, None),
        (ALLOW, None, RIGHT, FailureReason.WRONG_BINDING),
        (REQUIRE, OURS, RIGHT, None),
        (REQUIRE, OURS, None, FailureReason.MISSING_BINDING),
        (REQUIRE, OURS, NO_BINDING, FailureReason.MISSING_BINDING),
        (REQUIRE, OURS, WRONG, FailureReason.WRONG_BINDING),
        (REQUIRE, None, None, FailureReason.MISSING_BINDING),
        (REQUIRE, None, NO_BINDING, FailureReason.MISSING_BINDING),
        (REQUIRE, None, RIGHT, FailureReason.WRONG_BINDING),
    ],
)
def test_the_policy(
    policy: ExtendedProtectionPolicy, binding: bytes | None, sent: bytes | None, reason: FailureReason | None
) -> None:
    """None looks at nothing; Allow takes none or the right one; Require takes the right one alone."""
    failure = binding_failure(policy, binding=binding, sent=sent)

    assert (None if failure is None else failure[0]) == reason


def test_the_sentence_says_which_side_lacks_it() -> None:
    """Without TLS nothing that the client does can help."""
    with_tls = binding_failure(REQUIRE, binding=OURS, sent=None)
    without = binding_failure(REQUIRE, binding=None, sent=None)

    assert with_tls is not None
    assert without is not None
    assert with_tls[1].endswith("the client sent none")
    assert without[1].endswith("the session has no TLS to bind to")


def test_the_hash_is_that_of_an_independent_implementation() -> None:
    """The structure that pyspnego packs is the same one."""
    theirs = spnego.channel_bindings.GssChannelBindings(application_data=OURS).pack()

    assert hashlib.md5(theirs, usedforsecurity=False).digest() == RIGHT


# -- tls-server-end-point


def signed(
    key: CertificateIssuerPrivateKeyTypes,
    algorithm: hashes.SHA256 | hashes.SHA224 | hashes.SHA384 | hashes.SHA512 | None,
    *,
    pss: padding.PSS | None = None,
) -> bytes:
    """Return a certificate with this signature."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name("mbx1"))
        .issuer_name(common_name("mbx1"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(datetime(2037, 1, 1, tzinfo=UTC))
    )
    return builder.sign(key, algorithm, rsa_padding=pss).public_bytes(Encoding.DER)


EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("der", "name"),
    [
        pytest.param(signed(EC_KEY, hashes.SHA256()), "sha256", id="SHA-256"),
        pytest.param(signed(EC_KEY, hashes.SHA224()), "sha224", id="SHA-224"),
        pytest.param(signed(EC_KEY, hashes.SHA384()), "sha384", id="SHA-384"),
        pytest.param(signed(EC_KEY, hashes.SHA512()), "sha512", id="SHA-512"),
        pytest.param(signed(ed25519.Ed25519PrivateKey.generate(), None), "sha256", id="Ed25519 has none"),
    ],
)
def test_the_hash_is_that_of_the_signature(der: bytes, name: str) -> None:
    """RFC 5929 section 4.1."""
    expected = hashlib.new(name, der).digest()

    assert tls_server_end_point(der) == b"tls-server-end-point:" + expected


def test_rsa_pss_names_its_hash_in_its_parameters() -> None:
    """The algorithm identifier alone does not say."""
    key = rsa.generate_private_key(65537, 2048)
    der = signed(key, hashes.SHA384(), pss=padding.PSS(padding.MGF1(hashes.SHA384()), 48))

    assert tls_server_end_point(der).endswith(hashlib.sha384(der).digest())


@pytest.mark.parametrize(
    "oid",
    [
        pytest.param("06092a864886f70d010105", id="sha1WithRSAEncryption"),
        pytest.param("06092a864886f70d010104", id="md5WithRSAEncryption"),
        pytest.param("060a2a864886f70d0101ff7f", id="an algorithm that nobody knows"),
    ],
)
def test_where_the_hash_is_weak_or_unknown_it_is_sha256(oid: str) -> None:
    """RFC 5929 section 4.1 replaces MD5 and SHA-1; whether the signature holds is not asked."""
    body, _, signature = elements(content_of(signed(EC_KEY, hashes.SHA256())))
    algorithm = element(0x30, bytes.fromhex(oid), b"\x05\x00")
    # The third part of the body repeats the algorithm: RFC 5280 section 4.1.
    inner = [algorithm if number == 2 else part for number, part in enumerate(elements(content_of(body)))]
    der = element(0x30, element(0x30, *inner), algorithm, signature)

    assert tls_server_end_point(der) == b"tls-server-end-point:" + hashlib.sha256(der).digest()


def test_what_is_no_certificate_has_no_end_point() -> None:
    """One narrow error, as where a certificate is read."""
    with pytest.raises(CertificateError):
        tls_server_end_point(b"\x30\x03\x02\x01\x01")
