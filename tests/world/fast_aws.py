"""The rehearsal's AWS in which nothing takes time: for tests of what is said and proven.

Tasks are up at once and databases are paper: what counts here is what AWS's API says and what its journal tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.step import Action
from actions.values import Outcome
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.state.database import open_engine
from bot.state.store import Store
from rehearsal.aws.cloud import DATABASE_SECRET
from rehearsal.aws.rds.api import Rds
from rehearsal.aws.rds.behind import Following
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.settings import settings
from rehearsal.aws.secretsmanager import Secret, Version
from rehearsal.names.zone import RecordSet
from rehearsal.postgres.copies import Base
from tests.world.aws_world import EAST, WEST, LocalAws, until

SPEED = 5000.0
REPLICA = "shielda-replica-us-east-1"
NAME, IN_WEST, IN_EAST = "app.shielda.dev", "shielda-us-west-2.elb.amazonaws.com", "shielda-us-east-1.elb.amazonaws.com"
PROD, TAG = "shielda-prod", "dr-run=test"
DSN = "postgresql://shielda:not-a-secret@127.0.0.1:5432/shielda"


class ReadyTask:
    """The program of a task that costs nothing: it is up at once and answers 200 to all, in this process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.returncode: int | None = None
        self.stdout = asyncio.StreamReader()
        self._over = asyncio.Event()
        self._server: asyncio.Server

    @classmethod
    async def spawn(cls, name: str, argv: Sequence[str], env: Mapping[str, str]) -> Any:
        task = cls()
        task._server = await asyncio.start_server(task._answer, "127.0.0.1", int(argv[-1]))
        return task

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    def terminate(self) -> None:
        self.returncode = -15
        self._server.close()
        self.stdout.feed_eof()
        self._over.set()

    kill = terminate

    async def wait(self) -> int:
        await self._over.wait()
        return self.returncode or 0


class PaperCopy:
    """A restored copy that costs nothing: an address at which nobody listens."""

    host, port = "127.0.0.1", 6432
    server = None

    async def open(self) -> None: ...
    async def finish(self) -> None: ...
    async def restart(self) -> None: ...
    def reach(self, reachable: bool) -> None: ...


class PaperReplica:
    """A read replica that costs nothing: an address at which nobody listens."""

    host, port, streaming, promoted = "127.0.0.1", 6433, True, False
    server = None

    @property
    def endpoint(self) -> PaperReplica:
        return self

    async def start(self, *, from_template: bool = False) -> None: ...
    async def promote(self) -> None: ...
    async def restart(self) -> None: ...
    def reach(self, reachable: bool) -> None: ...


class PaperBackups:
    """Backups that cost nothing."""

    def replica(self, source: object) -> Any:
        return PaperReplica()

    async def drop_replica(self, replica: object) -> None: ...

    async def take(self, server: object) -> Base:
        return Base(folder=Path("/nowhere"), at=datetime.now(UTC), hot=True)

    async def restore(self, base: Base, moment: datetime | None = None) -> Any:
        return PaperCopy()

    async def discard(self, base: Base) -> None: ...
    async def drop(self, copy: object) -> None: ...


class PaperDatabase:
    """Production's pair of servers on paper; `real` is what else is asked for, if servers run."""

    running, engine_version = True, "18.6"
    host, port = "127.0.0.1", 5432

    def __init__(self, real: Any = None) -> None:
        self.backups = PaperBackups()
        self.first = Base(folder=Path("/nowhere"), at=datetime.now(UTC) - timedelta(days=1), hot=True)
        self.zone, self.other_zone = "us-west-2a", "us-west-2b"
        self.primary = None
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @property
    def restorable(self) -> datetime:
        return datetime.now(UTC)

    async def failover(self) -> None:
        self.zone, self.other_zone = self.other_zone, self.zone

    async def restart(self) -> None: ...
    def reach(self, reachable: bool) -> None: ...


