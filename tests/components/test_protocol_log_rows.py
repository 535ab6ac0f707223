"""Rows of the protocol log against public logs of Exchange, names, addresses and ids replaced.

Sources, each named where it is used: a forensics note with ``RECV2023011116-1.LOG`` of a front end (2023),
logs that users of IPBan have shown (2020 and 2023), an "Exchange SMTP Relay Report" (2024), a note on Graylog
with a log of Exchange 2010 (2016), "How to use Exchange protocol logging" by Veritas (2013), a question on
Microsoft Q&A with a log of Exchange 2013 SP1 (2020), a case note with the log of an Exchange 2013 sender
(2019), and Microsoft's "TLS negotiation failed with error NoCredentials".
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.protocol_log import Layout
from smtpd_anontls.domain.records import ClientHello, TlsFacts, TlsVerb
from smtpd_anontls.domain.tls_policy import TlsPolicy
from smtpd_anontls.protocol.handshake import describe_failure, describe_loss, describe_silence
from smtpd_anontls.protocol_log.rows import FIELDS, LONGEST_VALUE, Event, Row, columns, header
from smtpd_anontls.protocol_log.session import SessionRows
from tests.making import certificate

if TYPE_CHECKING:
    from smtpd_anontls.domain.certificate import Certificate

START = datetime(2024, 3, 13, 9, 1, 18, 723000, tzinfo=UTC)
CONNECTOR = r"MBX1\Default Frontend MBX1"
ID = "08dc42c8ff236a1f"
LOCAL, REMOTE = "192.0.2.10:25", "198.51.100.7:62136"
# What each row of these tests begins with, but for its number.
BEGINNING = rf"2024-03-13T09:01:18.723Z,{CONNECTOR},08DC42C8FF236A1F,"
STARTED = TlsFacts(TlsVerb.STARTTLS, "0" * 40, "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", 256)
HELLO = ClientHello(("TLSv1.2",), ("ECDHE-RSA-AES256-GCM-SHA384",), None)


class Notes:
    """A session whose rows are kept, at a clock that stands still."""

    def __init__(self, layout: Layout = Layout.CURRENT) -> None:
        self.rows: list[Row] = []
        self.room = 1_000_000
        self.session = SessionRows(
            self._put,
            lambda: START,
            layout,
            session_id=ID,
            connector_id=CONNECTOR,
            local=LOCAL,
            remote=REMOTE,
        )

    def _put(self, *rows: Row) -> bool:
        if len(rows) > self.room:
            return False
        self.room -= len(rows)
        self.rows.extend(rows)
        return True

    def text(self) -> str:
        """Return the rows as they stand in a file."""
        return b"".join(each.octets for each in self.rows).decode()

    def shown(self) -> list[str]:
        """Return what stands behind the endpoints of each row."""
        return [line.split(f"{REMOTE},", 1)[1] for line in self.text().split("\r\n")[:-1]]


def leaf() -> Certificate:
    """Return a certificate like the one in the log of IPBan's user."""
    issuer = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Contoso CA"),
            x509.NameAttribute(NameOID.COMMON_NAME, "R3"),
        ]
    )
    return certificate(
        "mail.contoso.test",
        issuer=issuer,
        names=("mail.contoso.test", "mbx1.contoso.test"),
        not_before=datetime(2023, 8, 12, 10, 39, 24, tzinfo=UTC),
        not_after=datetime(2023, 11, 10, 9, 39, 23, tzinfo=UTC),
        serial=0x0404C0F032C2760F1F3F28A7CCC3FC5FBAB3,
    )


def test_the_header() -> None:
    """Forensics note: five lines, with the time at which the file begins."""
    assert header(datetime(2023, 1, 11, 16, 0, 4, 113000, tzinfo=UTC)).decode().split("\r\n") == [
        "#Software: Microsoft Exchange Server",
        "#Version: 15.0.0.0",
        "#Log-type: SMTP Receive Protocol Log",
        "#Date: 2023-01-11T16:00:04.113Z",
        "#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context",
        "",
    ]


