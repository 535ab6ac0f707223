"""Receivers of a lab whose files a test has written itself, and what they are asked from outside."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import load_config
from tests.lab import CONNECTOR, FQDN, all_ended
from tests.peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lab import Lab

Json = dict[str, Any]


def connector(name: str, role: str = "FrontendTransport", **properties: Any) -> Json:
    """Return a connector on a port of its own, which offers both TLS verbs unless *properties* say otherwise."""
    return {
        "name": name,
        "transport_role": role,
        "bindings": ["127.0.0.1:0"],
        "auth_mechanism": ["Tls", "ExchangeServer"],
        "permission_groups": ["AnonymousUsers", "ExchangeServers"],
        **properties,
    }


@asynccontextmanager
async def running(lab: Lab, **options: Any) -> AsyncIterator[Receiver]:
    """Run a receiver of the files as they are now."""
    loaded = load_config(lab.config, environ={}, machine_fqdn=FQDN)
    async with Receiver(loaded, **{"on_warning": lab.warnings.append, **options}) as receiver:
        yield receiver


def accepts(address: tuple[str, int]) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True


async def visit(receiver: Receiver, connector: str = CONNECTOR, server: str | None = None) -> None:
    """Open a session, and end it."""
    async with await Peer.connect(receiver.address(connector, server)) as peer:
        assert (await peer.reply())[0].startswith("220 ")
        await peer.ask("QUIT")
    await all_ended(receiver)


async def answered(answer: bool) -> bool:  # noqa: FBT001 - an answer, not an option
    """Return *answer* as something to wait for."""
    return answer
