"""How long a session waits: for the peer's next octet, and for its own end.

One timer for both time-outs.  It looks at the clock when it fires, so that neither a command nor
a piece of a body costs a timer of its own.  Sources: Set-ReceiveConnector, parameters
ConnectionInactivityTimeout and ConnectionTimeout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from smtpd_anontls.domain.connectors import ReceiveConnector


class GiveUp(Protocol):
    """Ends a session; *of_age*: it is too old, else its peer was silent."""

    def __call__(self, detail: str, *, of_age: bool) -> None:
        """End it, with a sentence that says why."""
        ...


# Seconds between two looks at the clock at least; rounding must not make the timer spin.
_LEAST = 0.01


class Patience:
    """Watches the time of one session; only the peer's silence counts, never our own slowness."""

    def __init__(self, loop: asyncio.AbstractEventLoop, give_up: GiveUp) -> None:
        """*give_up* is called once, with a sentence, when either time-out is over."""
        self._loop = loop
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._began = self._heard = loop.time()
        self._our_turn = True

    def begin(self, connector: ReceiveConnector) -> None:
        """Watch from now on, with the time-outs of *connector*."""
        self._silence = connector.connection_inactivity_timeout
        self._age = connector.connection_timeout
        self._began = self._heard = self._loop.time()
        self._set()

    def heard(self) -> None:
        """Note that the peer has just sent something."""
        self._heard = self._loop.time()

    # Two calls and not a context manager: one made by contextlib is a generator anew for every line.

    def peers_turn(self) -> None:
        """Note that it is the peer's turn; its silence begins here, however long ours was."""
        self._our_turn = False
        self._heard = self._loop.time()

    def our_turn(self) -> None:
        """Note that it is our turn again."""
        self._our_turn = True

    def end(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        now = self._loop.time()
        # While it is our turn, look again after a full interval.
        silent_since = now if self._our_turn else self._heard
        due = min(silent_since + self._silence, self._began + self._age)
        self._timer = self._loop.call_at(max(due, now + _LEAST), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._began + self._age:
            self._give_up(f"the session is older than ConnectionTimeout ({self._age:g} s)", of_age=True)
        elif not self._our_turn and now >= self._heard + self._silence:
            self._give_up(
                f"the peer was silent for ConnectionInactivityTimeout ({self._silence:g} s)", of_age=False
            )
        else:
            self._set()
