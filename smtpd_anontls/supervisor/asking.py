"""Questions of a worker to its supervisor, and their answers."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from smtpd_anontls.supervisor.words import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.supervisor.channel import Channel


class Questions:
    """Those that wait for an answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._nobody_answers = False

    def ask(self, question: Callable[[int], object]) -> asyncio.Future[Answer]:
        """Send the question of a number; the answer comes, an empty one where the supervisor is gone."""
        number = next(self._numbers)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._nobody_answers:
            answered.set_result(Answer(number))
        else:
            self._waiting[number] = answered
            self._channel.send(question(number))
        return answered

    def tell(self, word: object) -> None:
        """Send what needs no answer."""
        if not self._nobody_answers:
            self._channel.send(word)

    def answered(self, answer: Answer) -> None:
        """Pass on an answer that has come."""
        waiting = self._waiting.pop(answer.question)
        if not waiting.done():
            waiting.set_result(answer)

    def give_up(self) -> None:
        """Answer all that waits, and all that comes: the supervisor is gone."""
        self._nobody_answers = True
        for number in list(self._waiting):
            self.answered(Answer(number))
