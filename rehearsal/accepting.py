"""Who takes writes: the part of the witness that tries one on every database all the time, and tells if two take them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Self

import psycopg

EVERY_SECONDS = 0.2
PATIENCE = 1.0
LEAVE_SECONDS = 0.5
ROW = 2  # of health_probe; 1 is the control plane's
# As the application would write: by its role, under whatever the database has as its default for transactions.
TRY = f"INSERT INTO health_probe (id, at) VALUES ({ROW}, now()) ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at"


@dataclass
class Span:
    """A time in which a database took every write: from when the first was confirmed to when the last was sent."""

    database: str
    first_confirmed: float
    last_sent: float
    open: bool = True


@dataclass
class Spans:
    """The rules, without any network: tries go in, spans and overlaps come out."""

    found: list[Span] = field(default_factory=list)

    def note(self, database: str, ok: bool, sent: float, answered: float) -> None:
        """Count one try."""
        now_open = next((span for span in self.found if span.database == database and span.open), None)
        if not ok:
            if now_open:
                now_open.open = False
        elif now_open:
            now_open.last_sent = sent
        else:
            self.found.append(Span(database, answered, sent))

    def overlaps(self, since: float = 0.0) -> list[tuple[str, str, float, float]]:
        """Two databases, and from when to when both took writes for certain, if that was not over before `since`.

        A write that one confirmed before the other was sent one that it took, too, is the proof.
        """
        found = []
        for one, other in combinations(self.found, 2):
            begin = max(one.first_confirmed, other.first_confirmed)
            end = min(one.last_sent, other.last_sent)
            if one.database != other.database and begin < end and end > since:
                found.append((one.database, other.database, begin, end))
        return found


class Accepting:
    """Tries a write on each of the databases that there are, as an async context. `databases` is asked each time: name -> DSN."""

    def __init__(self, databases: Callable[[], Mapping[str, str]], *, interval: float = EVERY_SECONDS) -> None:
        self.spans = Spans()
        self._databases = databases
        self._interval = interval
        self._loop: asyncio.Task[None] | None = None
        self._tries: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        """Start to try."""
        self._loop = asyncio.create_task(self._watch(), name="witness of writers")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what was seen stays."""
        tasks = [*self._tries.values(), *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVE_SECONDS)  # One that hangs ends with its database.

    @property
    def now(self) -> list[str]:
        """The databases that took the last write."""
        return sorted(span.database for span in self.spans.found if span.open)

    def report(self) -> dict[str, Any]:
        """Who takes writes now, and when two did, as JSON."""
        both = [
            {"databases": [one, other], "from": _iso(begin), "to": _iso(end), "seconds": round(end - begin, 3)}
            for one, other, begin, end in self.spans.overlaps()
        ]
        return {"accepting": self.now, "two_accepting": both}

    async def _watch(self) -> None:
        while True:
            for name, dsn in self._databases().items():
                earlier = self._tries.get(name)
                if earlier is None or earlier.done():
                    self._tries[name] = asyncio.create_task(self._try(name, dsn), name=f"witness writes to {name}")
            await asyncio.sleep(self._interval)

    async def _try(self, name: str, dsn: str) -> None:
        """One try. Without an answer in time it counts as refused, and the next begins once this one has ended after all."""
        sent = time.time()
        write = asyncio.create_task(_write(dsn))
        try:
            done, _ = await asyncio.wait({write}, timeout=PATIENCE)
            if not done:
                self.spans.note(name, False, sent, time.time())
            sent = await write
        except (psycopg.Error, OSError):
            self.spans.note(name, False, sent, time.time())
        except asyncio.CancelledError:
            write.cancel()
            raise
        else:
            self.spans.note(name, True, sent, time.time())


async def _write(dsn: str) -> float:
    """Returns when the write was sent that has been taken."""
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=2, application_name="witness")
    async with connection:
        await connection.execute("SET ROLE shielda")
        sent = time.time()
        await connection.execute(TRY)
    return sent


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
