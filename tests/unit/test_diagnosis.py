"""The commands that mend, and the comparison of two views: values in, values out."""

from __future__ import annotations

import pytest

from smtpd_anontls.diagnosis.commands import property_command, quoted
from smtpd_anontls.diagnosis.compare import View, compare, configured, measured
from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from smtpd_anontls.selection.outcome import Selection
from tests.making import certificate

SERVER = Server(name="MBX1", fqdn="mbx1.contoso.test")
CONNECTOR = ReceiveConnector(name="Bob's relay")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("MBX1", "'MBX1'"), ("Bob's", "'Bob''s'"), ("Bob\u2019s $x", "'Bob\u2019\u2019s $x'")],
)
def test_quotation_marks_are_doubled(text: str, shown: str) -> None:
    """PowerShell takes typographic quotation marks for plain ones, and expands nothing between them."""
    assert quoted(text) == shown


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("fqdn", r"Set-ReceiveConnector 'MBX1\Bob''s relay' -Fqdn 'mbx1.contoso.test'"),
        ("auth_mechanism", r"Set-ReceiveConnector 'MBX1\Bob''s relay' -AuthMechanism …"),
        ("remote_ip_ranges", r"Set-ReceiveConnector 'MBX1\Bob''s relay' -RemoteIPRanges …"),
        ("enable_auth_gssapi", r"Set-ReceiveConnector 'MBX1\Bob''s relay' -EnableAuthGSSAPI …"),
        ("trusted_proxies", "smtpd-anontls connector set 'Bob''s relay' --trusted-proxies …"),
    ],
)
def test_the_command_of_a_property(name: str, command: str) -> None:
    """A parameter is spelled as Exchange spells it; what only this receiver has is set by its own command."""
    assert property_command(SERVER, CONNECTOR, name) == command


def selection(verb: TlsVerb, *, advertised: bool) -> Selection:
    """Return a selection's result."""
    return Selection("MBX1", CONNECTOR.name, verb, certificate() if advertised else None, (), ())


def test_what_was_measured_is_what_was_configured() -> None:
    """A server that does as its configuration says differs in nothing."""
    expected = configured(
        SERVER,
        CONNECTOR,
        [selection(TlsVerb.STARTTLS, advertised=True), selection(TlsVerb.X_ANONYMOUSTLS, advertised=False)],
        TlsPolicy(),
        has_keytab=False,
    )
    found = measured(
        ehlo=[
            "mbx1.contoso.test Hello [192.0.2.9]",
            "SIZE 37748736",
            "PIPELINING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "STARTTLS",
            "8BITMIME",
            "BINARYMIME",
            "CHUNKING",
            "SMTPUTF8",
        ],
        ehlo_after_tls=[
            "mbx1.contoso.test Hello [192.0.2.9]",
            "SIZE 37748736",
            "PIPELINING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "BINARYMIME",
            "CHUNKING",
            "SMTPUTF8",
        ],
        certificates={TlsVerb.STARTTLS: certificate()},
        versions=[TlsVersion.TLSv1_2],
    )

    assert [row for row in compare(expected, found) if not row.same] == []
    assert expected.facts["TLS versions"] == "TLSv1.2"


def test_rows_keep_the_order_of_the_first() -> None:
    """What only the second has comes last."""
    rows = compare(View({"b": "1", "a": "2"}), View({"c": "3", "a": "4", "b": "1"}))

    assert [(row.what, row.same) for row in rows] == [("b", True), ("a", False), ("c", False)]
    assert rows[2].as_json() == {"what": "c", "a": None, "b": "3", "same": False}


def test_a_connector_without_any_verb() -> None:
    """No TLS version, no certificate, and no EHLO after TLS."""
    view = configured(
        SERVER,
        CONNECTOR,
        [selection(verb, advertised=False) for verb in TlsVerb],
        TlsPolicy(),
        has_keytab=False,
    )

    assert view.facts["TLS versions"] == "none"
    assert view.facts["STARTTLS certificate"] == "none"
    assert not any(name.startswith("EHLO after TLS") for name in view.facts)
