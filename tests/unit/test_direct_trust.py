"""Direct trust, as a rule: whose certificate a client presented, by what the directory says of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from smtpd_anontls.domain.direct_trust import NamedBy, Naming, NotTrusted, Trusted, judge, presented
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.events import EventDraft, EventId
from tests.making import DAY, NOW, certificate, common_name, der

VALID = certificate("MBX2")
EXPIRED = certificate("MBX2", not_after=NOW - DAY)
NOT_YET = certificate("MBX2", not_before=NOW + DAY)
SHOWN = f"the client certificate {VALID.thumbprint} (CN=MBX2)"
IS = "is the msExchServerInternalTLSCert of"


def test_a_certificate_of_another_server_is_that_server() -> None:
    """The one server object that names the certificate is who the client is."""
    assert judge(VALID, NamedBy(("MBX2",)), own="MBX1", now=NOW) == Trusted("MBX2", f"{SHOWN} {IS} MBX2")


@pytest.mark.parametrize(
    ("naming", "detail"),
    [
        pytest.param(NamedBy(), f"{SHOWN} {IS} no server object", id="of nobody"),
        pytest.param(
            NamedBy(not_understood=("MBX4",)),
            f"{SHOWN} {IS} no server object; what MBX4 has could not be compared",
            id="of nobody, as far as can be read",
        ),
        pytest.param(
            NamedBy(not_understood=("A", "B", "C", "D", "E")),
            f"{SHOWN} {IS} no server object; what A, B, C and 2 more have could not be compared",
            id="of nobody, with much that cannot be read",
        ),
        pytest.param(
            NamedBy(("mbx1",)),
            f"{SHOWN} {IS} MBX1 itself, and of no other server object",
            id="of this server",
        ),
        pytest.param(
            Unreadable("dc1: time-out"),
            f"{SHOWN} could not be looked for in the directory: dc1: time-out",
            id="the directory is away",
        ),
    ],
)
def test_a_certificate_that_makes_nobody(naming: Naming, detail: str) -> None:
    """Without another server object that names it a certificate is worth nothing, and the sentence says why."""
    assert judge(VALID, naming, own="MBX1", now=NOW) == NotTrusted(detail)


def test_a_certificate_of_several_servers() -> None:
    """Of several other servers the first by name is taken; this server itself is none of them."""
    judged = judge(VALID, NamedBy(("MBX1", "MBX2", "MBX3")), own="mbx1", now=NOW)

    assert judged == Trusted("MBX2", f"{SHOWN} {IS} MBX2, MBX3")


def test_an_expired_certificate_is_reported() -> None:
    """12019 names the subject; the identity is given all the same, which the sentence says."""
    judged = judge(EXPIRED, NamedBy(("MBX2",)), own="MBX1", now=NOW)

    assert isinstance(judged, Trusted)
    assert judged.server_name == "MBX2"
    assert judged.expired
    assert judged.event == EventDraft(EventId.REMOTE_EXPIRED, ("CN=MBX2",), EXPIRED.thumbprint)
    assert judged.detail.endswith(
        " MBX2; it expired on 2027-05-31T12:00:00Z and gives the identity all the same"
    )


def test_at_valid_to_itself_a_certificate_still_counts() -> None:
    """One second later it has expired."""
    at = [
        judge(VALID, NamedBy(("MBX2",)), own="MBX1", now=VALID.not_after + timedelta(seconds=s))
        for s in (0, 1)
    ]

    assert [isinstance(judged, Trusted) and judged.expired for judged in at] == [False, True]


def test_an_expired_certificate_of_nobody_is_no_event() -> None:
    """What no server object names is no remote server's certificate."""
    judged = judge(EXPIRED, NamedBy(), own="MBX1", now=NOW)

    assert isinstance(judged, NotTrusted)


def test_a_certificate_that_is_not_yet_valid() -> None:
    """Only Valid to is looked at; the sentence tells of Valid from."""
    judged = judge(NOT_YET, NamedBy(("MBX2",)), own="MBX1", now=NOW)

    assert isinstance(judged, Trusted)
    assert not judged.expired
    assert judged.event is None
    assert judged.detail.endswith(
        "it is not valid before 2027-06-02T12:00:00Z and gives the identity all the same"
    )


def test_no_certificate() -> None:
    """The directory is not asked about what was not presented."""
    assert presented(None) == NotTrusted("the client presented no certificate")


@pytest.mark.parametrize("octets", [b"", b"0", b"0" * 5000, der("MBX2")[:-1], der("MBX2") + b"\0"])
def test_octets_that_are_no_certificate(octets: bytes) -> None:
    """What cannot be read makes nobody, and nothing worse."""
    assert presented(octets) == NotTrusted(
        "what the client presented is not an X.509 certificate that can be read"
    )


def test_a_certificate_that_can_be_read() -> None:
    """The certificate comes as the directory is asked about it."""
    assert presented(VALID.der) == VALID


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (common_name("x\n\x1b[2J\u202e"), r'(CN="x\x0a\x1b[2J\u202e")'),
        (x509.Name([]), "(no subject)"),
    ],
    ids=["hostile", "empty"],
)
def test_the_subject_is_shown_to_people(subject: x509.Name, shown: str) -> None:
    """A subject is its maker's text: what would move the cursor or the reader's eye is escaped."""
    judged = judge(certificate(subject), NamedBy(), own="MBX1", now=NOW)

    assert shown in judged.detail
    assert judged.detail.isprintable()