class Rig:
    """One rehearsal of AWS and one step runner for many tests, healthy before each."""

    def __init__(self, rehearsal: LocalAws, rds: Rds, runner: StepRunner) -> None:
        self.rehearsal, self.rds, self.runner = rehearsal, rds, runner
        self.secret: Secret
        self._runs = 0

    @property
    def world(self) -> World:
        """The product's world."""
        return self.runner.world

    async def ready(self) -> None:
        """No fault is left, nothing is under way, and there is nothing but production."""
        self.rehearsal.faults.clear()
        self.rds.heal()
        await self.rds.settled()
        registry = self.rds.registry
        for one in [one for one in registry.instances.values() if one is not self.rds.production]:
            await one.close()
            del registry.instances[one.region, one.name]
        for key in [key for key, one in registry.snapshots.items() if one.kind == "manual" or one.source != PROD]:
            del registry.snapshots[key]
        self.secret = self.rehearsal.secrets.create(DATABASE_SECRET, DSN)
        if self.rehearsal.route53:
            self.rehearsal.route53.put(RecordSet(name=f"{NAME}.", type="CNAME", ttl=60, values=(IN_WEST,)))
        if self.rehearsal.ecs.exists:
            await self._steady()
        self.rehearsal.journal.clear()

    async def _steady(self) -> None:
        scheduler = self.rehearsal.ecs.scheduler
        if scheduler.desired == 0:
            scheduler.desired, scheduler.primary.steady = 2, False

        async def steady() -> bool:
            return scheduler.primary.rollout == "COMPLETED" and sum(t.last == "RUNNING" for t in scheduler.tasks) >= 1

        await until(steady)

    def add_instance(self, name: str, tag: str = TAG, **changed: Any) -> Instance:
        """An available instance that carries the tag, set up as a restore leaves it."""
        key, _, value = tag.partition("=")
        held = {**settings("18.6"), "DeletionProtection": False, "MonitoringInterval": 0, **changed}
        behind: Any = self.rds.production.behind
        instance = Instance(
            name=name,
            region=WEST,
            resource_id=self.rds.registry.resource_id(),
            settings=held,
            tags=[{"Key": key, "Value": value}],
            clock=self.rds.clock,
            behind=_Behind(behind),
        )
        self.rds.registry.add(instance)
        return instance

    def add_replica(self, name: str = REPLICA) -> Instance:
        """A replica of production in the other region, on paper."""
        behind: Any = Following(PaperReplica(), PaperBackups(), ("us-east-1a", "us-east-1b"))  # type: ignore[arg-type]
        held = {**settings("18.6"), "BackupRetentionPeriod": 0, "MultiAZ": False}
        registry = self.rds.registry
        instance = Instance(
            name=name,
            region=EAST,
            resource_id=registry.resource_id(),
            settings=held,
            tags=[],
            clock=self.rds.clock,
            behind=behind,
        )
        instance.follows = self.rds.production.arn
        registry.add(instance)
        return instance

    def add_version(self, text: str = DSN) -> str:
        """A version of the secret that isn't current."""
        version = Version(id=str(uuid.uuid4()), text=text, created_at=datetime.now(UTC), stages=[])
        self.secret.versions[version.id] = version
        return version.id

    @property
    def current(self) -> str:
        """The secret's current version."""
        holder = self.secret.holder("AWSCURRENT")
        assert holder
        return holder.id

    async def carry_out(self, action: Action, *, run: str = "", attempt: int = 1) -> Outcome:
        """The outcome of the action as the bot carries it out, in a run of its own unless one is named."""
        self._runs += 1
        applied = await self.runner.act(run or f"run-{self._runs}", "1.1", attempt, action)
        return await self.runner.verify(action, applied, self.world)

    async def die_after(self, action: Action, *, sent: bool, run: str) -> None:
        """What is left of a bot that died after it recorded its intent: before the request was sent, or after it."""
        facts, outcome = await self.runner.observe(action)
        assert outcome is None, outcome
        await self.runner.store.record_intent(run, "1.1", 1, facts)
        if sent:
            await action.apply(self.world, facts)

    def effects(self, operation: str) -> int:
        """How often a changing operation took effect."""
        return sum(effect["count"] for effect in self.rehearsal.journal.effects() if effect["operation"] == operation)


class _Behind:
    """What runs behind a paper instance: nothing, at production's address but another port."""

    restorable = first_backup = None

    def __init__(self, like: Any) -> None:
        self.host, self.port, self.zones = like.host, 6432, like.zones

    async def restart(self) -> None: ...
    async def close(self) -> None: ...
    def reach(self, reachable: bool) -> None: ...


@contextlib.asynccontextmanager
async def fast_aws(state: Path, *, servers: Any = None, tasks: bool = True) -> AsyncIterator[Rig]:
    """A rig whose step runner keeps its state in this file. A failover ends only if there are `servers` that take a write."""
    with pytest.MonkeyPatch.context() as patch:
        if servers:
            patch.setenv("DATABASE_URL", servers.url("dr_bot"))
        rehearsal = LocalAws(SPEED, spawn=ReadyTask.spawn, two_regions=True)
        rds = rehearsal.add_database(PaperDatabase(servers))  # type: ignore[arg-type]
        async with rehearsal:
            if tasks:
                await rehearsal.ecs.start(7)
            world = World(site_of(rehearsal))
            store = Store(open_engine(f"sqlite:///{state}"))
            yield Rig(rehearsal, rds, StepRunner(store, world))
            store.close()
            await world.close()


def site_of(rehearsal: LocalAws, speed: float = SPEED) -> Site:
    return Site(
        aws=Aws(region=WEST, dr_region=EAST, endpoints=rehearsal.endpoints, speed=speed),
        services={
            "control-plane": ServiceSection(
                cluster="shielda",
                service="control-plane",
                log_group="/ecs/shielda-control-plane",
                health_url=rehearsal.balancer.url,
            )
        },
        databases={"primary": DatabaseSection(instance=PROD)},
    )
