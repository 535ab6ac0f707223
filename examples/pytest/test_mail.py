"""What tests with smtpd-anontls look like: each has a receiver of its own, on a port of its own.

``send`` stands for the program under test.
"""

from __future__ import annotations

import asyncio
import smtplib
import subprocess
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from smtpd_anontls.testing import AsyncReceiver, BlockingReceiver


def send(address: tuple[str, int], recipient: str = "b@contoso.test") -> None:
    """Send a message."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.test", recipient, "Hello"
    message.set_content("Body")
    with smtplib.SMTP(*address) as client:
        client.send_message(message)


def test_mail_arrives(receiver: BlockingReceiver) -> None:
    """The receiver keeps every message, byte for byte."""
    send(receiver.address())

    message = receiver.messages.wait(recipient="b@contoso.test", timeout=5)
    assert message.subject == "Hello"
    assert message.raw.endswith(b"\r\nBody\r\n")


@pytest.mark.receiver(scenario="expired")
def test_an_expired_certificate_is_advertised_all_the_same(receiver: BlockingReceiver) -> None:
    """A scenario of the gallery, and the event that Exchange writes."""
    send(receiver.address())

    receiver.sessions[-1].assert_advertised("X-ANONYMOUSTLS")
    receiver.assert_event(12015)


@pytest.mark.receiver(connector={"require_tls": True, "auth_mechanism": ["Tls"]})
def test_clear_text_is_refused(receiver: BlockingReceiver) -> None:
    """Any property of a Receive connector."""
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
        send(receiver.address())

    assert not receiver.messages


@pytest.mark.receiver(users={"alice": "open sesame"}, connector={"permission_groups": ["ExchangeUsers"]})
def test_swaks_logs_on(receiver: BlockingReceiver) -> None:
    """A test may block in any program."""
    host, port = receiver.address("Default Frontend MBX1")
    mail = ["--from", "a@contoso.test", "--to", "b@contoso.test"]
    logon = ["--tls", "--auth", "LOGIN", "--auth-user", "alice", "--auth-password", "open sesame"]
    subprocess.run(["swaks", "--server", f"{host}:{port}", *mail, *logon], check=True)

    assert receiver.sessions[-1].authenticated_as == "alice"


@pytest.mark.asyncio
async def test_in_the_loop_of_the_test(async_receiver: AsyncReceiver) -> None:
    """With pytest-asyncio the receiver can live in the test's own loop; what blocks goes into a thread."""
    await asyncio.to_thread(send, async_receiver.address())

    message = await async_receiver.messages.wait(sender="a@example.test", timeout=5)
    assert message.recipients == ("b@contoso.test",)
