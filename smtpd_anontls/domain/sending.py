"""A delivery as the sending side sees it: what decides whether a certificate is loaded for anonymous TLS.

Source: "Selection of Outbound Anonymous TLS Certificates"; Get-Queue (DeliveryType), Set-SendConnector
(SmartHostAuthMechanism, AddressSpaces).
"""

from __future__ import annotations

from dataclasses import dataclass

from smtpd_anontls.domain.flags import ExchangeFlag, flag_from_names

# The one queue of a Mailbox server whose sessions are for an Edge server of its site.
TO_EDGE = "SmtpRelayWithinAdSitetoEdge"
# How the Send connector that EdgeSync makes names the organization.
TO_ORGANIZATION = "--"


class SmartHostAuthMechanism(ExchangeFlag):
    """How a Send connector authenticates to its smart host; the article names ExchangeServer alone.

    The numbers are our own: a Send connector is only asked about, never stored.
    """

    BasicAuth = 1
    BasicAuthRequireTLS = 2
    ExchangeServer = 4
    ExternalAuthoritative = 8


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of a delivery; what nobody said is what makes the selection go on."""

    delivery_type: str = TO_EDGE  # Of the queue; a Mailbox server looks at it.
    # Of the Send connector; an Edge server looks at both.
    smart_host_auth_mechanism: SmartHostAuthMechanism = SmartHostAuthMechanism.ExchangeServer
    address_space: str = TO_ORGANIZATION

    @property
    def is_to_edge(self) -> bool:
        """Whether its queue is for an Edge server of the site."""
        return self.delivery_type.casefold() == TO_EDGE.casefold()

    @property
    def is_to_organization(self) -> bool:
        """Whether its Send connector is for the organization behind the Edge server."""
        return self.address_space.strip() == TO_ORGANIZATION


def smart_host_auth_mechanism(text: str) -> SmartHostAuthMechanism:
    """Read names between commas, in any case; ValueError says which there are."""
    return flag_from_names(
        SmartHostAuthMechanism, [word.strip() for word in text.split(",") if word.strip()] or ["None"]
    )
