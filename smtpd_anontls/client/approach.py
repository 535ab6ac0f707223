"""The way to a TLS session that ``probe`` and ``tunnel`` share: greeting, EHLO, verb, handshake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.client import verdict
from smtpd_anontls.client.errors import ConversationError, RefusedError

if TYPE_CHECKING:
    from smtpd_anontls.client.conversation import Conversation, Hello, Reply
    from smtpd_anontls.client.logon import Logon
    from smtpd_anontls.client.sending import Sent
    from smtpd_anontls.client.target import Target
    from smtpd_anontls.client.tls import Secured, TlsOffer
    from smtpd_anontls.domain.records import TlsVerb

_READY = 220


@dataclass(slots=True)
class Seen:
    """What a server has shown so far; what it has not come to is None."""

    banner: Reply | None = None
    hello: Hello | None = None
    secured: Secured | None = None
    hello_after_tls: Hello | None = None
    logon: Logon | None = None
    sent: Sent | None = None


def greet(conversation: Conversation, target: Target, *, ehlo: str, seen: Seen) -> tuple[Reply, Hello]:
    """Return the banner and the answer to EHLO; ClientError says what stands in the way."""
    banner = seen.banner = conversation.read_banner()
    if banner.is_positive and banner.code != _READY:
        raise ConversationError(f"{target} does not greet as SMTP does: {banner}, where 220 should be")
    if banner.code != _READY:
        raise RefusedError(verdict.banner_refused(target, banner))
    hello = seen.hello = conversation.hello(ehlo)
    return banner, hello


def secure(
    conversation: Conversation, verb: TlsVerb, banner: Reply, hello: Hello, *, offer: TlsOffer, seen: Seen
) -> Secured:
    """Upgrade a conversation that was greeted so by *verb*; ClientError says what stands in the way."""
    if not hello.offers(verb):
        raise RefusedError(verdict.verb_not_offered(verb, banner, hello))
    answer = conversation.ask_for_tls(verb)
    if answer.code != _READY:
        raise RefusedError(verdict.verb_refused(verb, answer))
    secured = seen.secured = conversation.start_tls(offer)
    return secured
