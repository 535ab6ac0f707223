"""What the selections of a session cost by themselves, with the embedded directory."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.servers.receiver import CAPTURE_OFF
from bench.servers.server import Key, Place
from smtpd_anontls import load_config
from smtpd_anontls.deciding import Surroundings
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.validity import Moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from bench.keys import KeyPair
    from smtpd_anontls.settings.values import Settings

_SESSIONS = 1_000
_WARM_UP = 200
_MICRO = 1e6


def selection_us(folder: Path, keys: Mapping[Key, KeyPair], rounds: int) -> tuple[list[float], list[float]]:
    """Return the CPU µs of both selections of a session, certificates loaded: one figure a round.

    First as a session has them, recalled while nothing that they asked has changed; then each run anew.
    """
    folder.mkdir(parents=True)
    CAPTURE_OFF.command(Place(folder, keys, dict.fromkeys(Key, 0)))
    settings = load_config(folder / "receive.yaml", environ={}).settings
    return asyncio.run(_rounds(settings, rounds))


async def _rounds(settings: Settings, rounds: int) -> tuple[list[float], list[float]]:
    surroundings = Surroundings.of(settings, on_warning=print)
    servers = [each.server for each in settings.servers]
    surroundings.load(servers)
    server, (connector, *_) = servers[0], servers[0].connectors

    async def for_session() -> None:
        decided = await surroundings.decide_for_session(connector, server, Moment(datetime.now(UTC)))
        assert all(selection.certificate is not None for selection, _ in decided)

    async def anew() -> None:
        moment = Moment(datetime.now(UTC))
        for verb in TlsVerb:
            selection, _ = await surroundings.decide(connector, server, verb, moment)
            assert selection.certificate is not None

    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for what, figures in zip((for_session, anew), found, strict=True):
            await _times(what, _WARM_UP)
            figures.append(await _times(what, _SESSIONS))
    return found


async def _times(what: Callable[[], Awaitable[None]], count: int) -> float:
    """Do *what* so often, and return the CPU µs of once."""
    began = time.process_time()
    for _ in range(count):
        await what()
    return (time.process_time() - began) / count * _MICRO
