"""Fences, tokens and replicas against real servers: nothing is written behind a fence, and a promotion loses what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actions.db.counts import CountsHold, facts_name
from actions.db.fence import Fence, Unfence
from actions.db.replica import TOKEN, CaughtUp, KeepsUp, ReplayedAll
from actions.kept import Kept
from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site
from actions.step import Action
from actions.values import Result
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.state.database import open_engine
from bot.state.store import Store
from rehearsal.aws.rds.behind import Following
from rehearsal.waiting import until
from tests.conftest import SetVariable
from tests.world.rds_account import EAST, PROD, WEST, Account, committed
from tests.world.sql import query

WRITE = "INSERT INTO records (id, body) VALUES (%s, 'x')"
OPEN = "BEGIN READ WRITE; ALTER DATABASE shielda RESET default_transaction_read_only; COMMIT"
NUMBERS = iter(range(800_000, 899_999))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Production and its replica, as the product knows them."""

    account: Account
    behind: Following
    runner: StepRunner
    primary: DatabaseRef
    replica: DatabaseRef

    @property
    def world(self) -> World:
        return self.runner.world

    async def carry_out(self, action: Action, run: str) -> Any:
        """The outcome, as the bot carries it out."""
        return await self.runner.verify(action, await self.runner.act(run, "1.1", 1, action), self.world)

    def application(self) -> str:
        """The DSN of the application at production."""
        return self.account.database.dsn("shielda")

    async def as_application(self, sql: str) -> None:
        await query(self.application(), sql, [next(NUMBERS)])


@pytest.fixture
async def pair(account: Account, tmp_path: Path, set_variable: SetVariable) -> AsyncIterator[Pair]:
    instance = await account.rds.open_replica()
    behind = instance.behind
    assert isinstance(behind, Following)
    set_variable("DATABASE_URL", account.database.dsn("dr_bot"))
    set_variable("DR_DATABASE_URL", behind.replica.dsn("dr_bot", account.database.password("dr_bot")))
    databases = {
        "primary": DatabaseSection(instance=PROD, replica="replica"),
        "replica": DatabaseSection(instance=instance.name, region=EAST, dsn_env="DR_DATABASE_URL"),
    }
    service = ServiceSection(cluster="c", service="s", log_group="/s", health_url="http://127.0.0.1:1/")
    site = Site(aws=Aws(region=WEST, dr_region=EAST), services={"s": service}, databases=databases)
    world, store = World(site), Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    runner = StepRunner(store, world)
    yield Pair(account=account, behind=behind, runner=runner, primary=site.database(), replica=site.database("replica"))
    await query(account.database.dsn("postgres"), OPEN)
    account.rds.replica = None
    store.close()
    await world.close()


async def test_behind_a_fence_nobody_writes_and_older_sessions_are_gone(pair: Pair) -> None:
    async with await psycopg.AsyncConnection.connect(pair.application(), autocommit=True) as writer:
        await writer.execute(WRITE, [next(NUMBERS)])
        outcome = await pair.carry_out(Fence(database=pair.primary), "fence")
        assert outcome.result is Result.DONE, outcome.says
        assert "Transactions are read-only" in outcome.says
        with pytest.raises(psycopg.OperationalError):
            await writer.execute(WRITE, [next(NUMBERS)])
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await pair.as_application(WRITE)
    assert (await pair.carry_out(Unfence(database=pair.primary), "unfence")).result is Result.DONE
    await pair.as_application(WRITE)


@pytest.mark.parametrize("sent", [False, True])
async def test_a_bot_that_dies_around_a_fence_leaves_it_standing_once(pair: Pair, sent: bool) -> None:
    fence = Fence(database=pair.primary)
    facts, outcome = await pair.runner.observe(fence)
    assert outcome is None
    await pair.runner.store.record_intent("dies", "1.1", 1, facts)
    if sent:
        await fence.apply(pair.world, facts)
    resumed = await pair.carry_out(fence, "dies")
    assert resumed.result is (Result.ALREADY_DONE if sent else Result.DONE), resumed.says


