"""The picture of the world for the page: what runs where and how it is, replication lag, the fleet. It only looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import psycopg

from rehearsal.aws.cloud import PRIMARY, SECOND, Cloud
from rehearsal.aws.ecs.service import Ecs
from rehearsal.aws.rds.api import Rds
from rehearsal.fleet.fleet import Fleet
from rehearsal.slack.workspace import Workspace
from rehearsal.witness import Witness

Json = dict[str, Any]
EVERY_SECONDS = 1.0
PATIENCE = 0.8
LAG = """SELECT application_name, coalesce(extract(epoch FROM replay_lag), 0)::float, sync_state
FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1"""


class Seen(Protocol):
    """What the picture is of."""

    aws: Cloud
    rds: Rds
    fleet: Fleet | None
    workspace: Workspace
    witness: Witness

    def live_dsn(self, role: str) -> str:
        """A connection string to the database that serves."""


class Picture:
    """Looks at the world once a second, as an async context, so that a hanging database holds up no page."""

    def __init__(self, world: Seen) -> None:
        self._world = world
        self._followers: list[Json] | None = None
        self._hosts: list[Json] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Picture:
        looks: list[Callable[[], Any]] = [self._look_at_database, self._look_at_fleet]
        self._tasks = [asyncio.create_task(self._repeat(look), name="picture") for look in looks]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drawn(self) -> Json:
        """`{nodes: [{id, title, place, health, says}], followers, fleet}`; health is good, bad, busy or unknown."""
        return {"nodes": self._nodes(), "followers": self._followers, "fleet": self._hosts}

    async def _repeat(self, look: Callable[[], Any]) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, psycopg.Error, ValueError):
                await look()
            await asyncio.sleep(EVERY_SECONDS)

    async def _look_at_database(self) -> None:
        self._followers = None
        dsn = self._world.live_dsn("postgres")
        connection = await psycopg.AsyncConnection.connect(dsn, connect_timeout=2, autocommit=True, application_name="picture")
        try:  # not `async with`, which would wait for a database that hangs
            async with asyncio.timeout(PATIENCE):
                found = await (await connection.execute(LAG)).fetchall()
        finally:
            await connection.close()
        self._followers = [{"name": name, "lag_seconds": round(lag, 3), "sync": state == "sync"} for name, lag, state in found]

    async def _look_at_fleet(self) -> None:
        if self._world.fleet is not None:
            report = await self._world.fleet.report()
            self._hosts = [{"name": name, **host} for name, host in sorted(report.items())]

    def _nodes(self) -> list[Json]:
        bot = len(self._world.workspace.sockets.open)
        nodes = [
            _node("bot", "Bot", "Slack", "good" if bot else "bad", f"{bot} connections" if bot else "not connected"),
            self._customers(),
            _service(self._world.aws.ecs, PRIMARY),
        ]
        if self._world.aws.second:
            nodes.append(_service(self._world.aws.second.ecs, SECOND))
        return nodes + [
            self._instance(region, one) for region in (PRIMARY, SECOND) for one in self._world.rds.registry.of(region)
        ]

    def _customers(self) -> Json:
        down = self._world.witness.sees_outage
        return _node("customers", "Customers", "outside", "bad" if down else "good", "get errors" if down else "are served")

    def _instance(self, region: str, one: Any) -> Json:
        status, zone, standby = one.status, one.state.zone, one.state.standby_zone
        answers = self._followers is not None or one is not self._world.rds.production
        health = ("good" if answers else "bad") if status == "available" else "busy"
        says = status + (f", {zone}" if zone else "") + (f", standby in {standby}" if standby else "")
        if not answers:
            says += ", doesn't answer"
        return _node(f"db:{one.name}", one.name, region, health, says + (", a replica" if one.follows else ""))


def _service(ecs: Ecs, region: str) -> Json:
    name = f"Control plane ({region})"
    if not ecs.exists:
        return _node(f"service:{region}", name, region, "unknown", "not created")
    running = sum(task.last == "RUNNING" for task in ecs.scheduler.tasks)
    desired, revision = ecs.scheduler.desired, ecs.scheduler.primary.revision.number
    health = "good" if running == desired else "busy"
    return _node(f"service:{region}", name, region, health, f"revision {revision}, {running} of {desired} tasks run")


def _node(node_id: str, title: str, place: str, health: str, says: str) -> Json:
    return {"id": node_id, "title": title, "place": place, "health": health, "says": says}
