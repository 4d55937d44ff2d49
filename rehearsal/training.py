"""Training: an alert in the channel when the witness sees an outage, a fault drawn in secret, and a debrief at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg

from rehearsal.faults import FaultPanel
from rehearsal.picture import Picture, Seen
from rehearsal.slack.members import Person

Json = dict[str, Any]
PAGER = Person(id="U0PAGER", name="pager", real_name="Pager", title="tells of outages", bot=True)
CHANNEL = "incident"
EVERY_SECONDS = 0.25
ALERT_SECONDS = 1.5  # an outage that is over sooner wakes nobody
EXPERT = {
    "control-plane-hangs": ("/dr control-plane restart", "The process hangs and its task counts as running: a new one serves."),
    "bad-deploy": ("/dr control-plane rollback", "The newest revision is to blame, so go back to the one before."),
    "database-hangs": ("/dr database failover", "The standby has every row that was acknowledged, so nothing is lost."),
    "too-many-connections": ("/dr database failover", "The plan ends the idle sessions; a failover would not be needed."),
}


class Trained(Seen, Protocol):
    """What training needs of a rehearsal."""

    faults: FaultPanel


class Training:
    """Watches the witness and the world, as an async context. `drills` are those that the page offers."""

    def __init__(self, world: Trained, drills: Sequence[Json] = ()) -> None:
        self.picture = Picture(world)
        self.drills = drills
        self._world = world
        self._dice = random.Random()
        self._tasks: set[asyncio.Task[None]] = set()
        self._caused: list[tuple[float, str, bool]] = []  # when, which fault, and whether it was hidden
        self._alerts: list[float] = []

    async def __aenter__(self) -> Training:
        workspace = self._world.workspace
        workspace.people[PAGER.id] = PAGER
        workspace.join(PAGER.id, CHANNEL)
        await self.picture.__aenter__()
        self._begin(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.picture.__aexit__()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def caused(self, name: str, *, hidden: bool = False) -> None:
        """Note that somebody caused this fault."""
        if name != "heal":
            self._caused.append((time.time(), name, hidden))

    def draw(self) -> None:
        """Cause one of the outages after a while, without saying which."""
        self._begin(self._surprise(self._dice.choice(sorted(EXPERT)), self._dice.uniform(3.0, 12.0)))

    async def _surprise(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.caused(name, hidden=True)
        await self._world.faults.put(name)

    def debrief(self) -> Json:
        """What happened since the last fault, what it cost, and what an expert would have done.

        `{fault, hidden, timeline: [{at, text}], outage_seconds, rows_lost, expert, why}`; `fault` is None if there was none.
        """
        if not self._caused:
            return {"fault": None, "timeline": []}
        began, name, hidden = self._caused[-1]
        fault = self._world.faults.known[name]
        report = self._world.witness.report()
        command, why = EXPERT.get(name, ("", "docs/how-to says what helps."))
        rows = [(began, f"Fault: {fault.title}. {fault.says}"), *self._seen(began), *self._decided(began)]
        return {
            "fault": fault.title,
            "hidden": hidden,
            "timeline": [{"at": _iso(at), "seconds": round(at - began, 1), "text": text} for at, text in sorted(rows)],
            "outage_seconds": report["outage_seconds"],
            "rows_lost": report["rows_lost"],
            "over": not self._world.witness.sees_outage,
            "expert": command,
            "why": why,
        }

    def _seen(self, since: float) -> list[tuple[float, str]]:
        rows = [(at, "The pager told the channel.") for at in self._alerts if at >= since]
        for outage in self._world.witness.report()["outages"]:
            start, end = _seconds(outage["began"]), _seconds(outage["ended"])
            if start and start >= since - 1:
                rows.append((start, "Customers got the first error."))
                if end:
                    rows.append((end, f"Customers were served again, after {outage['seconds']:.1f} s."))
        return rows

    def _decided(self, since: float) -> list[tuple[float, str]]:
        """What people typed and pressed."""
        return [
            (entry["at"], f"{str(entry['person']).capitalize()}: {entry['says']}")
            for entry in self._world.workspace.log
            if entry["kind"] == "envelope" and entry["at"] >= since and entry["type"] in ("slash_commands", "interactive")
        ]

    async def _watch(self) -> None:
        """Tell the channel of every outage that lasts, and of its end with the rows that are lost."""
        while True:
            await self._until_outage()
            began = time.time()
            self._alerts.append(began)
            await self._say(
                ":rotating_light: *Customers get errors.* The check from outside fails since "
                f"{datetime.now(UTC):%H:%M:%S} UTC. `/dr help` says what the bot can do."
            )
            while self._world.witness.sees_outage:  # noqa: ASYNC110 - an outage has no deadline.
                await asyncio.sleep(EVERY_SECONDS)
            seconds = self._world.witness.report()["outage_seconds"]
            await self._say(f":large_green_circle: Customers are served again, after {seconds:.1f} s. {await self._loss()}")

    async def _until_outage(self) -> None:
        since = 0.0
        while not since or time.monotonic() - since < ALERT_SECONDS:
            await asyncio.sleep(EVERY_SECONDS)
            since = (since or time.monotonic()) if self._world.witness.sees_outage else 0.0

    async def _loss(self) -> str:
        with contextlib.suppress(OSError, TimeoutError, psycopg.Error):
            lost = (await self._world.witness.verify())["rows_lost"]
            return f"Rows lost: {lost}."
        return "Which rows are lost could not be counted."

    async def _say(self, text: str) -> None:
        """The pager writes into the incident channel, as another app does; its text is mrkdwn already."""
        workspace = self._world.workspace
        where = workspace.channel(CHANNEL)
        message = workspace.store.person_message(where, PAGER.id, text)
        workspace.journal.changed("message", channel=where.id, ts=message["ts"])
        workspace.events.message(where, message)

    def _begin(self, doing: Any) -> None:
        task = asyncio.create_task(doing, name="training")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _seconds(at: str | None) -> float:
    return datetime.fromisoformat(at).timestamp() if at else 0.0
