"""The configuration, the directory and the store change under load: the next session has the change."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.certificates.issue import Issued, KeyType, issue
from smtpd_anontls.domain.certificate import thumbprint_of
from smtpd_anontls.notation.edit import with_value, write_atomically
from tests.lab import CONNECTOR, FQDN, SERVER
from tests.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

SWAPS = 200
CLIENTS = 50
# A certificate leaves the store so many swaps after the directory has stopped to name it: no
# session that was told its name can still be looking for it then.
GRACE = 10


@dataclass
class Load:
    """What the clients met."""

    sessions: int = 0
    upgraded: int = 0
    faults: list[str] = field(default_factory=list)


def replace_file(path: Path, content: bytes) -> None:
    """Put *content* in the place of the file at once, as a careful administrator does."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)  # noqa: PTH105 - the call that is atomic


async def one_session(address: tuple[str, int]) -> str | None:
    """Open a session, take X-ANONYMOUSTLS where it is offered, and return the thumbprint presented."""
    async with await Peer.connect(address) as peer:
        await peer.reply()
        offered = "250-X-ANONYMOUSTLS" in await peer.ask("EHLO client.test")
        thumbprint = None
        if offered:
            answer = await peer.ask("X-ANONYMOUSTLS")
            assert answer == ["220 2.0.0 SMTP server ready"], answer
            await peer.upgrade()
            thumbprint = thumbprint_of(peer.presented() or b"")
            assert (await peer.ask("EHLO client.test"))[-1].startswith("250 ")
        assert await peer.ask("QUIT") == ["221 2.0.0 Service closing transmission channel"]
        return thumbprint


async def client(address: tuple[str, int], load: Load, over: asyncio.Event) -> None:
    """Open one session after the other until it is over."""
    while not over.is_set():
        try:
            load.upgraded += await one_session(address) is not None
        except (AssertionError, OSError) as error:
            load.faults.append(repr(error))
        load.sessions += 1


@pytest.mark.slow
async def test_two_hundred_changes_under_load_each_take_effect_at_once(lab: Lab) -> None:
    """Certificate, directory value and AuthMechanism swap 200 times; no session fails, each next one sees it."""
    now = datetime.now(UTC)
    certificates = [
        issue([SERVER, FQDN], now=now - timedelta(days=1), key_type=KeyType.EC) for _ in range(SWAPS // 2)
    ]
    load, over = Load(), asyncio.Event()
    seen: list[tuple[str, str | None, str | None]] = []

    async with lab.receiver() as receiver:
        address = receiver.address(CONNECTOR)
        clients = [asyncio.create_task(client(address, load, over)) for _ in range(CLIENTS)]
        named: str | None = lab.certificate("internal").thumbprint
        enabled = True
        held: list[Path] = []
        for number in range(SWAPS):
            if number % 2:
                enabled = not enabled
                swap_auth_mechanism(lab, enabled=enabled)
                what = "AuthMechanism"
            else:
                issued = certificates[number // 2]
                held.append(swap_certificate(lab, issued))
                named = issued.certificate.thumbprint
                what = "certificate"
                for path in held[: -GRACE or None]:
                    path.unlink(missing_ok=True)
            seen.append((what, named if enabled else None, await one_session(address)))
        over.set()
        await asyncio.gather(*clients)

    assert [entry for entry in seen if entry[1] != entry[2]] == []
    assert load.faults == []
    assert load.sessions > SWAPS
    assert load.upgraded > 0
    assert {session["outcome"] for session in lab.sessions} == {"quit_without_mail"}
    assert lab.events == []


def swap_certificate(lab: Lab, issued: Issued) -> Path:
    """Put a new certificate into the store, then let the directory name it."""
    path = lab.store / f"{issued.certificate.thumbprint[:8]}.pem"
    replace_file(path, issued.certificate_pem + issued.key_pem)
    directory = lab.config.parent / "directory.yaml"
    value = f"{SERVER}: {{msExchServerInternalTLSCert: {issued.certificate.thumbprint}}}\n"
    replace_file(directory, value.encode())
    return path


def swap_auth_mechanism(lab: Lab, *, enabled: bool) -> None:
    """Take ExchangeServer from the connector, or give it back."""
    mechanisms = ["Tls", "ExchangeServer"] if enabled else ["Tls"]
    path = ("servers", 0, "connectors", 0, "auth_mechanism")
    write_atomically(lab.config, with_value(lab.config.read_text(), path, mechanisms))


async def test_a_certificate_file_that_is_rewritten_is_presented_by_the_next_session(lab: Lab) -> None:
    """The same file name, another certificate: STARTTLS by name presents what the file holds now."""
    now = datetime.now(UTC)
    async with lab.receiver(store={FQDN: None, "internal": "valid"}) as receiver:
        address = receiver.address(CONNECTOR)
        presented = []
        for hours in range(5):
            issued = issue([FQDN], now=now - timedelta(hours=10 - hours), key_type=KeyType.EC)
            replace_file(lab.store / "mx1.pem", issued.certificate_pem + issued.key_pem)
            async with await Peer.connect(address) as peer:
                await peer.reply()
                await peer.ask("EHLO client.test")
                await peer.ask("STARTTLS")
                await peer.upgrade()
                presented.append((issued.certificate.thumbprint, thumbprint_of(peer.presented() or b"")))

    assert [entry for entry in presented if entry[0] != entry[1]] == []