def test_a_session_in_the_current_layout() -> None:
    """Relay report: from the connection to its reset, row by row; there is no row for permissions."""
    notes = Notes()
    session = notes.session
    session.connected()
    session.permissions(["SMTPSubmit", "AcceptRoutingHeaders"])
    session.sent(
        ["220 mbx1.contoso.test Microsoft ESMTP MAIL Service ready at Wed, 13 Mar 2024 10:01:17 +0100"]
    )
    session.received("EHLO backup")
    session.sent(
        ["250-mbx1.contoso.test Hello [198.51.100.7]", "250-SIZE 37748736", "250-AUTH NTLM", "250 XRDST"],
        ehlo=True,
    )
    session.received("MAIL FROM:<a@contoso.test>")
    session.information(f"{ID.upper()};2024-03-13T09:01:18.723Z;1", "receiving message")
    session.sent(["250 2.1.0 Sender OK"])
    session.received("DATA")
    session.sent(["354 Start mail input; end with <CRLF>.<CRLF>"])
    session.sent(
        ["250 2.6.0 <1@contoso.test> [InternalId=1, Hostname=mbx1.contoso.test] Queued mail for delivery"]
    )
    session.disconnected("Remote(ConnectionReset)")

    assert notes.text().split("\r\n") == [
        f"{BEGINNING}0,{LOCAL},{REMOTE},+,,",
        (
            f'{BEGINNING}1,{LOCAL},{REMOTE},>,"220 mbx1.contoso.test Microsoft ESMTP MAIL Service ready at '
            'Wed, 13 Mar 2024 10:01:17 +0100",'
        ),
        f"{BEGINNING}2,{LOCAL},{REMOTE},<,EHLO backup,",
        # Two blanks behind the code: forensics note, IPBan's users.
        (
            f"{BEGINNING}3,{LOCAL},{REMOTE},>,250  mbx1.contoso.test Hello [198.51.100.7] SIZE 37748736 AUTH NTLM "
            "XRDST,"
        ),
        f"{BEGINNING}4,{LOCAL},{REMOTE},<,MAIL FROM:<a@contoso.test>,",
        f"{BEGINNING}5,{LOCAL},{REMOTE},*,08DC42C8FF236A1F;2024-03-13T09:01:18.723Z;1,receiving message",
        f"{BEGINNING}6,{LOCAL},{REMOTE},>,250 2.1.0 Sender OK,",
        f"{BEGINNING}7,{LOCAL},{REMOTE},<,DATA,",
        f"{BEGINNING}8,{LOCAL},{REMOTE},>,354 Start mail input; end with <CRLF>.<CRLF>,",
        (
            f'{BEGINNING}9,{LOCAL},{REMOTE},>,"250 2.6.0 <1@contoso.test> [InternalId=1, '
            'Hostname=mbx1.contoso.test] Queued mail for delivery",'
        ),
        f"{BEGINNING}10,{LOCAL},{REMOTE},-,,Remote(ConnectionReset)",
        "",
    ]


def test_a_session_in_the_layout_of_2013() -> None:
    """Graylog note: permissions before the banner, a row for each line of a reply, and who ended it in one word."""
    notes = Notes(Layout.EXCHANGE_2013)
    session = notes.session
    session.connected()
    session.permissions(
        ["SMTPSubmit", "SMTPAcceptAnySender", "SMTPAcceptAuthoritativeDomainSender", "AcceptRoutingHeaders"]
    )
    session.received("EHLO ylmf-pc")
    session.sent(["250-mail.contoso.test Hello [198.51.100.7]", "250-SIZE", "250 CHUNKING"], ehlo=True)
    session.received("AUTH LOGIN")
    session.information("Tarpit for '0.00:00:05'")
    session.sent(["504 5.7.4 Unrecognized authentication type"])
    session.disconnected("Remote(ConnectionReset)")

    assert notes.shown() == [
        "+,,",
        (
            "*,SMTPSubmit SMTPAcceptAnySender SMTPAcceptAuthoritativeDomainSender AcceptRoutingHeaders,"
            "Set Session Permissions"
        ),
        "<,EHLO ylmf-pc,",
        ">,250-mail.contoso.test Hello [198.51.100.7],",
        ">,250-SIZE,",
        ">,250 CHUNKING,",
        "<,AUTH LOGIN,",
        "*,Tarpit for '0.00:00:05',",
        ">,504 5.7.4 Unrecognized authentication type,",
        "-,,Remote",
    ]


@pytest.mark.parametrize("layout", Layout)
def test_the_receiver_ends_it(layout: Layout) -> None:
    """Microsoft Q&A: after QUIT the context says Local."""
    notes = Notes(layout)
    notes.session.disconnected("Local")

    assert notes.shown() == ["-,,Local"]


