"""A receiver for tests: it listens on a port of its own, keeps its files in one folder, and is gone with the test.

pytest has it as the fixtures ``receiver`` and ``async_receiver``; any other way of testing takes

>>> with running_receiver(folder, scenario="expired") as receiver:
...     host, port = receiver.address()
...     receiver.messages.wait(recipient="a@contoso.test", timeout=5)
"""

from smtpd_anontls.journal.waiting import Message
from smtpd_anontls.testing.arrangement import Arrangement, ArrangementError
from smtpd_anontls.testing.asynchronous import AsyncMessages, AsyncReceiver, running_async_receiver
from smtpd_anontls.testing.blocking import BlockingMessages, BlockingReceiver, running_receiver
from smtpd_anontls.testing.observed import Event, Session

__all__ = [
    "Arrangement",
    "ArrangementError",
    "AsyncMessages",
    "AsyncReceiver",
    "BlockingMessages",
    "BlockingReceiver",
    "Event",
    "Message",
    "Session",
    "running_async_receiver",
    "running_receiver",
]
