"""Which mechanisms AUTH and X-EXPS offer, and when."""

from __future__ import annotations

import pytest

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.mechanisms import offered_mechanisms

INTEGRATED, BASIC, AFTER_TLS = (
    AuthMechanism.Integrated,
    AuthMechanism.BasicAuth,
    AuthMechanism.BasicAuthRequireTLS,
)
EXCHANGE = AuthMechanism.ExchangeServer
STARTTLS, ANONYMOUS = TlsVerb.STARTTLS, TlsVerb.X_ANONYMOUSTLS


@pytest.mark.parametrize(
    ("mechanism", "secured_by", "options", "lines"),
    [
        pytest.param(AuthMechanism.Tls, None, {}, [], id="nothing to authenticate with"),
        pytest.param(AuthMechanism.ExternalAuthoritative, STARTTLS, {}, [], id="trusted as it is"),
        pytest.param(INTEGRATED, None, {}, ["AUTH NTLM"], id="Integrated"),
        pytest.param(
            INTEGRATED, None, {"enable_auth_gssapi": True}, ["AUTH GSSAPI NTLM"], id="EnableAuthGSSAPI"
        ),
        pytest.param(
            INTEGRATED,
            None,
            {"enable_auth_gssapi": True, "has_keytab": False},
            ["AUTH NTLM"],
            id="EnableAuthGSSAPI without a keytab",
        ),
        pytest.param(BASIC, None, {}, ["AUTH LOGIN"], id="BasicAuth in clear"),
        pytest.param(BASIC | AFTER_TLS, None, {}, ["AUTH"], id="BasicAuthRequireTLS in clear"),
        pytest.param(
            BASIC | AFTER_TLS, STARTTLS, {}, ["AUTH LOGIN"], id="BasicAuthRequireTLS under STARTTLS"
        ),
        pytest.param(BASIC | AFTER_TLS, ANONYMOUS, {}, ["AUTH LOGIN"], id="and under X-ANONYMOUSTLS"),
        pytest.param(EXCHANGE, None, {}, ["X-EXPS GSSAPI NTLM"], id="ExchangeServer in clear"),
        pytest.param(EXCHANGE, None, {"has_keytab": False}, ["X-EXPS NTLM"], id="without a keytab"),
        pytest.param(
            EXCHANGE, ANONYMOUS, {}, ["X-EXPS GSSAPI NTLM"], id="ExchangeServer under X-ANONYMOUSTLS"
        ),
        pytest.param(
            EXCHANGE,
            ANONYMOUS,
            {"observes": True},
            ["X-EXPS EXCHANGEAUTH GSSAPI NTLM", "X-EXCHANGEAUTH SHA256"],
            id="observed under X-ANONYMOUSTLS",
        ),
        pytest.param(
            EXCHANGE, STARTTLS, {"observes": True}, ["X-EXPS GSSAPI NTLM"], id="never under STARTTLS"
        ),
        pytest.param(EXCHANGE, None, {"observes": True}, ["X-EXPS GSSAPI NTLM"], id="never in clear"),
        pytest.param(
            INTEGRATED | BASIC | EXCHANGE,
            STARTTLS,
            {},
            ["AUTH NTLM LOGIN", "X-EXPS GSSAPI NTLM"],
            id="all at once",
        ),
    ],
)
def test_what_is_offered(
    mechanism: AuthMechanism, secured_by: TlsVerb | None, options: dict[str, bool], lines: list[str]
) -> None:
    """AuthMechanism, TLS and the settings decide, each as in the captures of real servers."""
    connector = ReceiveConnector(
        name="any",
        auth_mechanism=mechanism,
        enable_auth_gssapi=options.get("enable_auth_gssapi", False),
    )

    offered = offered_mechanisms(
        connector,
        secured_by=secured_by,
        has_keytab=options.get("has_keytab", True),
        observes=options.get("observes", False),
    )

    assert offered.lines() == lines
