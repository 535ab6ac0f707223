"""The Python API as a user's type checker sees it: nothing runs here, mypy reads it (`make lint`)."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import smtpd_anontls
from smtpd_anontls import ConfigError, Message, Receiver, load_config
from smtpd_anontls.testing import (
    AsyncReceiver,
    BlockingReceiver,
    Event,
    Session,
    running_async_receiver,
    running_receiver,
)


async def from_python() -> None:
    """Run a receiver, and wait for a message."""
    try:
        loaded = load_config("config/receive.yaml")
    except ConfigError as error:
        assert_type(error.lines, tuple[str, ...])
        return
    load_config(Path("config/receive.yaml"), overrides=["servers[0].fqdn=mx.test"], environ={})
    async with Receiver(loaded) as receiver:
        assert_type(receiver, Receiver)
        assert_type(receiver.address("Default Frontend MBX1"), tuple[str, int])
        message = await receiver.messages.wait(recipient="a@contoso.test", timeout=5)
        assert_type(message, Message)
        assert_type(message.raw, bytes)
        assert_type(message.recipients, tuple[str, ...])
        assert_type(await receiver.messages.wait_many(2, subject="Hello"), list[Message])
        await receiver.messages.wait(colour="red")  # type: ignore[call-arg]  # There is no such term.
    assert_type(smtpd_anontls.__version__, str)


def the_fixture(receiver: BlockingReceiver) -> None:
    """Ask the receiver of a test that may block."""
    assert_type(receiver.address(), tuple[str, int])
    assert_type(receiver.messages.wait(recipient="a@contoso.test", timeout=5), Message)
    assert_type(receiver.messages.wait_many(2, timeout=5.0), list[Message])
    assert_type(receiver.messages.matching(sender="a@example.test"), list[Message])
    assert_type(receiver.messages[-1].subject, str | None)
    assert_type(receiver.messages[1:], list[Message])
    assert_type(list(receiver.messages), list[Message])
    assert_type(receiver.sessions, list[Session])
    assert_type(receiver.sessions[-1].outcome, str | None)
    assert_type(receiver.events, list[Event])
    assert_type(receiver.assert_event(12015), Event)
    receiver.messages.wait(colour="red")  # type: ignore[call-arg]


async def the_asynchronous_fixture(async_receiver: AsyncReceiver) -> None:
    """Ask the receiver in the test's own loop."""
    assert_type(async_receiver.address(), tuple[str, int])
    assert_type(await async_receiver.messages.wait(timeout=5), Message)
    assert_type(await async_receiver.messages.matching(), list[Message])
    assert_type(await async_receiver.sessions(), list[Session])
    assert_type(await async_receiver.events(), list[Event])
    assert_type(await async_receiver.assert_event(12015), Event)


async def without_pytest(folder: Path) -> None:
    """Run one for any other way of testing."""
    with running_receiver(folder, scenario="expired", connector={"banner": "hello"}) as receiver:
        assert_type(receiver, BlockingReceiver)
    async with running_async_receiver(folder, users={"alice": "open sesame"}) as async_receiver:
        assert_type(async_receiver, AsyncReceiver)
    with running_receiver(folder, colour="red"):  # type: ignore[call-arg]
        pass
