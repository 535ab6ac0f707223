"""X-EXPS EXCHANGEAUTH, looked at: its token has no public description, so nobody is let in by it.

What the blob looks like is recorded, for whoever wants to know what a sender sends.  Where Kerberos is
recognised in it and there is a keytab, the ticket is checked as GSSAPI would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.authentication.gssapi import Acceptor, in_thread
from smtpd_anontls.authentication.gssapi_reasons import RefusedError
from smtpd_anontls.domain.authentication import Failed, FailureReason
from smtpd_anontls.protocol.exchange_auth_blob import describe
from smtpd_anontls.protocol.kerberos_messages import AP_REQ, in_gss_frame

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.authentication import Step


class ObserveExchange:
    """One X-EXPS EXCHANGEAUTH as the server; it ends with the first token, as OBSERVED."""

    def __init__(self, *, keytab: Path | None, hostname: str) -> None:
        """Take the *keytab* whose keys check a ticket, None for no check, and the server's FQDN."""
        self._keytab = keytab
        self._expected = f"SMTPSVC/{hostname}"

    async def step(self, token: bytes) -> Step:
        """Describe the client's token; never raise for what it holds."""
        return await in_thread(lambda: self._look(token))

    def _look(self, token: bytes) -> Failed:
        blob = describe(token)
        sentences, principal = [f"the client's token is {blob}"], None
        tokens = [_for_gssapi(token[one.offset : one.end]) for one in blob.found if one.is_token]
        if tokens and self._keytab is None:
            sentences.append("no keytab is configured that could check the ticket")
        elif tokens and self._keytab is not None:
            sentence, principal = _checked(self._keytab, self._expected, tokens)
            sentences.append(sentence)
        return Failed(FailureReason.OBSERVED, "; ".join(sentences), principal)


def _for_gssapi(octets: bytes) -> bytes:
    return in_gss_frame(octets) if octets[0] == AP_REQ else octets


def _checked(keytab: Path, expected: str, tokens: list[bytes]) -> tuple[str, str | None]:
    """Return what GSSAPI says of the first of *tokens* that it can read, and whose ticket it is."""
    for token in tokens:
        try:
            _, established = Acceptor(keytab, expected=expected).accept(token)
        except RefusedError as refused:
            if refused.reason is not FailureReason.MALFORMED:
                return f"the ticket is not taken, {refused.reason}: {refused.detail}", None
            continue
        if established is not None:
            return f"the ticket is good and of {established.principal}: {established}", established.principal
    return "GSSAPI can read no ticket in it", None
