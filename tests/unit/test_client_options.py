"""Which options of a probe can be, and what is said of those that cannot."""

from __future__ import annotations

from typing import Any

import pytest

from smtpd_anontls.client.conversation import checked_ehlo_name, local_name
from smtpd_anontls.client.logon import LogonOptions
from smtpd_anontls.client.probe import ProbeOptions
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion

THUMBPRINT = "5C7A" * 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ehlo": ""}, "write edge.contoso.test"),
        ({"ehlo": "two words"}, "write edge.contoso.test"),
        ({"ehlo": "edge\r\nQUIT"}, "write edge.contoso.test"),
        ({"ehlo": "bücher.test"}, "write edge.contoso.test"),
        ({"timeout": 0.0}, "more than 0"),
        ({"timeout": -1.0}, "more than 0"),
        ({"timeout": float("nan")}, "more than 0"),
        ({"timeout": float("inf")}, "at most 3600"),
        ({"tls_min": TlsVersion.TLSv1_3, "tls_max": TlsVersion.TLSv1_2}, "exchange the two"),
        ({"server_name": ".contoso.test"}, "write mx1.contoso.test"),
        ({"server_name": "mx1..test"}, "write mx1.contoso.test"),
        ({"expect_thumbprint": "5C7A"}, "40 hexadecimal digits"),
        ({"expect_thumbprint": THUMBPRINT, "verb": None}, "name a verb"),
    ],
)
def test_an_option_that_cannot_be_is_told(change: dict[str, Any], said: str) -> None:
    """Each mistake is a ValueError that says what would do."""
    with pytest.raises(ValueError, match=said):
        ProbeOptions(**{"ehlo": "edge.contoso.test", **change})


def test_the_thumbprint_is_kept_as_windows_writes_it() -> None:
    """Case, colons and spaces of the expected thumbprint do not matter."""
    options = ProbeOptions(ehlo="edge", expect_thumbprint=" 5c:7a" * 10)

    assert options.expect_thumbprint == THUMBPRINT
    assert options.verb is TlsVerb.X_ANONYMOUSTLS


@pytest.mark.parametrize("name", ["edge.contoso.test", "MBX_1", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_names_for_ehlo(name: str) -> None:
    """Host names and address literals may stand behind EHLO, this machine's own name among them."""
    assert checked_ehlo_name(name) == name
    assert checked_ehlo_name(local_name())


def test_an_offer_names_its_versions() -> None:
    """An offer reads as a range, or as its only version."""
    assert str(TlsOffer()) == "TLSv1 to TLSv1.3"
    assert str(TlsOffer(TlsVersion.TLSv1_2, TlsVersion.TLSv1_2)) == "TLSv1.2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mechanism": Mechanism.EXCHANGEAUTH}, "EXCHANGEAUTH is not one of GSSAPI, NTLM, LOGIN"),
        ({"user": ""}, "the user name is empty"),
        ({"password": ""}, "the password is empty"),
        ({"user": None}, "say --user"),
        ({"spn": "mbx1"}, "write SMTPSVC/mbx1.contoso.test"),
        ({"spn": "SMTPSVC/"}, "write SMTPSVC/mbx1.contoso.test"),
        ({"spn": "SMTPSVC/a b"}, "write SMTPSVC/mbx1.contoso.test"),
    ],
)
def test_a_logon_that_cannot_be_is_told(change: dict[str, Any], said: str) -> None:
    """Each mistake is a ValueError that says what would do."""
    usual = {"mechanism": Mechanism.NTLM, "user": "alice", "password": "secret"}
    with pytest.raises(ValueError, match=said):
        LogonOptions(**{**usual, **change})


@pytest.mark.parametrize("spn", [None, "SMTPSVC/mbx9.contoso.test", "SMTPSVC/mbx9@CONTOSO.TEST"])
def test_the_service_is_named_after_the_host(spn: str | None) -> None:
    """SMTPSVC and the host as it was given, unless another name was."""
    logon = LogonOptions(mechanism=Mechanism.NTLM, user="alice", password="secret", spn=spn)  # noqa: S106 - made up

    assert logon.service(Target("mbx1.contoso.test", 2525)) == (spn or "SMTPSVC/mbx1.contoso.test")
    assert "secret" not in repr(logon)
