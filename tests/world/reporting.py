"""A database with a replica in a world that reports are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import conninfo

from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.world import World
from commands.memory import PastRun
from commands.report import REPORTS, SOURCE, Line, Report
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import DATABASE
from rehearsal.waiting import until
from tests.world.aws_world import EAST, WEST, LocalAws
from tests.world.sql import query

TABLE = "dr_heartbeat"
CREATE = f"CREATE TABLE {TABLE} (writer text PRIMARY KEY, at timestamptz NOT NULL)"
GRANT = f"GRANT SELECT, INSERT, UPDATE ON {TABLE} TO dr_bot"
PATIENCE = 60.0  # seconds; what hangs here hangs for ever, and `make bench` measures how soon a report comes out


class NoRuns:
    """A bot without a past."""

    async def recoveries(self) -> list[PastRun]:
        return []

    async def verifications(self) -> list[PastRun]:
        return []


class Place:
    """A database with its standby, which stands for the replica, in a world that reports are made of."""

    def __init__(self, aws: LocalAws, database: ServerPair) -> None:
        self.aws = aws
        self.database = database

    def world(self, **database: Any) -> World:
        aws = Aws(region=WEST, dr_region=EAST, endpoints=self.aws.endpoints)
        service = ServiceSection(cluster="c", service="s", log_group="/ecs/s", health_url="http://127.0.0.1:1/")
        primary = DatabaseSection(instance="shielda-prod", **database)
        replica = DatabaseSection(instance="shielda-replica-us-east-1", region=EAST, dsn_env="DR_DATABASE_URL")
        return World(Site(aws=aws, services={"s": service}, databases={"primary": primary, "replica": replica}))

    async def report(self, name: str = "targets", memory: Any = None, **database: Any) -> Report:
        world = self.world(**database)
        await world.aws.prewarm([("rds", "probe")])  # as a bot that serves has done
        try:
            return await REPORTS[name].make(world, memory or NoRuns())
        finally:
            await world.close()

    async def line(self, check: str, **database: Any) -> Line:
        return of(await self.report(**database), check)

    def replica_dsn(self, role: str = "dr_bot") -> str:
        """Directly to the standby."""
        standby = self.database.standby
        assert standby is not None
        password = self.database.password(role)
        return conninfo.make_conninfo(host="127.0.0.1", port=standby.port, user=role, password=password, dbname=DATABASE)

    async def on_primary(self, statement: str) -> None:
        await query(self.database.dsn("postgres"), statement)

    async def on_replica(self, statement: str) -> list[tuple[Any, ...]]:
        return await query(self.replica_dsn("postgres"), statement)

    async def beat(self, age: str = "0 s") -> None:
        """Write a heartbeat of that age, and see it on the replica unless its replay is paused."""
        values = f"VALUES ('dr-bot', clock_timestamp() - interval '{age}')"
        await self.on_primary(f"INSERT INTO {TABLE} {values} ON CONFLICT (writer) DO UPDATE SET at = excluded.at")

    async def replayed(self) -> None:
        """Wait until the replica has replayed everything."""
        (lsn,) = (await query(self.database.dsn("postgres"), "SELECT pg_current_wal_lsn()::text"))[0]

        async def is_replayed() -> bool:
            return bool((await self.on_replica(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn"))[0][0])

        await until(is_replayed, PATIENCE, "a replica that has replayed everything")

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """The replica goes on receiving, and replays nothing."""
        await self.replayed()
        await self.on_replica("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            await self.on_replica("SELECT pg_wal_replay_resume()")


def of(report: Report, check: str) -> Line:
    (found,) = [line for line in report.findings if line.check == check]
    return found


def silent(report: Report) -> list[str]:
    """The sources that the report says could not be read; they come first."""
    sources = [line.object for line in report.findings if line.check == SOURCE]
    assert [line.check for line in report.findings][: len(sources)] == [SOURCE] * len(sources)
    return sources
