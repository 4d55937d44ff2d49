"""The state's server may be away: what that looks like, and how to wait until it is back.

No bot gives up because of it: a leader and a standby wait, say so in the log, and go on when it answers again.
"""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from actions.scrub import plain

log = structlog.get_logger(__name__)
PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds between tries; the last one repeats
SAY_SECONDS = 30.0  # how often the log says that it is still away
PASSING = ("locked", "busy", "disk", "unable to open", "readonly")  # what SQLite says of troubles that may pass
NEVER = (  # what waiting doesn't fix, if it is the very first answer
    *("unable to open", "readonly", "disk"),
    *("authentication", "pg_hba", "does not exist", "not permitted to log in", "no password", "certificate", "support SSL"),
)


class Ending(Exception):
    """The process ends, so nobody waits any longer."""


def is_away(error: BaseException) -> bool:
    """Whether an error on a database that once answered says that it is away for a while, so that it is worth trying again."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    said = str(error.orig)
    return "sqlite3" not in type(error.orig).__module__ or any(word in said for word in PASSING)


def may_come(error: BaseException) -> bool:
    """The same for a database that never answered yet."""
    return is_away(error) and not any(word in str(getattr(error, "orig", error)) for word in NEVER)


class Patience:
    """Waits between tries until `end()`, and says in the log when the server is away and when it is back."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._since = self._told = 0.0

    def end(self) -> None:
        """Wait no more: every wait, present and future, raises `Ending`."""
        self._ended.set()

    def wait(self, tries: int, error: BaseException) -> None:
        """Pause before the next try; `tries` have failed. Raises `Ending` when the process ends."""
        now = time.monotonic()
        self._since = self._since or now
        if now - self._told > SAY_SECONDS:
            self._told = now
            log.warning("state_away", error=plain(error), seconds=round(now - self._since, 1))
        if self._ended.wait(PAUSES[min(tries, len(PAUSES)) - 1]):
            raise Ending("The process ends while the database of [state] is away.") from error

    def answered(self) -> None:
        """The server has answered."""
        if self._since:
            log.warning("state_back", seconds=round(time.monotonic() - self._since, 1))
            self._since = self._told = 0.0
