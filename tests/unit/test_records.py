"""Sessions, messages and events as values, and their JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.faults import Kind, Point, Suffered
from smtpd_anontls.domain.records import (
    Attempt,
    ClientHello,
    EventRecord,
    MessageRecord,
    Outcome,
    SessionRecord,
    TlsFacts,
    TlsVerb,
    TranscriptRow,
)
from tests.making import NOW

THUMBPRINT = "5C7AF0E1D2C3B4A5968778695A4B3C2D1E0F5C7A"
TLS = TlsFacts(
    TlsVerb.X_ANONYMOUSTLS,
    THUMBPRINT,
    version="TLSv1.2",
    cipher="ECDHE-RSA-AES256-GCM-SHA384",
    bits=256,
    offered=ClientHello(("TLSv1.2",), ("ECDHE-RSA-AES256-GCM-SHA384",), "mbx1.contoso.test"),
)
SESSION = SessionRecord(
    id="08db994d2dd18dbf",
    started=NOW,
    ended=NOW,
    server="MBX1",
    connector="Default Frontend MBX1",
    connector_detail="binding 127.0.0.1:2525 and range 127.0.0.0/8 match 127.0.0.1",
    local="127.0.0.1:2525",
    remote="127.0.0.1:40000",
    tls=TLS,
    authenticated_as=None,
    outcome=Outcome.COMPLETED,
    outcome_detail="the client said QUIT",
    selections=({"verb": "X-ANONYMOUSTLS"},),
    event_ids=(12015,),
    messages=(7,),
    transcript=(TranscriptRow(0, "S", "220 ready"),),
    proxy="192.0.2.9:4711",
    limits=("MaxRecipientsPerMessage: a message has more than 200 recipients",),
    attempts=(
        Attempt("X-EXPS", "NTLM", "CONTOSO\\MBX2$", "wrong_password", "the password is another"),
        Attempt("X-EXPS", "GSSAPI", "CONTOSO\\MBX2$", None, "Kerberos"),
    ),
    groups=("ExchangeServers",),
    permissions=("SMTPSubmit",),
    faults=(Suffered(0, Point.MAIL, Kind.DROP, "drop of the connection (FIN)"),),
)


def test_a_session_is_shown_whole() -> None:
    """The session object has the documented keys, and is plain JSON."""
    shown = SESSION.as_json()

    assert json.loads(json.dumps(shown)) == shown
    assert shown == {
        "id": "08db994d2dd18dbf",
        "started": "2027-06-01T12:00:00.000Z",
        "ended": "2027-06-01T12:00:00.000Z",
        "server": "MBX1",
        "connector": "Default Frontend MBX1",
        "connector_detail": "binding 127.0.0.1:2525 and range 127.0.0.0/8 match 127.0.0.1",
        "local": "127.0.0.1:2525",
        "remote": "127.0.0.1:40000",
        "verb": "X-ANONYMOUSTLS",
        "tls": {
            "verb": "X-ANONYMOUSTLS",
            "thumbprint": THUMBPRINT,
            "version": "TLSv1.2",
            "cipher": "ECDHE-RSA-AES256-GCM-SHA384",
            "bits": 256,
            "resumed": False,
            "offered": {
                "versions": ["TLSv1.2"],
                "cipher_suites": ["ECDHE-RSA-AES256-GCM-SHA384"],
                "server_name": "mbx1.contoso.test",
            },
            "failure": None,
        },
        "authenticated_as": None,
        "outcome": "completed",
        "outcome_detail": "the client said QUIT",
        "selections": [{"verb": "X-ANONYMOUSTLS"}],
        "event_ids": [12015],
        "messages": [7],
        "proxy": "192.0.2.9:4711",
        "limits": ["MaxRecipientsPerMessage: a message has more than 200 recipients"],
        "authentications": [
            {
                "verb": "X-EXPS",
                "mechanism": "NTLM",
                "identity": "CONTOSO\\MBX2$",
                "failure": "wrong_password",
                "detail": "the password is another",
            },
            {
                "verb": "X-EXPS",
                "mechanism": "GSSAPI",
                "identity": "CONTOSO\\MBX2$",
                "failure": None,
                "detail": "Kerberos",
            },
        ],
        "groups": ["ExchangeServers"],
        "permissions": ["SMTPSubmit"],
        "faults": [{"fault": 0, "at": "mail", "kind": "drop", "detail": "drop of the connection (FIN)"}],
    }


def test_the_transcript_is_shown_where_it_is_asked_for() -> None:
    """The dialogue comes with the session only on demand."""
    shown = SESSION.as_json(transcript=True)

    assert shown["transcript"] == [{"offset_ms": 0, "mark": "S", "text": "220 ready"}]


def test_a_running_session_in_the_clear_has_nulls() -> None:
    """What has not happened yet is null, not absent."""
    running = replace(SESSION, ended=None, outcome=None, tls=None)

    shown = running.as_json()

    assert running.verb is None
    assert (shown["ended"], shown["outcome"], shown["tls"], shown["verb"]) == (None, None, None, None)
    assert shown.keys() == SESSION.as_json().keys()


def test_a_handshake_without_a_client_hello_offered_nothing() -> None:
    """Where no complete ClientHello came, what was offered is null and the failure says why."""
    shown = TlsFacts(TlsVerb.STARTTLS, THUMBPRINT, failure="the peer closed the connection").as_json()

    assert shown["offered"] is None
    assert shown["failure"] == "the peer closed the connection"
    assert shown["version"] is None


def test_outcomes_are_the_documented_ones() -> None:
    """The names that tests and filters rely on."""
    assert {outcome.value for outcome in Outcome} == {
        "completed",
        "quit_without_mail",
        "no_connector",
        "refused",
        "handshake_failed",
        "plaintext_after_tls_verb",
        "authentication_failed",
        "limit_exceeded",
        "timeout",
        "peer_disconnected",
        "fault_injected",
        "shut_down",
        "internal_error",
    }


def test_a_message_keeps_its_octets_to_itself() -> None:
    """The raw message stays out of repr, and so out of logs."""
    message = MessageRecord(
        time=NOW,
        server="MBX1",
        connector="Default Frontend MBX1",
        session_id=SESSION.id,
        sender="",
        recipients=("a@contoso.test",),
        raw=b"Subject: private\r\n\r\n",
    )

    assert "private" not in repr(message)


def test_an_event_is_one_object_of_the_log() -> None:
    """The event object has the documented keys in their order, with the full text."""
    record = EventRecord(
        id=3,
        time=NOW,
        draft=EventDraft(EventId.EXPIRED, (THUMBPRINT,), THUMBPRINT),
        source="MSExchangeFrontEndTransport",
        server="MBX1",
        connector=None,
        session_id=None,
    )

    assert list(record.as_json().items()) == [
        ("id", 3),
        ("time", "2027-06-01T12:00:00.000Z"),
        ("event_id", 12015),
        ("level", "Warning"),
        ("source", "MSExchangeFrontEndTransport"),
        ("category", "TransportService"),
        ("symbol", "InternalTransportCertificateExpired"),
        ("message", f"An internal transport certificate expired. Thumbprint:{THUMBPRINT}"),
        ("inserts", [THUMBPRINT]),
        ("server", "MBX1"),
        ("connector", None),
        ("session_id", None),
        ("thumbprint", THUMBPRINT),
    ]
