"""``explain --outbound``: what a server loads when it is the one that sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from smtpd_anontls.cli.common import CommandError, ExitCode
from smtpd_anontls.cli.output import say, say_json
from smtpd_anontls.cli.showing import say_events, say_steps
from smtpd_anontls.deciding import close_directory
from smtpd_anontls.domain.sending import TO_EDGE, TO_ORGANIZATION, Delivery, smart_host_auth_mechanism

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smtpd_anontls.deciding import Surroundings
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.selection.validity import Moment


def delivery_of(
    delivery_type: str | None, smart_host_auth: str | None, address_space: str | None
) -> Delivery:
    """Return the delivery that the options describe; a mistake ends the command."""
    try:
        mechanism = smart_host_auth_mechanism(
            "ExchangeServer" if smart_host_auth is None else smart_host_auth
        )
    except ValueError as error:
        raise CommandError(f"--smart-host-auth: {error}", ExitCode.BAD_USAGE) from error
    return Delivery(delivery_type or TO_EDGE, mechanism, address_space or TO_ORGANIZATION)


def explain_outbound(
    surroundings: Surroundings,
    servers: Sequence[Server],
    delivery: Delivery,
    moment: Moment,
    *,
    as_json: bool,
) -> None:
    """Print the selection of each server as the sending side of *delivery*."""

    async def run() -> list[Selection]:
        try:
            return [await surroundings.select_outbound(delivery, each, moment) for each in servers]
        finally:
            await close_directory(surroundings.directory)

    selections = asyncio.run(run())
    if as_json:
        say_json([selection.as_json() for selection in selections])
        return
    for selection in selections:
        _show(selection)
        say()


def _show(selection: Selection) -> None:
    say(f"{selection.server}: sending, {selection.connector}", style="bold")
    say_steps(selection)
    if selection.certificate is None:
        say("no certificate is loaded", style="red", label="  => ")
    else:
        say(f"{selection.certificate.thumbprint} is loaded, for direct trust", style="green", label="  => ")
    say_events(selection)
