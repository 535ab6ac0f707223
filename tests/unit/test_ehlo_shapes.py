"""EHLO as real Exchange servers answered it, line by line, from the settings of a connector.

Left out of the captures are XEXCH50, XSHADOW and XSHADOWREQUEST: extensions inside an organization
without a public specification, which this receiver does not offer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.connectors import Bytes, ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, SizeEnabled
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.capabilities import ehlo_reply
from smtpd_anontls.protocol.mechanisms import offered_mechanisms

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_MECHANISM = (
    AuthMechanism.Tls
    | AuthMechanism.Integrated
    | AuthMechanism.BasicAuth
    | AuthMechanism.BasicAuthRequireTLS
    | AuthMechanism.ExchangeServer
)
# SMTPUTF8 stands in none of the captures of servers on premises.
OLDER: Mapping[str, object] = {"smtp_utf8_enabled": False}
BOTH_VERBS = frozenset(TlsVerb)


@dataclass(frozen=True)
class Shape:
    """A capture: where it is from, the connector that gives it, and its lines."""

    source: str
    connector: Mapping[str, object]
    lines: str
    verbs: frozenset[TlsVerb] = BOTH_VERBS
    secured_by: TlsVerb | None = None
    has_keytab: bool = True
    observes: bool = False


SHAPES = {
    "A, a front end before TLS": Shape(
        "Microsoft, Use Telnet to test SMTP communication on Exchange servers; a SmtpReceive log of 2023-01-11; "
        "marlam/msmtp issue 11; playframework/play-mailer issue 176",
        OLDER,
        "SIZE 37748736, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, X-ANONYMOUSTLS, AUTH NTLM, "
        "X-EXPS GSSAPI NTLM, 8BITMIME, BINARYMIME, CHUNKING, XRDST",
    ),
    "B, the same after STARTTLS": Shape(
        "a SmtpReceive log of 2023-01-11; marlam/msmtp issue 11",
        OLDER,
        "SIZE 37748736, PIPELINING, DSN, ENHANCEDSTATUSCODES, AUTH NTLM LOGIN, X-EXPS GSSAPI NTLM, 8BITMIME, "
        "BINARYMIME, CHUNKING, XRDST",
        secured_by=TlsVerb.STARTTLS,
        observes=True,
    ),
    "C, an Exchange 2013 Transport service before TLS": Shape(
        "Microsoft, Event ID 7009 and send/receive of email messages; less XEXCH50, XSHADOWREQUEST",
        {**OLDER, "size_enabled": SizeEnabled.EnabledWithoutValue},
        "SIZE, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, X-ANONYMOUSTLS, AUTH NTLM, X-EXPS GSSAPI NTLM, "
        "8BITMIME, BINARYMIME, CHUNKING, XRDST",
    ),
    "D, an Exchange 2010 hub before TLS": Shape(
        "the output of nmap's smtp-commands in a public write-up; less XEXCH50, XSHADOW",
        {**OLDER, "size_enabled": SizeEnabled.EnabledWithoutValue},
        "SIZE, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, X-ANONYMOUSTLS, AUTH NTLM, X-EXPS GSSAPI NTLM, "
        "8BITMIME, BINARYMIME, CHUNKING, XRDST",
    ),
    "E, an Exchange 2010 hub after X-ANONYMOUSTLS": Shape(
        "a SmtpSend log of 2019-11-04 in a public case note; less XEXCH50, XSHADOW",
        {**OLDER, "size_enabled": SizeEnabled.EnabledWithoutValue},
        "SIZE, PIPELINING, DSN, ENHANCEDSTATUSCODES, AUTH NTLM LOGIN, X-EXPS EXCHANGEAUTH GSSAPI NTLM, "
        "X-EXCHANGEAUTH SHA256, 8BITMIME, BINARYMIME, CHUNKING, XRDST",
        secured_by=TlsVerb.X_ANONYMOUSTLS,
        observes=True,
    ),
    "F, a server without a STARTTLS certificate": Shape(
        "splitbrain/dokuwiki-plugin-smtp issue 24; less XEXCH50, XSHADOW",
        {
            **OLDER,
            "size_enabled": SizeEnabled.EnabledWithoutValue,
            "binary_mime_enabled": False,
            "chunking_enabled": False,
        },
        "SIZE, PIPELINING, DSN, ENHANCEDSTATUSCODES, X-ANONYMOUSTLS, AUTH NTLM, X-EXPS GSSAPI NTLM, 8BITMIME, XRDST",
        verbs=frozenset({TlsVerb.X_ANONYMOUSTLS}),
    ),
    "G, the internet side of a server without Integrated": Shape(
        "zeek/zeek testing/btest/Traces/smtp-multi-addr.pcap; less XEXCH50, XSHADOW, and with XRDST, which it lacks",
        {
            **OLDER,
            "max_message_size": Bytes(52428800),
            "auth_mechanism": EVERY_MECHANISM & ~AuthMechanism.Integrated,
        },
        "SIZE 52428800, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, X-ANONYMOUSTLS, AUTH, X-EXPS NTLM, "
        "8BITMIME, BINARYMIME, CHUNKING, XRDST",
        has_keytab=False,
    ),
    "H, a client front end before TLS": Shape(
        "qoretechnologies/qore issue 2833",
        {
            **OLDER,
            "max_message_size": Bytes(52428800),
            "auth_mechanism": EVERY_MECHANISM & ~AuthMechanism.ExchangeServer,
            "enable_auth_gssapi": True,
        },
        "SIZE 52428800, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, AUTH GSSAPI NTLM, 8BITMIME, BINARYMIME, CHUNKING",
        # Without ExchangeServer the selection of X-ANONYMOUSTLS finds none.
        verbs=frozenset({TlsVerb.STARTTLS}),
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_connector_answers_as_the_capture(shape: Shape) -> None:
    """From its settings alone a connector gives the lines that a real server gave."""
    settings: dict[str, object] = {"auth_mechanism": EVERY_MECHANISM, **shape.connector}
    connector = ReceiveConnector(name="any", **settings)  # type: ignore[arg-type]  # Each is of its field's type.

    reply = ehlo_reply(
        connector,
        fqdn="ex.contoso.test",
        peer="192.0.2.1",
        offered=shape.verbs,
        secured_by=shape.secured_by,
        mechanisms=offered_mechanisms(
            connector, secured_by=shape.secured_by, has_keytab=shape.has_keytab, observes=shape.observes
        ),
    )

    assert reply.more == tuple(shape.lines.split(", "))
