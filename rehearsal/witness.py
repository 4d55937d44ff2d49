"""An independent observer: it writes rows, remembers which were acknowledged, and later counts those that are missing."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
import psycopg

from rehearsal.waiting import until

SUSTAINED = 5
EVERY_SECONDS = 0.07


@dataclass
class Track:
    """The answers to one kind of request: how many have succeeded in a row by now, and since when."""

    successes: int = 0
    since: float = 0.0

    def succeeded(self, at: float) -> None:
        """Count a success."""
        self.since = self.since if self.successes else at
        self.successes += 1

    def failed(self) -> None:
        """Count from 0 again."""
        self.successes = 0


@dataclass
class Outage:
    """From the first failure to the start of sustained success, in seconds since 1970; `ended` is None while it lasts."""

    began: float
    ended: float | None = None

    def seconds(self, now: float) -> float:
        """How long it lasted, or has lasted so far."""
        return round((self.ended or now) - self.began, 3)


@dataclass
class Ledger:
    """The rules for counting, without any network: successes and failures go in, outages come out."""

    tracks: dict[str, Track]
    outages: list[Outage] = field(default_factory=list)

    @property
    def open(self) -> Outage | None:
        """The outage that hasn't ended."""
        return self.outages[-1] if self.outages and self.outages[-1].ended is None else None

    @property
    def healthy(self) -> bool:
        """Whether no outage is open and the last request of every kind succeeded."""
        return self.open is None and all(track.successes for track in self.tracks.values())

    @property
    def since(self) -> float:
        """Since when every kind of request has succeeded."""
        return max(track.since for track in self.tracks.values())

    def note(self, kind: str, ok: bool, asked: float, answered: float) -> None:
        """Count one answer. An outage starts when the failing request was sent, and ends after five successes of each kind."""
        if ok:
            self.tracks[kind].succeeded(answered)
        else:
            self.tracks[kind].failed()
            if self.open is None:
                self.outages.append(Outage(asked))
        if self.open and all(track.successes >= SUSTAINED for track in self.tracks.values()):
            self.open.ended = self.since


