"""What is said of a blob of EXCHANGEAUTH."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.protocol.exchange_auth_blob import MAX_BLOB, describe
from tests.der import ap_req, der, gss_token, negotiate_token, ticket

REQUEST = ap_req()
KERBEROS = gss_token(REQUEST)
NTLM = b"NTLMSSP\0\1\0\0\0"
NTLM_OID = bytes.fromhex("060a2b06010401823702020a")
TICKET = "a ticket for SMTPSVC/mbx1.contoso.test@CONTOSO.TEST (encryption type 18, key version 2)"


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        pytest.param(
            b"",
            "0 octets, which begin with no element of ASN.1; no frame of Kerberos, SPNEGO or NTLM is in it",
            id="nothing",
        ),
        pytest.param(
            b"x",
            "1 octet, all of them printable ASCII; no frame of Kerberos, SPNEGO or NTLM is in it",
            id="text",
        ),
        pytest.param(
            b"\xffgarbage",
            "8 octets, which begin with no element of ASN.1; no frame of Kerberos, SPNEGO or NTLM is in it",
            id="garbage",
        ),
        pytest.param(
            b"\xd0\x01\x00",
            "3 octets, which begin as ASN.1 would: [PRIVATE 16] of 1 octet; "
            "no frame of Kerberos, SPNEGO or NTLM is in it",
            id="ASN.1 of nobody's",
        ),
        pytest.param(
            REQUEST,
            "204 octets, which begin as ASN.1 would: [APPLICATION 14] of 201 octets, in it SEQUENCE of 198 octets, "
            f"in it [0] of 3 octets, in it INTEGER of 1 octet; at 0 an AP-REQ of 204 octets with {TICKET}",
            id="bare AP-REQ",
        ),
        pytest.param(
            KERBEROS,
            "220 octets, which begin as ASN.1 would: [APPLICATION 0] of 217 octets, in it OBJECT IDENTIFIER of 9 "
            f"octets; at 0 a GSS token of Kerberos of 220 octets; at 16 an AP-REQ of 204 octets with {TICKET}",
            id="GSS token",
        ),
        pytest.param(
            b"\xff\xdc" + KERBEROS + bytes(32),
            "254 octets, which begin with no element of ASN.1; at 2 a GSS token of Kerberos of 220 octets; "
            f"at 18 an AP-REQ of 204 octets with {TICKET}",
            id="something around it",
        ),
        pytest.param(
            negotiate_token(NTLM, NTLM_OID),
            "46 octets, which begin as ASN.1 would: [APPLICATION 0] of 44 octets, in it OBJECT IDENTIFIER of 6 "
            "octets; at 0 a GSS token of SPNEGO of 46 octets; at 34 the signature of NTLM of 8 octets",
            id="NTLM in SPNEGO",
        ),
        pytest.param(
            KERBEROS[:100],
            "100 octets, which begin with no element of ASN.1; at 3 the object identifier of Kerberos of 11 octets",
            id="cut off",
        ),
    ],
)
def test_blob_is_described(octets: bytes, said: str) -> None:
    """Size, beginning and the frames that are known are said."""
    assert str(describe(octets)) == said


def test_first_ticket_is_the_blobs() -> None:
    """Of several tickets the first counts; without one there is none."""
    blob = describe(gss_token(ap_req(ticket("MBX1$"))) + REQUEST)

    assert blob.ticket is not None
    assert blob.ticket.service == "MBX1$@CONTOSO.TEST"
    assert describe(b"garbage").ticket is None


def test_long_description_ends() -> None:
    """Of many frames the first six are shown, of nested elements the first six."""
    nested = b""
    for _ in range(9):
        nested = der(0x30, nested)

    many = str(describe(REQUEST * 7))

    assert many.count("an AP-REQ") == 6
    assert many.endswith("; and more")
    assert not str(describe(REQUEST * 6)).endswith("; and more")
    assert describe(nested).beginning[-1] == "SEQUENCE of 6 octets"


def test_blob_that_no_line_carries_is_not_looked_at() -> None:
    """Beyond the limit only the size is said."""
    longest, longer = describe(REQUEST + bytes(MAX_BLOB - len(REQUEST))), describe(REQUEST + bytes(MAX_BLOB))

    assert len(longest.found) == 1
    assert longer.found == ()
    assert str(longer) == "12,492 octets, more than 12,288: it is not looked at"


@given(st.binary(max_size=300))
def test_no_octets_are_repeated(noise: bytes) -> None:
    """Whatever the blob is, its description is made of our own words and of numbers."""
    said = str(describe(noise))

    assert re.fullmatch(r"[\w ,.;:\[\]-]+", said)
    assert noise.hex() not in said or len(noise) < 8
