"""The rows of one session, in the order in which they are noted.

What each row looks like, and which there are at all, is what public logs of Exchange have: those with
``Default Frontend`` connectors of 2020 to 2024 for the current layout, those of Exchange 2010 and 2013 for
the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.instants import rfc3339
from smtpd_anontls.domain.protocol_log import Layout
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol_log.rows import Event, Row, columns
from smtpd_anontls.protocol_log.schannel import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.records import TlsFacts

_CODE = 3  # Digits of a reply; "250-" and "250 " come before its text.

_CERTIFICATE_FACTS = (
    "certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names"
)

# What the current layout has behind the first EHLO of a session whose peer showed no certificate.
_NO_CLIENT_CERTIFICATE = (
    "Client certificate chain validation status: 'EmptyCertificate'",
    "TlsDomainCapabilities='None'; Status='NoRemoteCertificate'",
)


class SessionRows:
    """Writes rows through *put*, which takes all that it is given or none, and says which.

    Those that it did not take are counted, and the count stands in a row before the next one.
    """

    def __init__(
        self,
        put: Callable[..., bool],
        clock: Callable[[], datetime],
        layout: Layout,
        *,
        session_id: str,
        connector_id: str,
        local: str,
        remote: str,
    ) -> None:
        self._put = put
        self._clock = clock
        self._layout = layout
        self._ids = columns(connector_id, session_id.upper())
        self._endpoints = columns(local, remote)
        self._sequence = 0
        self._dropped = 0
        # After STARTTLS, until the first EHLO: what is said there of a client certificate is still to come.
        self._just_secured = False
        self._remote_certificate = False

    def connected(self) -> None:
        """Note that the session began."""
        self._note(Event.CONNECT)

    def permissions(self, names: Sequence[str]) -> None:
        """Note what the sender may do now; the current layout has no such row."""
        if self._layout is Layout.EXCHANGE_2013:
            self._note(Event.INFORMATION, " ".join(names), "Set Session Permissions")

    def received(self, line: str) -> None:
        """Note a command; whatever it had of authentication is masked already."""
        self._note(Event.RECEIVED, line)
        if self._just_secured and line[:4].upper() == "EHLO":
            self._just_secured = False
            if not self._remote_certificate:
                for context in _NO_CLIENT_CERTIFICATE:
                    self._note(Event.INFORMATION, "", context)

    def sent(self, lines: Sequence[str], *, ehlo: bool = False) -> None:
        """Note a reply, its lines as on the wire: one row, or in the layout of 2013 a row each."""
        if self._layout is Layout.CURRENT and (ehlo or len(lines) > 1):
            # Two blanks behind the code: "250  mx1.contoso.test Hello [192.0.2.1] SIZE PIPELINING".
            texts = (line[_CODE + 1 :] for line in lines)
            lines = [f"{lines[0][:_CODE]}  {' '.join(texts)}"]
        for line in lines:
            self._note(Event.SENT, line)

    def certificate(self, certificate: Certificate, *, remote: bool = False) -> None:
        """Note a certificate that is presented: ours, or the peer's."""
        self._remote_certificate = self._remote_certificate or remote
        if self._layout is Layout.CURRENT:
            facts = (
                certificate.subject,
                certificate.issuer,
                certificate.serial_number,
                certificate.thumbprint,
                rfc3339(certificate.not_before),
                rfc3339(certificate.not_after),
                ";".join(certificate.subject_alternative_names),
            )
            context = f"{'Remote' if remote else 'Sending'} {_CERTIFICATE_FACTS}"
            self._note(Event.INFORMATION, " " + " ".join(facts), context)
            return
        self._note(Event.INFORMATION, "", "Received certificate" if remote else "Sending certificate")
        if not remote:
            self._note(Event.INFORMATION, certificate.subject, "Certificate subject")
            self._note(Event.INFORMATION, certificate.issuer, "Certificate issuer name")
            self._note(Event.INFORMATION, certificate.serial_number, "Certificate serial number")
        self._note(Event.INFORMATION, certificate.thumbprint, "Certificate thumbprint")
        if not remote:
            names = ";".join(certificate.subject_alternative_names)
            self._note(Event.INFORMATION, names, "Certificate alternate names")

    def handshake(self, facts: TlsFacts) -> None:
        """Note what a handshake negotiated, or why it failed."""
        self._note(Event.INFORMATION, "", outcome(facts, self._layout))
        # Seen behind STARTTLS alone: X-ANONYMOUSTLS verifies nobody's identity.
        self._just_secured = (
            self._layout is Layout.CURRENT and facts.failure is None and facts.verb is TlsVerb.STARTTLS
        )

    def information(self, data: str, context: str = "") -> None:
        r"""Note something else, such as ``CONTOSO\MBX2$`` with the context ``authenticated``."""
        self._note(Event.INFORMATION, data, context)

    def disconnected(self, reason: str) -> None:
        """Note who ended the session: ``Local``, ``Remote``, or ``Remote(ConnectionReset)``."""
        if self._layout is Layout.EXCHANGE_2013:
            reason = reason.partition("(")[0]
        self._note(Event.DISCONNECT, "", reason)

    def _note(self, event: Event, data: str = "", context: str = "") -> None:
        before: tuple[Row, ...] = ()
        if self._dropped:
            told = f"Rows dropped before this one: {self._dropped}"
            before = (self._row(self._sequence, Event.INFORMATION, "", told),)
        if self._put(*before, self._row(self._sequence + len(before), event, data, context)):
            self._sequence += len(before) + 1
            self._dropped = 0
        else:
            self._sequence += 1  # The gap shows where it was.
            self._dropped += 1

    def _row(self, number: int, event: Event, data: str, context: str) -> Row:
        return Row(self._clock(), self._ids, number, self._endpoints, event, data, context)
