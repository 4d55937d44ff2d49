"""A database that was replaced is closed, on real servers: nobody gets in, all is kept, and the printed line opens it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from actions.db.closed import CloseDatabase, look_at
from actions.site import DatabaseRef
from actions.values import Result
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.state.database import open_engine
from bot.state.store import Store
from rehearsal.postgres.fenced import lets_in, unfence
from rehearsal.postgres.pair import ServerPair
from tests.conftest import SetVariable
from tests.world.aws_world import WEST, LocalAws
from tests.world.fast_aws import PROD, Rig, site_of
from tests.world.sql import query

COUNT = "SELECT count(*) FROM records WHERE id < 0"


@pytest.fixture
async def rig(work_dirs: Path, database: ServerPair, set_variable: SetVariable) -> AsyncIterator[Rig]:
    """AWS with production's real servers; afterwards production lets everybody in again."""
    set_variable("DATABASE_URL", database.dsn("dr_bot"))
    rehearsal = LocalAws(2000)
    rds = rehearsal.add_database(database)
    async with rehearsal:
        world, store = World(site_of(rehearsal, speed=2000)), Store(open_engine(f"sqlite:///{work_dirs / 'closed.sqlite'}"))
        yield Rig(rehearsal, rds, StepRunner(store, world))
        store.close()
        await world.close()
    await unfence(database)


@pytest.fixture
def close() -> CloseDatabase:
    return CloseDatabase(database=DatabaseRef(name="primary", instance=PROD, region=WEST, dsn_env="DATABASE_URL"))


async def test_a_closed_database_lets_nobody_in_and_its_own_line_opens_it(
    rig: Rig, database: ServerPair, close: CloseDatabase
) -> None:
    before = await query(database.dsn("shielda"), COUNT)
    async with await psycopg.AsyncConnection.connect(database.dsn("shielda"), autocommit=True) as session:
        outcome = await rig.carry_out(close)
        assert outcome.result is Result.DONE, outcome.says
        with pytest.raises(psycopg.OperationalError):
            await session.execute("SELECT 1")
    for role in ("shielda", "dr_bot", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            await query(database.dsn(role), COUNT)
    again = await rig.carry_out(close)
    assert again.result is Result.ALREADY_DONE
    line = re.search(r"before you point the secret back: `(psql .*)`", outcome.says)
    assert line
    assert line[1] in again.says
    programs = {"PATH": f"{database.primary.binaries.folder}:{os.environ['PATH']}", "PGPASSWORD": database.password("shielda")}
    process = await asyncio.create_subprocess_shell(line[1], env=programs)
    assert await process.wait() == 0
    assert await query(database.dsn("shielda"), COUNT) == before


@pytest.mark.parametrize("sent", [False, True])
async def test_a_bot_that_dies_around_the_fence_closes_it_once(
    rig: Rig, database: ServerPair, close: CloseDatabase, sent: bool
) -> None:
    await rig.die_after(close, sent=sent, run=f"closes-{sent}")
    assert await lets_in(database) is not sent
    resumed = await rig.carry_out(close, run=f"closes-{sent}")
    assert resumed.result is (Result.ALREADY_DONE if sent else Result.DONE), resumed.says
    assert not await lets_in(database)


async def test_a_bot_that_died_between_the_fence_and_the_sessions_ends_them(
    rig: Rig, database: ServerPair, close: CloseDatabase
) -> None:
    async with await psycopg.AsyncConnection.connect(database.dsn("shielda"), autocommit=True) as session:
        await rig.die_after(close, sent=False, run="half")
        admin = database.dsn("postgres").replace("dbname=shielda", "dbname=postgres")
        await query(admin, "ALTER DATABASE shielda ALLOW_CONNECTIONS false")
        resumed = await rig.carry_out(close, run="half")
        assert resumed.result is Result.DONE, resumed.says
        with pytest.raises(psycopg.OperationalError):
            await session.execute("SELECT 1")


async def test_a_role_that_may_not_close_it_is_told_which_grant_it_lacks(
    rig: Rig, database: ServerPair, close: CloseDatabase, set_variable: SetVariable
) -> None:
    admin = database.dsn("postgres").replace("dbname=shielda", "dbname=postgres")
    await query(admin, "CREATE ROLE stranger LOGIN PASSWORD 'for-these-tests'; GRANT pg_monitor TO stranger")
    try:
        set_variable(
            "DATABASE_URL",
            database.dsn("dr_bot").replace(database.password("dr_bot"), "for-these-tests").replace("dr_bot", "stranger"),
        )
        outcome = await rig.carry_out(close)
    finally:
        await query(admin, "DROP ROLE stranger")
    assert outcome.result is Result.FAILED
    assert outcome.says.startswith('Only shielda, who owns the database, may close it. Run GRANT "shielda" TO "stranger" WITH')
    assert await lets_in(database)
    unknown = replace(close.database, dsn_env="NOT_SET")
    with pytest.raises(Exception, match="NOT_SET is not set"):
        await look_at(rig.world, unknown)
