"""The bot's heartbeat rows: written while it may write, never in the way of anything, and never a table of its own making."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from actions.db.heartbeat import may_write, write_heartbeat
from actions.errors import Unreachable
from actions.gate import Gate
from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.world import World
from bot import heartbeat
from bot.heartbeat import Heartbeat
from rehearsal.postgres.pair import ServerPair
from rehearsal.waiting import until
from tests.world.sql import query

TABLE = "dr_heartbeat"
CREATE = f"CREATE TABLE {TABLE} (writer text PRIMARY KEY, at timestamptz NOT NULL)"
GRANT = f"GRANT SELECT, INSERT, UPDATE ON {TABLE} TO dr_bot"


def world_of(gate: Gate | None = None) -> World:
    service = ServiceSection(cluster="c", service="s", log_group="/ecs/s", health_url="http://127.0.0.1:1/")
    database = DatabaseSection(instance="shielda-prod", heartbeat_table=TABLE)
    return World(Site(aws=Aws(region="us-west-2"), services={"s": service}, databases={"primary": database}), gate)


@pytest.fixture
async def server(database: ServerPair, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServerPair]:
    monkeypatch.setenv("DATABASE_URL", database.url("dr_bot"))
    monkeypatch.setattr(heartbeat, "EVERY_SECONDS", 0.1)
    await query(database.dsn("postgres"), f"{CREATE}; {GRANT}")
    yield database
    await database.heal()
    await query(database.dsn("postgres"), f"DROP TABLE IF EXISTS {TABLE}")


@asynccontextmanager
async def beating(gate: Gate | None = None, *, busy: list[bool] | None = None) -> AsyncIterator[None]:
    async def is_busy() -> bool:
        return bool(busy)

    world = world_of(gate)
    task = asyncio.create_task(Heartbeat(world, world.site.database(), TABLE, is_busy).run())
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def beats(server: ServerPair) -> list[datetime]:
    return [row[0] for row in await query(server.dsn("postgres"), f"SELECT at FROM {TABLE} WHERE writer = 'dr-bot'")]


async def test_each_day_has_a_canary_row_that_stays_as_it_was_written(server: ServerPair) -> None:
    canary = f"SELECT writer, at FROM {TABLE} WHERE starts_with(writer, 'dr-canary-')"
    async with beating():
        await newer(server, await newer(server, []))
    (first,) = await query(server.dsn("postgres"), canary)
    async with beating():
        await newer(server, await newer(server, await beats(server)))
    assert await query(server.dsn("postgres"), canary) == [first]
    assert first[0] == f"dr-canary-{first[1].astimezone(UTC):%Y-%m-%d}"


async def newer(server: ServerPair, than: list[datetime]) -> list[datetime]:
    """Wait for another beat."""

    async def seen() -> list[datetime]:
        found = await beats(server)
        return found if found != than else []

    return await until(seen, 20, "another heartbeat", every=0.1)


async def test_one_row_is_written_again_and_again(server: ServerPair) -> None:
    async with beating():
        first = await newer(server, [])
        second = await newer(server, first)
    assert (len(first), len(second)) == (1, 1)
    assert second > first


async def test_a_table_that_is_not_there_is_said_once_and_not_made(server: ServerPair) -> None:
    await query(server.dsn("postgres"), f"DROP TABLE {TABLE}")
    with capture_logs() as logs:
        async with beating():
            await asyncio.sleep(2.5)
    said = [line for line in logs if line["event"] == "heartbeat_not_written"]
    assert len(said) == 1
    assert f'relation "{TABLE}" does not exist' in said[0]["error"]
    assert (await query(server.dsn("postgres"), "SELECT to_regclass(%s)", [TABLE]))[0][0] is None


async def test_a_database_that_hangs_holds_up_nothing_and_gets_beats_again_later(
    server: ServerPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 1.0)
    with capture_logs() as logs:
        async with beating():
            await newer(server, [])
            await server.hang_primary()
            await until(lambda: any(line["event"] == "heartbeat_not_written" for line in logs), 10)
            late = time.monotonic()
            await asyncio.sleep(0)
            assert time.monotonic() - late < 1.0  # the loop is free
            await server.heal()
            await newer(server, await beats(server))
            await until(lambda: any(line["event"] == "heartbeat_written_again" for line in logs), 10)


async def test_a_bot_that_does_not_lead_writes_none(server: ServerPair) -> None:
    async with beating(Gate(lambda: False)):
        await asyncio.sleep(1.0)
    assert await beats(server) == []


async def test_while_a_run_works_on_the_database_none_is_written(server: ServerPair) -> None:
    runs = [True]
    async with beating(busy=runs):
        await asyncio.sleep(1.0)
        assert await beats(server) == []
        runs.clear()
        await newer(server, [])


async def test_whether_our_role_may_write_is_known_beforehand(server: ServerPair) -> None:
    world = world_of()
    assert await may_write(world, world.site.database(), TABLE) == ""
    assert await may_write(world, world.site.database(), "none_such") == "There is no table none_such."
    await query(server.dsn("postgres"), f"REVOKE UPDATE ON {TABLE} FROM dr_bot")
    assert await may_write(world, world.site.database(), TABLE) == f"The bot's role may not write to {TABLE}."


async def test_what_is_not_a_table_name_is_not_sent(server: ServerPair) -> None:
    with pytest.raises(Unreachable, match="is not a table name"):
        await write_heartbeat(world_of(), world_of().site.database(), "a; DROP TABLE records")
