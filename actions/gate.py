"""The send gate: a change leaves this process only while it may be sure that no other process acts in its place.

Three places ask it, each directly before its bytes leave: the gateway to AWS, a statement that changes a database, and
(in the bot) a call to Slack. Questions do not ask it: they change nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from actions.errors import Refused

LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 5 * 60.0  # an approval does not keep: what could not leave for so long needs a person


class GateClosed(Refused):
    """The gate stayed closed for too long, so the change was not sent."""


class Gate:
    """Open while `is_open()` says so; whoever wants to send meanwhile waits. `name` tells one sender from another."""

    def __init__(self, is_open: Callable[[], bool] = lambda: True, *, name: str = "", patience: float = PATIENCE_SECONDS) -> None:
        self.name = name
        self._is_open = is_open
        self._patience = patience

    def wait(self) -> None:
        """Block this thread until the gate is open. Raises `GateClosed` when that takes too long."""
        since = time.monotonic()
        while not self._is_open():
            self._give_up_after(since)
            time.sleep(LOOK_SECONDS)

    async def opened(self) -> None:
        """The same for a coroutine."""
        since = time.monotonic()
        while not self._is_open():
            self._give_up_after(since)
            await asyncio.sleep(LOOK_SECONDS)

    def _give_up_after(self, since: float) -> None:
        if time.monotonic() - since > self._patience:
            raise GateClosed(
                f"For {self._patience / 60:.0f} min this bot could not be sure that it still leads, "
                "because the database of [state] did not answer."
            )
