"""Look-alikes of certificates whose private keys stayed on another server: same names and dates, own key.

They are in the memory of this process alone, and no other server takes them for what they look like: the
thumbprint differs, and what a certification authority issued is signed by nobody but itself.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtpd_anontls.certificates.contents import parse
from smtpd_anontls.certificates.entries import Entry, index
from smtpd_anontls.certificates.passwords import Password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.certificate import Certificate

_FILE = "stand-in"  # What stands for the name of a file where there is none.
_RSA_SIZES = range(2048, 4097)  # Others would be refused, or take seconds to make.
_LONGEST_SERIAL = 159  # Bits: RFC 5280 section 4.1.2.2.
# These speak of the keys: the certificate's own, and its issuer's.
_OF_KEYS = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier, x509.PrecertPoison)


class StandInError(Exception):
    """No look-alike can be made; a clause says why."""


class StandIns:
    """The look-alikes of this process, one for each certificate; the first question makes it."""

    def __init__(self) -> None:
        self._made: dict[str, Entry] = {}  # By the thumbprint of the real one.
        self._making = asyncio.Lock()

    async def standing_in_for(self, certificate: Certificate) -> Certificate:
        """Return the look-alike of *certificate*; StandInError where none can be made.  RSA takes up to a second."""
        async with self._making:
            if certificate.thumbprint not in self._made:
                self._made[certificate.thumbprint] = await asyncio.to_thread(_make, certificate)
        return self._made[certificate.thumbprint].held.certificate

    def find(self, thumbprint: str) -> Entry | None:
        """Return the look-alike with this thumbprint of its own, where it has been made."""
        made = self._made.values()
        return next((entry for entry in made if entry.held.certificate.thumbprint == thumbprint), None)

    @property
    def made(self) -> Mapping[str, Certificate]:
        """The look-alikes that there are, by the thumbprint of the real one."""
        return {thumbprint: entry.held.certificate for thumbprint, entry in self._made.items()}


def _make(certificate: Certificate) -> Entry:
    with warnings.catch_warnings():
        # As in domain.certificate: an odd serial number or name of an old certificate harms nothing.
        warnings.simplefilter("ignore")
        parsed = x509.load_der_x509_certificate(certificate.der)
        key = _key_like(parsed)
        try:
            signed = _builder(parsed, certificate, key).sign(key, hashes.SHA256())
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StandInError(f"no look-alike of {certificate.thumbprint} can be made: {error}") from error
    pem = signed.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (entry,) = index({_FILE: parse(_FILE, pem, Password(""))}).values()
    return entry


def _builder(
    parsed: x509.Certificate, certificate: Certificate, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    serial = parsed.serial_number
    builder = (
        x509.CertificateBuilder()
        .subject_name(parsed.subject)
        .issuer_name(parsed.issuer)
        .public_key(key.public_key())
        .serial_number(
            serial
            if 0 < serial.bit_length() <= _LONGEST_SERIAL and serial > 0
            else x509.random_serial_number()
        )
        .not_valid_before(certificate.not_before)
        .not_valid_after(certificate.not_after)
    )
    try:
        extensions = list(parsed.extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        extensions = []  # The selections find none in it, either.
    for extension in extensions:
        if not isinstance(extension.value, _OF_KEYS):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder


def _key_like(parsed: x509.Certificate) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """Return a new key of the kind that the certificate has, where a peer would take one."""
    try:
        public = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if isinstance(public, ec.EllipticCurvePublicKey):
        return ec.generate_private_key(public.curve)
    size = public.key_size if isinstance(public, rsa.RSAPublicKey) else 0
    return rsa.generate_private_key(
        public_exponent=65537, key_size=size if size in _RSA_SIZES else _RSA_SIZES.start
    )