class Witness:
    """Writes a row and asks for health every `interval` seconds, as an async context; measures outage and lost rows.

    During an outage it asks at least every 0.07 s, so that its end is as exact, whatever the interval.
    It reaches the service at `public_url`, as customers do, and counts rows directly in the database, at `read_dsn`;
    a function is asked each time, as the database may move.
    """

    def __init__(
        self, public_url: str, read_dsn: str | Callable[[], str], *, interval: float = EVERY_SECONDS, timeout: float = 1.0
    ) -> None:
        self._url = public_url.rstrip("/")
        self._dsn = read_dsn
        self._interval = interval
        self._timeout = timeout
        self._ledger = Ledger({"write": Track(), "health": Track()})
        self._acknowledged: dict[int, float] = {}
        self._lost: list[int] | None = None
        self._next = time.time_ns() // 1_000_000  # Milliseconds, so that a later witness has higher ids.
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start to watch."""
        limits = aiohttp.ClientTimeout(total=self._timeout)
        connector = aiohttp.TCPConnector(force_close=True, use_dns_cache=False)  # Each request makes a new connection.
        self._session = aiohttp.ClientSession(timeout=limits, connector=connector)
        self._tasks = [
            asyncio.create_task(self._watch("write", self._write), name="witness writes"),
            asyncio.create_task(self._watch("health", self._health), name="witness asks for health"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop watching; the report stays."""
        while watching := [task for task in self._tasks if not task.done()]:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching, timeout=1.0)  # aiohttp takes a cancellation for its own timeout if both come at once
        self._tasks = []
        if self._session:
            await self._session.close()
            self._session = None

    @property
    def sees_outage(self) -> bool:
        """Whether a request has failed lately, or an outage isn't over."""
        return not self._ledger.healthy

    async def healthy(self, timeout: float = 30.0) -> None:
        """Wait for sustained success; NotSeen after `timeout` seconds."""
        await until(lambda: self._ledger.healthy and self._steady, timeout, "a healthy service", every=self._interval / 2)

    async def verify(self, timeout: float = 10.0) -> dict[str, Any]:
        """Look up which acknowledged rows are in the database; returns the report. Raises what the database raises."""
        ids = sorted(self._acknowledged)
        query = "SELECT id FROM records WHERE id = ANY(%s)"
        dsn = self._dsn() if callable(self._dsn) else self._dsn
        async with asyncio.timeout(timeout):
            connection = await psycopg.AsyncConnection.connect(dsn, connect_timeout=5, application_name="witness")
            async with connection:
                found = {row[0] for row in await (await connection.execute(query, [ids])).fetchall()}
        self._lost = [number for number in ids if number not in found]
        return self.report()

    def forget_lost(self) -> None:
        """Forget the rows that the last `verify` missed: what is lost from now on counts."""
        for number in self._lost or ():
            del self._acknowledged[number]
        self._lost = None

    def forget_rows(self) -> None:
        """Forget the rows so far: the service writes to another database from now on, which never had them."""
        self._acknowledged.clear()
        self._lost = None

    @property
    def acknowledged(self) -> frozenset[int]:
        """The ids of the rows that the service acknowledged."""
        return frozenset(self._acknowledged)

    @property
    def lost_between(self) -> tuple[float, float] | None:
        """When the oldest and the newest row that the last `verify` missed were acknowledged, in seconds since 1970."""
        return (self._acknowledged[self._lost[0]], self._acknowledged[self._lost[-1]]) if self._lost else None

    @property
    def healthy_since(self) -> float | None:
        """Since when every request has succeeded, in seconds since 1970; None during an outage."""
        return self._ledger.since if self._ledger.healthy else None

    def report(self) -> dict[str, Any]:
        """What was measured, as JSON: times in ISO 8601 (UTC), seconds of this machine's clock.

        `rows_lost` is the count of the last `verify`, and None before the first. `rpo_seconds` is the time from the last
        row before the first lost one to the last lost one.
        """
        now, ledger = time.time(), self._ledger
        return {
            "state": "healthy" if ledger.healthy else "down",
            "outages": [
                {"began": _iso(outage.began), "ended": _iso(outage.ended), "seconds": outage.seconds(now)}
                for outage in ledger.outages
            ],
            "outage_seconds": ledger.outages[-1].seconds(now) if ledger.outages else 0.0,
            "acknowledged": len(self._acknowledged),
            "rows_lost": None if self._lost is None else len(self._lost),
            "rpo_seconds": self._rpo(),
            "healthy_since": _iso(self.healthy_since),
        }

    @property
    def _steady(self) -> bool:
        return all(track.successes >= SUSTAINED for track in self._ledger.tracks.values())

    def _rpo(self) -> float:
        if not self._lost:
            return 0.0
        times, first = self._acknowledged, self._lost[0]
        before = [at for number, at in times.items() if number < first]
        return round(times[self._lost[-1]] - (max(before) if before else times[first]), 3)

    async def _watch(self, kind: str, ask: Callable[[], Awaitable[bool]]) -> None:
        while True:
            asked = time.time()
            ok = False
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                ok = await ask()
            answered = time.time()
            self._ledger.note(kind, ok, asked, answered)
            interval = self._interval if self._ledger.open is None else min(self._interval, EVERY_SECONDS)
            await asyncio.sleep(max(0.0, interval - (answered - asked)))

    async def _write(self) -> bool:
        self._next += 1
        number = self._next
        assert self._session is not None
        body = {"id": number, "body": f"witness {number}"}
        async with self._session.post(f"{self._url}/api/records", json=body) as answer:
            await answer.read()
            if answer.ok:
                self._acknowledged[number] = time.time()
            return answer.ok

    async def _health(self) -> bool:
        assert self._session is not None
        async with self._session.get(f"{self._url}/api/health") as answer:
            await answer.read()
            return answer.ok


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
