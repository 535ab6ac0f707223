"""EXCHANGEAUTH, looked at: what is recorded of a blob with tickets of a real KDC in it, or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.observe import ObserveExchange
from smtpd_anontls.domain.authentication import Failed, FailureReason
from tests.components.accepting import client
from tests.der import ap_req, gss_token, negotiate_token
from tests.initiator import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mit_kdc import MitKdc

pytestmark = pytest.mark.slow

FRAME = 17  # So many octets of GSSAPI's frame stand before the AP-REQ, where that is longer than 255.


async def observed(token: bytes, keytab: Path | None) -> Failed:
    """Return what comes of a token."""
    step = await ObserveExchange(keytab=keytab, hostname=HOST).step(token)
    assert isinstance(step, Failed)
    assert (step.reason, step.is_ours) == (FailureReason.OBSERVED, True)
    assert step.error == "UnexpectedExchangeAuthBlob"
    assert step.detail.isprintable()
    return step


@pytest.mark.parametrize("negotiate", [False, True], ids=["Kerberos", "Negotiate"])
@pytest.mark.parametrize(
    ("before", "behind"), [(b"", b""), (b"\x00\x01\x02\x03", bytes(32))], ids=["alone", "inside"]
)
async def test_good_ticket_is_recognised(
    realm: MitKdc, before: bytes, behind: bytes, *, negotiate: bool
) -> None:
    """Wherever in the blob a GSS token stands, its ticket is checked and its principal named; nobody gets in."""
    blob = before + client(realm, negotiate=negotiate).first() + behind

    step = await observed(blob, realm.keytab)

    assert step.identity == "MBX2$@CONTOSO.TEST"
    name = "SPNEGO" if negotiate else "Kerberos"
    assert f"at {len(before)} a GSS token of {name}" in step.detail
    assert "a ticket for SMTPSVC/mbx1.contoso.test@CONTOSO.TEST" in step.detail
    assert "; the ticket is good and of MBX2$@CONTOSO.TEST: Kerberos" in step.detail


async def test_bare_request_is_recognised(realm: MitKdc) -> None:
    """An AP-REQ without GSSAPI's frame around it is checked as well."""
    request = client(realm).first()[FRAME:]

    step = await observed(b"EXCHANGE" + request, realm.keytab)

    assert f"at 8 an AP-REQ of {len(request):,} octets" in step.detail
    assert step.identity == "MBX2$@CONTOSO.TEST"


async def test_ticket_in_a_broken_frame_is_recognised(realm: MitKdc) -> None:
    """Where the outer frame is none that GSSAPI reads, the inner one is tried."""
    request = client(realm).first()
    blob = bytearray(request)
    blob[FRAME - 2 : FRAME] = b"\xff\xff"

    step = await observed(bytes(blob), realm.keytab)

    assert "at 0 a GSS token of Kerberos" in step.detail
    assert "the ticket is good" in step.detail


async def test_ticket_that_is_not_taken(realm: MitKdc) -> None:
    """A ticket for another host, or one that was seen before, is said to be so, and to be nobody's."""
    token = client(realm).first()
    await observed(token, realm.keytab)

    other = await observed(client(realm, host="mbx2.contoso.test").first(), realm.keytab)
    again = await observed(token, realm.keytab)

    assert "the ticket is not taken, wrong_key: the ticket is for another key" in other.detail
    assert "the ticket is not taken, replay: the token has been used before" in again.detail
    assert other.identity is again.identity is None


async def test_nothing_is_checked_without_a_keytab(realm: MitKdc, tmp_path: Path) -> None:
    """Without a keytab, or with one that is not there, the blob is described all the same."""
    token = client(realm).first()

    without, missing = await observed(token, None), await observed(token, tmp_path / "none.keytab")

    assert without.detail.endswith("; no keytab is configured that could check the ticket")
    assert missing.detail.endswith("not_available: the keytab none.keytab does not exist")
    assert all(
        "a ticket for SMTPSVC/mbx1.contoso.test@CONTOSO.TEST" in step.detail for step in (without, missing)
    )


@pytest.mark.parametrize("token", [b"", b"garbage", bytes(range(256)) * 40, b"\x60" * 12288], ids=len)
async def test_blob_of_something_else(realm: MitKdc, token: bytes) -> None:
    """Where no ticket is in the blob, none is spoken of."""
    step = await observed(token, realm.keytab)

    assert step.detail.startswith(f"the client's token is {len(token):,} octets, ")
    assert "ticket" not in step.detail
    assert step.identity is None


@pytest.mark.parametrize(
    "token", [gss_token(b"\xff" * 40), negotiate_token(b"\x60"), ap_req()], ids=["frame", "frames", "request"]
)
async def test_ticket_that_only_looks_like_one(realm: MitKdc, token: bytes) -> None:
    """What GSSAPI cannot read, or no key made, is nobody's ticket."""
    step = await observed(token, realm.keytab)

    assert (
        step.detail.endswith("; GSSAPI can read no ticket in it")
        or "; the ticket is not taken, " in step.detail
    )
    assert step.identity is None
