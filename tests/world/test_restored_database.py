"""One restore for real: production's own servers, WAL replayed to the moment, and a secret that leads to what came of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actions.aws.drops import DropInstance
from actions.aws.instances import find_instance
from actions.aws.restores import RestoreToTime
from actions.aws.secrets import MoveStage, PutVersion
from actions.aws.settings import copied, restorable
from actions.values import Result
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.state.database import open_engine
from bot.state.store import Store
from rehearsal.aws.cloud import DATABASE_SECRET
from rehearsal.postgres.pair import ServerPair
from tests.world.aws_world import WEST, LocalAws
from tests.world.fast_aws import PROD, TAG, Rig, site_of
from tests.world.sql import query

NAME = "shielda-prod-restored"


@pytest.fixture
async def rig(work_dirs: Path, database: ServerPair) -> AsyncIterator[Rig]:
    """AWS with production's real servers, 2,000 times faster than the real one."""
    rehearsal = LocalAws(2000)
    rds = rehearsal.add_database(database)
    async with rehearsal:
        world = World(site_of(rehearsal, speed=2000))
        store = Store(open_engine(f"sqlite:///{work_dirs / 'restored.sqlite'}"))
        yield Rig(rehearsal, rds, StepRunner(store, world))
        store.close()
        await world.close()
        for copy in list(database.backups.copies):
            await database.backups.drop(copy)


async def test_the_secret_leads_to_production_as_it_was_then(rig: Rig, database: ServerPair) -> None:
    dsn, before, after = database.url("shielda"), 900_000_001, 900_000_002  # other tests write from 700,000 on
    insert = "INSERT INTO records (id, body) VALUES (%s, 'a mark')"
    await query(dsn, insert, [before])
    await asyncio.sleep(0.05)
    moment = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await query(dsn, insert, [after])
    await database.backups.archive.covers(moment)
    secret = rig.rehearsal.secrets.create(DATABASE_SECRET, dsn)
    current = next(iter(secret.versions))
    source = await find_instance(rig.world, PROD, WEST)
    assert source
    settings = {**restorable(source.settings), "DeletionProtection": False}
    tags = copied(source.tags)
    restore = RestoreToTime(source=PROD, instance=NAME, region=WEST, at=moment.isoformat(), settings=settings, tags=tags, tag=TAG)
    names = {"secret_id": DATABASE_SECRET, "region": WEST, "version": str(uuid.uuid4()), "current": current}
    for action in (restore, PutVersion(**names, instance=NAME), MoveStage(**names)):
        outcome = await rig.carry_out(action)
        assert outcome.result is Result.DONE, outcome.says
    rows = "SELECT id FROM records WHERE id IN (%s, %s) ORDER BY id"
    assert await query(rig.rehearsal.secrets.current(DATABASE_SECRET), rows, [before, after]) == [(before,)]
    assert await query(dsn, rows, [before, after]) == [(before,), (after,)]
    assert (await rig.carry_out(DropInstance(instance=NAME, region=WEST, tag=TAG))).result is Result.DONE
    await query(dsn, "DELETE FROM records WHERE id IN (%s, %s)", [before, after])
