"""The commands that an empty page teaches: they reach this very receiver."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.records import TlsVerb

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Commands to try first, each with what it shows; none where no connector listens."""

    commands: tuple[tuple[str, str], ...]
    keeps_mail: bool  # Whether mail is kept, or accepted and discarded.

    @classmethod
    def of(cls, receiver: Receiver) -> Suggestions:
        """Return the commands for the first connector of *receiver* that offers X-ANONYMOUSTLS, else the first."""
        keeps_mail = receiver.settings.capture.url is not None
        if not receiver.bound:
            return cls((), keeps_mail)
        offering = {
            (selection.server, selection.connector)
            for _, selection in receiver.selections_at_start
            if selection.advertised and selection.verb is TlsVerb.X_ANONYMOUSTLS
        }
        bound = next(
            (each for each in receiver.bound if (each.server.name, each.connector.name) in offering),
            receiver.bound[0],
        )
        target = str(_reachable(bound.binding))
        return cls(
            (
                (
                    f"swaks --server {target} --tls --from a@example.test --to b@contoso.test",
                    "sends a message over STARTTLS",
                ),
                (
                    f"smtpd-anontls probe {target}",
                    "says X-ANONYMOUSTLS and tells which certificate came",
                ),
                (
                    f"openssl s_client -connect {target} -starttls smtp -name client.test </dev/null",
                    "looks at the STARTTLS certificate",
                ),
            ),
            keeps_mail,
        )


def _reachable(binding: Binding) -> Binding:
    """Return *binding* as an address to connect to, which a wildcard is not."""
    if not binding.is_wildcard:
        return binding
    loopback = "127.0.0.1" if isinstance(binding.address, IPv4Address) else "::1"
    return Binding(ip_address(loopback), binding.port)