def test_authentication_that_succeeds() -> None:
    """Veritas, and IPBan's user of 2020: the identity is the data, 'authenticated' the context."""
    notes = Notes()
    notes.session.received("AUTH LOGIN")
    notes.session.sent(["334 <authentication response>"])
    notes.session.information(r"CONTOSO\svc-mail", "authenticated")

    assert notes.shown() == [
        "<,AUTH LOGIN,",
        ">,334 <authentication response>,",
        r"*,CONTOSO\svc-mail,authenticated",
    ]


def test_authentication_that_fails() -> None:
    """Forensics note: both rows have their text as the context."""
    notes = Notes()
    notes.session.information("", "Inbound AUTH LOGIN failed because of LogonDenied")
    notes.session.information("", "User Name: user@contoso.test")

    assert notes.shown() == [
        "*,,Inbound AUTH LOGIN failed because of LogonDenied",
        "*,,User Name: user@contoso.test",
    ]


def test_starttls_in_the_current_layout() -> None:
    """IPBan's user of 2023: the certificate in one row, quoted for its issuer, then the handshake; forensics note: EHLO."""
    shown = leaf()
    notes = Notes()
    session = notes.session
    session.certificate(shown)
    session.handshake(STARTED)
    session.received("EHLO oenA3BolG")
    session.sent(["250-mbx1.contoso.test Hello [198.51.100.7]", "250 XRDST"], ehlo=True)
    session.received("EHLO again")

    assert notes.shown() == [
        (
            '*," CN=mail.contoso.test CN=R3, O=Contoso CA, C=US 0404C0F032C2760F1F3F28A7CCC3FC5FBAB3 '
            f"{shown.thumbprint} 2023-08-12T10:39:24.000Z 2023-11-10T09:39:23.000Z "
            'mail.contoso.test;mbx1.contoso.test",'
            "Sending certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names"
        ),
        (
            '*,,"TLS protocol SP_PROT_TLS1_2_SERVER negotiation succeeded using bulk encryption algorithm '
            "CALG_AES_256 with strength 256 bits, MAC hash algorithm CALG_SHA_384 with strength 0 bits and key "
            'exchange algorithm CALG_ECDH_EPHEM with strength 384 bits"'
        ),
        "<,EHLO oenA3BolG,",
        "*,,Client certificate chain validation status: 'EmptyCertificate'",
        "*,,TlsDomainCapabilities='None'; Status='NoRemoteCertificate'",
        ">,250  mbx1.contoso.test Hello [198.51.100.7] XRDST,",
        "<,EHLO again,",
    ]


def test_a_certificate_whose_names_have_no_comma() -> None:
    """Forensics note: the row of a self-signed certificate begins with a blank and has no quotation marks."""
    shown = certificate("MBX1", names=("MBX1", "mbx1.contoso.test"))
    notes = Notes()
    notes.session.certificate(shown)

    assert notes.shown() == [
        (
            f"*, CN=MBX1 CN=MBX1 {shown.serial_number} {shown.thumbprint} 2027-05-02T12:00:00.000Z "
            "2028-03-27T12:00:00.000Z MBX1;mbx1.contoso.test,"
            "Sending certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names"
        )
    ]


def test_certificates_in_the_layout_of_2013() -> None:
    """Microsoft's article has ours, a row for each fact; the case note the peer's, with its thumbprint alone."""
    shown = leaf()
    notes = Notes(Layout.EXCHANGE_2013)
    notes.session.certificate(shown)
    notes.session.certificate(shown, remote=True)

    assert notes.shown() == [
        "*,,Sending certificate",
        "*,CN=mail.contoso.test,Certificate subject",
        '*,"CN=R3, O=Contoso CA, C=US",Certificate issuer name',
        "*,0404C0F032C2760F1F3F28A7CCC3FC5FBAB3,Certificate serial number",
        f"*,{shown.thumbprint},Certificate thumbprint",
        "*,mail.contoso.test;mbx1.contoso.test,Certificate alternate names",
        "*,,Received certificate",
        f"*,{shown.thumbprint},Certificate thumbprint",
    ]


