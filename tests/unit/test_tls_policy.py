"""TLS versions and cipher suites."""

from __future__ import annotations

import ssl

import pytest

from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion


def offered(policy: TlsPolicy) -> list[str]:
    """Return the suites up to TLS 1.2 that OpenSSL makes of the policy's cipher string."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(policy.cipher_string)
    return [suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]


def test_default_is_what_exchange_speaks() -> None:
    """TLS 1.2 alone, ECDHE with AES-GCM before AES-CBC, no SHA-1 suite; OpenSSL knows each of them."""
    policy = TlsPolicy()

    suites = offered(policy)

    assert (policy.minimum, policy.maximum) == (TlsVersion.TLSv1_2, TlsVersion.TLSv1_2)
    assert suites[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert len(suites) == 8
    assert all(s.startswith("ECDHE-") and s.endswith(("SHA256", "SHA384")) for s in suites)
    assert policy.handshake_timeout == 30


@pytest.mark.parametrize("minimum", [TlsVersion.TLSv1, TlsVersion.TLSv1_1])
def test_old_versions_bring_their_suites(minimum: TlsVersion) -> None:
    """A range that reaches below TLS 1.2 has the suites that such a peer can speak."""
    suites = offered(TlsPolicy(minimum=minimum))

    assert suites[-1] == "AES128-SHA"
    assert len(suites) == 14


@pytest.mark.parametrize("minimum", [TlsVersion.TLSv1_2, TlsVersion.TLSv1_3])
def test_newer_versions_need_none_of_them(minimum: TlsVersion) -> None:
    """From TLS 1.2 on no suite with SHA-1 is offered."""
    suites = offered(TlsPolicy(minimum=minimum, maximum=TlsVersion.TLSv1_3))

    assert suites
    assert not [s for s in suites if s.endswith("-SHA")]


def test_ones_own_ciphers_stay_as_they_are() -> None:
    """A cipher string that is set is used as it is."""
    assert TlsPolicy(ciphers="AES256-SHA:@SECLEVEL=1").cipher_string == "AES256-SHA:@SECLEVEL=1"


def test_versions_are_ordered_and_named() -> None:
    """The oldest comes first, and each prints as OpenSSL names it."""
    assert [v.rank for v in TlsVersion] == [0, 1, 2, 3]
    assert [str(v) for v in TlsVersion] == ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
