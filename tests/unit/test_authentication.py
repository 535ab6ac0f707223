"""Authentication as values: which failures are ours, what event 1035 calls them, and what no repr shows."""

from __future__ import annotations

import pytest

from smtpd_anontls.domain.authentication import (
    Authenticated,
    Challenge,
    ExchangeAuth,
    Failed,
    FailureReason,
    Mechanism,
)

OURS = {FailureReason.NOT_AVAILABLE, FailureReason.OBSERVED}
ERRORS = {
    FailureReason.MALFORMED: "IllegalMessage",
    FailureReason.OBSERVED: "UnexpectedExchangeAuthBlob",
}


@pytest.mark.parametrize("reason", FailureReason)
def test_failure_is_ours_or_the_senders(reason: FailureReason) -> None:
    """Only what the receiver lacks, and what it merely looks at, is answered by 454."""
    assert Failed(reason, "a sentence").is_ours is (reason in OURS)


@pytest.mark.parametrize("reason", FailureReason)
def test_event_1035_has_three_errors(reason: FailureReason) -> None:
    """What was no message of the mechanism, and what was observed, have names of their own; all else is denied."""
    assert Failed(reason, "a sentence").error == ERRORS.get(reason, "LogonDenied")


def test_tokens_are_not_shown() -> None:
    """A token can be guessed at offline: no repr has it."""
    shown = f"{Challenge(b'secret')!r} {Authenticated('alice', 'a sentence', b'secret')!r}"

    assert "secret" not in shown
    assert "alice" in shown


def test_mechanisms_are_named_as_ehlo_names_them() -> None:
    """Each is its own keyword, and the switch is spelled as the configuration has it."""
    assert [str(each) for each in Mechanism] == ["GSSAPI", "NTLM", "LOGIN", "EXCHANGEAUTH"]
    assert [str(each) for each in ExchangeAuth] == ["off", "observe"]
