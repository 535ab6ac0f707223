"""What msExchServerInternalTLSCert holds, in each form that it is found in."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.certificate import thumbprint_of
from smtpd_anontls.domain.directory_value import MAX_VALUE_BYTES, Named, Unreadable, ValueForm, decode
from tests.making import der, record

if TYPE_CHECKING:
    from random import Random

DER = der()
THUMBPRINT = thumbprint_of(DER)
FRIENDLY = "Microsoft Exchange"
NOT_UNDERSTOOD = "neither a certificate (DER, PEM, serialized) nor a thumbprint"

CERTIFICATE_RECORD = record(0x20, DER)
NAME_RECORD = record(0x0B, (FRIENDLY + "\0").encode("utf-16-le"))


def pem(octets: bytes) -> bytes:
    """Return *octets* as a PEM certificate."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(octets) + b"-----END CERTIFICATE-----\n"


UNDERSTOOD: dict[str, tuple[bytes, ValueForm, str | None]] = {
    "DER": (DER, ValueForm.DER, None),
    "PEM": (pem(DER), ValueForm.PEM, None),
    "PEM with text around it": (b"0 s:CN = mbx1\r\n" + pem(DER) + pem(der(serial=9)), ValueForm.PEM, None),
    "PEM with CRLF": (pem(DER).replace(b"\n", b"\r\n"), ValueForm.PEM, None),
    "serialized, the certificate alone": (CERTIFICATE_RECORD, ValueForm.SERIALIZED, None),
    "serialized, with a friendly name": (CERTIFICATE_RECORD + NAME_RECORD, ValueForm.SERIALIZED, FRIENDLY),
    "serialized, the name first": (NAME_RECORD + CERTIFICATE_RECORD, ValueForm.SERIALIZED, FRIENDLY),
    "serialized, an empty name": (
        record(0x0B, b"\0\0") + CERTIFICATE_RECORD,
        ValueForm.SERIALIZED,
        None,
    ),
    # These ids begin like a DER SEQUENCE.
    "serialized, an id of 0x30 first": (record(0x30, b"") + CERTIFICATE_RECORD, ValueForm.SERIALIZED, None),
    "serialized, an id of 0x8230 first": (
        record(0x8230, b"") + CERTIFICATE_RECORD,
        ValueForm.SERIALIZED,
        None,
    ),
    "20 octets of a thumbprint": (bytes.fromhex(THUMBPRINT), ValueForm.THUMBPRINT, None),
    "the digits of a thumbprint": (THUMBPRINT.encode(), ValueForm.THUMBPRINT, None),
    "small digits with spaces": (
        " ".join(THUMBPRINT[i : i + 2] for i in range(0, 40, 2)).lower().encode(),
        ValueForm.THUMBPRINT,
        None,
    ),
    "digits behind an invisible mark": (f"\u200e{THUMBPRINT}\n".encode(), ValueForm.THUMBPRINT, None),
}


@pytest.mark.parametrize(("value", "form", "name"), UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_every_form_names_the_same_certificate(value: bytes, form: ValueForm, name: str | None) -> None:
    """Whatever the form, the thumbprint is the same, and the form and friendly name are told."""
    assert decode(value) == Named(THUMBPRINT, form, name)


@pytest.mark.parametrize(
    ("file", "thumbprint", "name"),
    [
        ("auth", "2D10A746D6BB8D795F1679AEBD89D5D2AE583CB7", "Microsoft Exchange Server Auth Certificate"),
        ("internal-transport", "611C687DFC4343A5A03E0005A1EC6E9B6AFF586D", "Microsoft Exchange"),
        ("iis-express", "E267D459A0FB53D0EF225C11FAC062D522648C09", "IIS Express Development Certificate"),
        ("wmsvc", "3341CEAF3DF4D3A9527EC98BDD53C54ECC3E0620", "WMSVC-SHA2"),
    ],
)
def test_certificates_of_a_real_server_are_understood(file: str, thumbprint: str, name: str) -> None:
    """What an Exchange 2019 server serialized names its certificates."""
    value = (Path(__file__).parent / "data" / "exchange-2019" / f"{file}.bin").read_bytes()

    assert decode(value) == Named(thumbprint, ValueForm.SERIALIZED, name)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"", "0 octets, no certificate among its property records", id="nothing"),
        pytest.param(b"\x30\x82", "2 octets, not an X.509 certificate that can be read", id="DER cut off"),
        pytest.param(pem(b"no DER"), "not an X.509 certificate that can be read", id="PEM of something else"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\n=A*\n-----END CERTIFICATE-----", "octets, ", id="PEM of no base64"
        ),
        pytest.param(b"hello", "5 octets, a truncated property record", id="text"),
        pytest.param(b"5" * 39, "39 octets, a truncated", id="39 digits"),
        pytest.param(b"\xe9" * 40, "40 octets, a truncated", id="no UTF-8"),
        pytest.param(
            NAME_RECORD, "no certificate among its property records", id="serialized without a certificate"
        ),
        pytest.param(
            CERTIFICATE_RECORD[:-1], "a truncated property record", id="serialized, cut off in a value"
        ),
        pytest.param(
            CERTIFICATE_RECORD + b"\x20\0\0",
            "a truncated property record",
            id="serialized, cut off in a head",
        ),
        pytest.param(
            struct.pack("<III", 0x20, 1, 0xFFFFFFFF),
            "a truncated property record",
            id="a length out of bounds",
        ),
        pytest.param(record(0x20, b"no DER"), "not an X.509 certificate", id="serialized, of something else"),
    ],
)
def test_what_is_not_understood_says_why(value: bytes, reason: str) -> None:
    """The reason tells how long the value was, what was wrong, and what would do."""
    answer = decode(value)

    assert isinstance(answer, Unreadable)
    assert reason in answer.reason
    assert answer.reason.startswith("its value was not understood (")
    assert answer.reason.endswith(NOT_UNDERSTOOD)


def test_a_huge_value_is_not_looked_into() -> None:
    """A value larger than any certificate is refused by its size."""
    assert decode(CERTIFICATE_RECORD + record(1, bytes(MAX_VALUE_BYTES))) == Unreadable(
        f"its value was not understood: {MAX_VALUE_BYTES + len(CERTIFICATE_RECORD) + 12} octets are too many "
        "for a certificate"
    )


@given(st.binary(max_size=400))
def test_any_octets_give_an_answer(value: bytes) -> None:
    """Whatever the octets, there is an answer and no exception."""
    assert isinstance(decode(value), Named | Unreadable)


@given(
    st.sampled_from([value for value, _, _ in UNDERSTOOD.values()]),
    st.integers(0, 600),
    st.binary(max_size=4),
    st.integers(0, 4),
)
def test_damaged_values_give_an_answer(value: bytes, at: int, instead: bytes, gone: int) -> None:
    """Damage anywhere in a good value gives an answer and no exception."""
    assert isinstance(decode(value[:at] + instead + value[at + gone :]), Named | Unreadable)


PROPERTIES = st.builds(
    record, st.integers(0, 2**32 - 1).filter(lambda kind: kind not in {0x0B, 0x20}), st.binary(max_size=40)
)


@given(st.lists(PROPERTIES, max_size=6), st.randoms(use_true_random=False))
def test_properties_come_in_any_order(others: list[bytes], shuffle: Random) -> None:
    """The certificate and its friendly name are found wherever they stand among the properties."""
    records = [*others, CERTIFICATE_RECORD, NAME_RECORD]
    shuffle.shuffle(records)

    assert decode(b"".join(records)) == Named(THUMBPRINT, ValueForm.SERIALIZED, FRIENDLY)