def test_a_peer_with_a_certificate() -> None:
    """Its row has the context that public scripts look for; then nothing says that it has none."""
    notes = Notes()
    notes.session.handshake(STARTED)
    notes.session.certificate(leaf(), remote=True)
    notes.session.received("EHLO mx2.contoso.test")

    assert notes.shown()[1].endswith(
        ",Remote certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names"
    )
    assert notes.shown()[2:] == ["<,EHLO mx2.contoso.test,"]


@pytest.mark.parametrize(
    ("layout", "facts"),
    [
        pytest.param(Layout.CURRENT, replace(STARTED, verb=TlsVerb.X_ANONYMOUSTLS), id="X-ANONYMOUSTLS"),
        pytest.param(Layout.EXCHANGE_2013, STARTED, id="2013"),
        pytest.param(Layout.CURRENT, replace(STARTED, failure=describe_loss(None)), id="failed"),
    ],
)
def test_where_nothing_is_said_of_a_client_certificate(layout: Layout, facts: TlsFacts) -> None:
    """Public logs have the two rows behind a STARTTLS of the current layout only."""
    notes = Notes(layout)
    notes.session.handshake(facts)
    notes.session.received("EHLO mx2.contoso.test")

    assert notes.shown()[1:] == ["<,EHLO mx2.contoso.test,"]


@pytest.mark.parametrize(
    ("layout", "version", "cipher", "words"),
    [
        # Forensics note.
        (
            Layout.CURRENT,
            "TLSv1.2",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "SP_PROT_TLS1_2_SERVER CALG_AES_128 128 CALG_SHA_256 0 CALG_ECDH_EPHEM 256",
        ),
        # The case note, but for its side of the connection.
        (
            Layout.EXCHANGE_2013,
            "TLSv1",
            "ECDHE-RSA-AES256-SHA",
            "SP_PROT_TLS1_0_SERVER CALG_AES_256 256 CALG_SHA1 160 CALG_ECDHE 256",
        ),
        # What follows is in no public log.
        (
            Layout.CURRENT,
            "TLSv1.2",
            "ECDHE-ECDSA-AES256-SHA384",
            "SP_PROT_TLS1_2_SERVER CALG_AES_256 256 CALG_SHA_384 384 CALG_ECDH_EPHEM 384",
        ),
        (
            Layout.CURRENT,
            "TLSv1.1",
            "DHE-RSA-AES128-SHA",
            "SP_PROT_TLS1_1_SERVER CALG_AES_128 128 CALG_SHA1 160 CALG_DH_EPHEM 2048",
        ),
        (
            Layout.CURRENT,
            "TLSv1",
            "AES128-SHA",
            "SP_PROT_TLS1_0_SERVER CALG_AES_128 128 CALG_SHA1 160 CALG_RSA_KEYX 2048",
        ),
        (
            Layout.CURRENT,
            "TLSv1.3",
            "TLS_AES_256_GCM_SHA384",
            "SP_PROT_TLS1_3_SERVER CALG_AES_256 256 CALG_SHA_384 0 CALG_ECDH_EPHEM 384",
        ),
        (
            Layout.CURRENT,
            "TLSv1.2",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "SP_PROT_TLS1_2_SERVER ECDHE-RSA-CHACHA20-POLY1305 200 CALG_SHA_256 0 CALG_ECDH_EPHEM 256",
        ),
    ],
)
def test_what_was_negotiated(layout: Layout, version: str, cipher: str, words: str) -> None:
    """OpenSSL's names in the words of Windows; a suite that Windows has not keeps its own."""
    notes = Notes(layout)
    notes.session.handshake(TlsFacts(TlsVerb.STARTTLS, "0" * 40, version, cipher, 200))

    protocol, bulk, bulk_bits, digest, digest_bits, exchange, exchange_bits = words.split()
    assert notes.shown() == [
        (
            f'*,,"TLS protocol {protocol} negotiation succeeded using bulk encryption algorithm {bulk} with '
            f"strength {bulk_bits} bits, MAC hash algorithm {digest} with strength {digest_bits} bits and key "
            f'exchange algorithm {exchange} with strength {exchange_bits} bits"'
        )
    ]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (describe_loss(None), "SocketError"),
        (describe_loss(HELLO), "SocketError"),
        (describe_silence(None, 30), "SocketError"),
        (describe_silence(HELLO, 0.5), "SocketError"),
        (describe_failure("HTTP_REQUEST", None, TlsPolicy()), "InvalidToken"),
        (describe_failure("NO_SHARED_CIPHER", HELLO, TlsPolicy()), "InvalidToken"),
        (describe_failure("TLSV1_ALERT_UNKNOWN_CA", HELLO, TlsPolicy()), "InvalidToken"),
    ],
)
def test_a_handshake_that_failed(failure: str, error: str) -> None:
    """Microsoft's articles: one row, its text the context, with a word for the error."""
    notes = Notes()
    notes.session.handshake(replace(STARTED, failure=failure))

    assert notes.shown() == [f"*,,TLS negotiation failed with error {error}"]