async def test_a_replica_has_all_of_its_fenced_primary_before_it_is_promoted(pair: Pair) -> None:
    check = CaughtUp(database=pair.replica, original=pair.primary)
    open_ = await check.look(pair.world)
    assert open_.says == f"{PROD} takes writes, so there is no last one. Nothing was promoted. Retry the fence."
    pair.behind.replica.link.slow(1.0)
    last = next(NUMBERS)
    await committed(pair.account, last)
    await pair.carry_out(Fence(database=pair.primary), "fence")
    outcome = await check.look(pair.world)
    assert outcome.result is Result.DONE, outcome.says
    assert "A promotion loses nothing" in outcome.says
    assert (await pair.world.items.known())[TOKEN].facts["of"] == PROD
    dsn = pair.behind.replica.dsn("postgres", pair.account.database.password("postgres"))
    assert await query(dsn, "SELECT 1 FROM records WHERE id = %s", [last])


async def test_a_promoted_replica_has_the_fence_of_its_primary_until_it_is_opened(pair: Pair) -> None:
    await pair.carry_out(Fence(database=pair.primary), "fence")
    await CaughtUp(database=pair.replica, original=pair.primary).look(pair.world)
    await pair.behind.promote()
    dsn = pair.behind.replica.dsn("shielda", pair.account.database.password("shielda"))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await query(dsn, WRITE, [next(NUMBERS)])
    outcome = await pair.carry_out(Unfence(database=pair.replica), "unfence")
    assert outcome.result is Result.DONE, outcome.says
    await query(dsn, WRITE, [next(NUMBERS)])
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await pair.as_application(WRITE)  # the old one stays fenced


async def test_a_dead_primary_s_replica_comes_to_rest_and_loses_no_more_than_agreed(pair: Pair) -> None:
    await committed(pair.account, next(NUMBERS))
    await pair.behind.replica.link.vanish()
    silent = datetime.now(UTC)
    await asyncio.sleep(0.2)
    agreed = ReplayedAll(database=pair.replica, silent_since=silent.isoformat(), at_most=5)
    outcome = await agreed.look(pair.world)
    assert outcome.result is Result.DONE, outcome.says
    late = (silent + timedelta(seconds=30)).isoformat()
    grown = await ReplayedAll(database=pair.replica, silent_since=late, at_most=5).look(pair.world)
    assert grown.result is Result.FAILED
    assert "s now, and 5 s were agreed to" in grown.says
    assert "Nothing was promoted. Abort, and plan again" in grown.says


async def test_a_replica_that_still_receives_is_not_promoted_over_a_living_primary(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplayedAll, "timeout", 0.1)
    monkeypatch.setattr("actions.db.replica.AT_LEAST", 3.0)
    writing = asyncio.create_task(_keep_writing(pair))
    outcome = await ReplayedAll(database=pair.replica, silent_since="", at_most=300).look(pair.world)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert outcome.result is Result.FAILED
    assert "its primary is alive and takes writes. Nothing was promoted" in outcome.says


async def _keep_writing(pair: Pair) -> None:
    while True:
        await committed(pair.account, next(NUMBERS))
        await asyncio.sleep(0.05)


async def test_rows_are_counted_against_what_was_kept(pair: Pair) -> None:
    async def kept(name: str) -> Kept | None:
        facts = {"rows": {"public.organizations": 40, "public.users": 120}}
        return Kept(name=name, at=datetime.now(UTC), facts=facts) if name == facts_name("primary") else None

    pair.world.kept = kept
    await until(lambda: _keeps_up(pair), 20, "the replica to keep up")
    check = CountsHold(database=pair.replica, known_as="primary", percent=20)
    assert "public.organizations 40, public.users 120" in (await check.look(pair.world)).says


async def _keeps_up(pair: Pair) -> bool:
    behind, _ = await KeepsUp(database=pair.replica, original=pair.primary).behind(pair.world)
    return behind == 0
