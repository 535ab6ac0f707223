"""What a Kerberos message says in the clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.protocol.kerberos_messages import (
    KERBEROS_OID,
    SPNEGO_OID,
    ClearTicket,
    Element,
    begins_gss_token,
    element_at,
    in_gss_frame,
    request_at,
)
from tests.der import ap_req, context, der, encrypted, gss_token, integer, ticket


@pytest.mark.parametrize(
    ("octets", "element"),
    [
        pytest.param(b"\x02\x01\x05", Element(0x02, 0, 2, 3), id="short length"),
        pytest.param(b"\x04\x81\x80" + bytes(128), Element(0x04, 0, 3, 131), id="length in one octet"),
        pytest.param(b"\x04\x82\x01\x00" + bytes(256), Element(0x04, 0, 4, 260), id="length in two octets"),
        pytest.param(b"\x05\x00", Element(0x05, 0, 2, 2), id="no content"),
        pytest.param(b"\x02\x01\x05\x02", Element(0x02, 0, 2, 3), id="more behind it"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"\x02", None, id="tag alone"),
        pytest.param(b"\x02\x02\x05", None, id="content that runs out"),
        pytest.param(b"\x04\x82\x01", None, id="length that runs out"),
        pytest.param(b"\x30\x80\x00\x00", None, id="indefinite length"),
        pytest.param(b"\x04\x84\x00\x00\x00\x01\x00", None, id="length in four octets"),
        pytest.param(b"\x1f\x81\x01\x00", None, id="tag in several octets"),
    ],
)
def test_element_is_read_where_it_is_whole(octets: bytes, element: Element | None) -> None:
    """An element is its tag, and where its content begins and ends."""
    assert element_at(octets, 0) == element


def test_element_stays_within_the_one_around_it() -> None:
    """A length that reaches beyond the outer element is none."""
    octets = b"\x30\x03\x02\x02\x05\x06"

    assert element_at(octets, 2, 5) is None
    assert element_at(octets, 2) == Element(0x02, 2, 4, 6)


@pytest.mark.parametrize(
    ("of", "shown"),
    [
        pytest.param(
            ticket(),
            "SMTPSVC/mbx1.contoso.test@CONTOSO.TEST (encryption type 18, key version 2)",
            id="service of a host",
        ),
        pytest.param(
            ticket("MBX1$", key_version=None, encryption_type=-133),
            "MBX1$@CONTOSO.TEST (encryption type -133)",
            id="computer account, no key version",
        ),
        pytest.param(
            ticket("a\x1b[31m", b"\xff", realm="R\n"),
            "a\\x1b[31m/\\xff@R\\x0a (encryption type 18, key version 2)",
            id="what no terminal should see",
        ),
        pytest.param(
            ticket("a" * 300),
            f"{'a' * 120}… (encryption type 18, key version 2)",
            id="longer than anybody reads",
        ),
        pytest.param(
            ticket(key_version=0xFFFFFFFF),
            "SMTPSVC/mbx1.contoso.test@CONTOSO.TEST (encryption type 18, key version 4294967295)",
            id="largest key version",
        ),
    ],
)
def test_ticket_names_its_service(of: bytes, shown: str) -> None:
    """The clear part of a ticket says which service and key it is for, and is made safe to show."""
    octets = b"before" + ap_req(of) + b"behind"

    found = request_at(octets, 6)

    assert found is not None
    element, clear = found
    assert (element.offset, element.end) == (6, len(octets) - 6)
    assert str(clear) == shown


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(ap_req()[:-1], id="cut off"),
        pytest.param(gss_token(ap_req()), id="something around it"),
        pytest.param(der(0x6E, der(0x31, b"")), id="no sequence"),
        pytest.param(der(0x6E, der(0x30, b""), b"\x05\x00"), id="something behind the sequence"),
        pytest.param(der(0x6E, b""), id="empty"),
        pytest.param(der(0x6E, der(0x30, b"\x05\x07")), id="member that is not whole"),
        pytest.param(der(0x6E, der(0x30, *(b"\x05\x00",) * 17)), id="far too many members"),
        pytest.param(ap_req(version=context(0, integer(4))), id="another version"),
        pytest.param(ap_req(version=b""), id="no version"),
        pytest.param(ap_req(version=context(0, der(0x02, b""))), id="number without octets"),
        pytest.param(ap_req(version=context(0, der(0x02, bytes(5) + b"\x05"))), id="number of six octets"),
        pytest.param(ap_req(kind=context(1, integer(15))), id="another message"),
        pytest.param(ap_req(options=context(2, integer(1))), id="options that are no bits"),
        pytest.param(ap_req(authenticator=b""), id="no authenticator"),
        pytest.param(ap_req(ticket(version=4)), id="ticket of another version"),
        pytest.param(ap_req(encrypted()), id="no ticket"),
    ],
)
def test_anything_else_is_no_request(octets: bytes) -> None:
    """Only an AP-REQ that is whole, with a whole ticket and an authenticator, counts as one."""
    assert request_at(octets, 0) is None


def test_gss_token_is_of_its_mechanism() -> None:
    """A GSS token begins with the mechanism that it is of, and ends where it says."""
    token = gss_token(ap_req())

    found = begins_gss_token(b"xx" + token + b"yy", KERBEROS_OID, 2)

    assert found is not None
    assert (found.offset, found.end) == (2, 2 + len(token))
    assert begins_gss_token(token, SPNEGO_OID) is None
    assert begins_gss_token(ap_req(), KERBEROS_OID) is None
    assert begins_gss_token(token[:-1], KERBEROS_OID) is None


def test_request_is_put_into_a_frame() -> None:
    """An AP-REQ with GSSAPI's frame around it is a token of Kerberos, which ends with it."""
    framed = in_gss_frame(ap_req())

    found = begins_gss_token(framed, KERBEROS_OID)

    assert found is not None
    assert (found.end, request_at(framed, len(framed) - len(ap_req()))) == (
        len(framed),
        (Element(0x6E, 18, 21, 222), ClearTicket("SMTPSVC/mbx1.contoso.test@CONTOSO.TEST", 18, 2)),
    )


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_any_octets_are_read_without_an_exception(noise: bytes, at: int, octet: int) -> None:
    """Whatever a peer writes, or changes in a request, is a ticket or none."""
    altered = bytearray(ap_req())
    altered[at % len(altered)] = octet

    for octets in (noise, b"\x6e" + noise, bytes(altered)):
        found = request_at(octets, 0)

        assert found is None or isinstance(found[1], ClearTicket)