def test_replies_of_one_line_and_of_several() -> None:
    """HELP's lines are a row in the current layout; an EHLO that offers nothing has its two blanks."""
    notes = Notes()
    notes.session.sent(["214-This server supports the following commands:", "214 HELO EHLO"])
    notes.session.sent(["250 mbx1.contoso.test Hello [198.51.100.7]"], ehlo=True)
    notes.session.sent(["250 mbx1.contoso.test Hello [198.51.100.7]"])

    assert notes.shown() == [
        ">,214  This server supports the following commands: HELO EHLO,",
        ">,250  mbx1.contoso.test Hello [198.51.100.7],",
        ">,250 mbx1.contoso.test Hello [198.51.100.7],",
    ]


def test_rows_that_nobody_took() -> None:
    """Their numbers are missing, and before the next row it says how many they were."""
    notes = Notes()
    notes.room = 1
    notes.session.connected()
    for line in ("EHLO a", "NOOP"):
        notes.session.received(line)
    notes.room = 3
    notes.session.received("RSET")
    notes.session.received("QUIT")

    numbers = [line.split(",")[3] for line in notes.text().split("\r\n")[:-1]]
    assert numbers == ["0", "3", "4", "5"]
    assert notes.shown()[1:] == ["*,,Rows dropped before this one: 2", "<,RSET,", "<,QUIT,"]


@given(line=st.text(max_size=60), identity=st.text(max_size=20))
def test_a_peer_cannot_forge_a_row(line: str, identity: str) -> None:
    """Whatever it sends, a CSV reader finds one row of nine values, and no control in it."""
    notes = Notes()
    notes.session.received(line)
    notes.session.information(identity, "authenticated")

    rows = list(csv.reader(io.StringIO(notes.text(), newline="")))
    assert [len(each) for each in rows] == [len(FIELDS)] * 2
    assert [each[6] for each in rows] == ["<", "*"]
    assert [each[3] for each in rows] == ["0", "1"]
    assert all(character >= " " for each in rows for value in each for character in value)
    assert notes.text().count("\r\n") == notes.text().count("\n") == 2


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('MAIL FROM:<"a,b"@contoso.test>', '"MAIL FROM:<""a,b""@contoso.test>"'),
        ('NOOP "', '"NOOP """'),
        (
            "NOOP\r\n2024-03-13T09:01:18.723Z,X,1,0,a,b,+,,",
            '"NOOP\\x0d\\x0a2024-03-13T09:01:18.723Z,X,1,0,a,b,+,,"',
        ),
        ("EHLO \x00\x1b[2J\x85\u2028\u202e\udcff", r"EHLO \x00\x1b[2J\x85\u2028\u202e\udcff"),
        ("EHLO bücher.test", "EHLO bücher.test"),
        ("#Fields: no-header", "#Fields: no-header"),
    ],
)
def test_quotes_and_controls(sent: str, shown: str) -> None:
    """Quotation marks are doubled within their own; line breaks, controls and bidi controls are escapes."""
    notes = Notes()
    notes.session.received(sent)

    assert notes.shown() == [f"<,{shown},"]


def test_a_value_without_an_end() -> None:
    """It is cut, and ends with an ellipsis then."""
    notes = Notes()
    notes.session.received("x" * LONGEST_VALUE)
    notes.session.received("x" * (LONGEST_VALUE + 1))

    assert notes.shown() == [f"<,{'x' * LONGEST_VALUE},", f"<,{'x' * LONGEST_VALUE}…,"]


def test_other_time_zones() -> None:
    """A row has UTC and milliseconds, whatever zone the clock has."""
    later = START.astimezone(tz=None) + timedelta(microseconds=700)

    written = Row(later, columns("a", "b"), 7, columns("c", "d"), Event.SENT, "e", "f")
    assert written.octets == b"2024-03-13T09:01:18.723Z,a,b,7,c,d,>,e,f\r\n"
