"""Give an SMTP client without X-ANONYMOUSTLS, such as ``swaks --pipe``, a session inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.client.approach import Seen, greet, secure
from smtpd_anontls.client.conversation import Conversation, Transcript, checked_ehlo_name
from smtpd_anontls.client.errors import ConversationError, ExitCode
from smtpd_anontls.client.relay import Relay
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.wire import Deadline, checked_timeout
from smtpd_anontls.domain.records import TlsVerb

if TYPE_CHECKING:
    from smtpd_anontls.client.target import Target

QUIET_SECONDS = 3.0  # How long a server may be silent once stdin has ended.


def tunnel(
    target: Target,
    *,
    ehlo: str,
    stdin: int,
    stdout: int,
    verb: TlsVerb = TlsVerb.X_ANONYMOUSTLS,
    offer: TlsOffer | None = None,
    timeout: float = 30.0,
    quiet: float = QUIET_SECONDS,
) -> ExitCode:
    """Upgrade by *verb* within *timeout*, replay the banner to *stdout*, and join both descriptors to the session.

    Nothing but what the server says is written to *stdout*.  Returns when either side has ended;
    ClientError carries the sentence and the exit code of everything else, ValueError says which
    argument cannot be.
    """
    checked_ehlo_name(ehlo)
    checked_timeout(timeout)
    seen = Seen()
    with Conversation.open(target, Deadline(timeout), Transcript()) as conversation:
        banner, hello = greet(conversation, target, ehlo=ehlo, seen=seen)
        secure(conversation, verb, banner, hello, offer=offer or TlsOffer(), seen=seen)
        connection, session = conversation.hand_over()
    with connection:
        try:
            Relay(connection, session, stdin=stdin, stdout=stdout, greeting=banner.wire, quiet=quiet).run()
        except ConversationError as error:
            raise ConversationError(f"{target}: {error}") from error
    return ExitCode.FINE
