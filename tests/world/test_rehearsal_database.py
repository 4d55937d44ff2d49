"""The rehearsal's database: real servers, real failovers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import psycopg
import pytest

from rehearsal.postgres.binaries import PostgresMissing, find
from rehearsal.postgres.interlock import interlock
from rehearsal.postgres.pair import ServerPair
from tests.conftest import SetVariable
from tests.world.sql import query, start_time

SEGMENTS = Path("/proc/sysvipc/shm")


async def test_a_failover_keeps_every_acknowledged_row_and_moves_the_zone(database: ServerPair) -> None:
    zone, standby, port, before = database.zone, database.standby_zone, database.port, await start_time(database)
    await query(database.dsn("shielda"), "INSERT INTO records SELECT n, 'before the failover' FROM generate_series(1, 500) n")

    await database.failover()

    assert await query(database.dsn("shielda"), "SELECT count(*) FROM records WHERE body = 'before the failover'") == [(500,)]
    assert (database.zone, database.port) == (standby, port)
    assert await start_time(database) > before
    await database.redundant()
    assert database.standby_zone == zone


async def test_a_failover_works_when_the_primary_hangs_and_again_right_after_it(database: ServerPair) -> None:
    zone = database.zone
    await query(database.dsn("shielda"), "INSERT INTO records VALUES (1001, 'before the hang')")
    await database.hang_primary()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(query(database.dsn("dr_bot"), "SELECT 1"), 0.4)

    await database.failover()
    assert database.zone != zone
    await query(database.dsn("shielda"), "INSERT INTO records VALUES (1002, 'between')")
    await database.failover()

    assert database.zone == zone
    rows = await query(database.dsn("dr_bot"), "SELECT id FROM records WHERE id BETWEEN 1001 AND 1002 ORDER BY id")
    assert rows == [(1001,), (1002,)]


def segments() -> list[str]:
    """The ids, among other figures, of all shared memory of System V."""
    return SEGMENTS.read_text().split()


@pytest.mark.skipif(not SEGMENTS.exists(), reason="only Linux lists the shared memory of System V")
async def test_a_killed_server_leaves_no_shared_memory(database: ServerPair) -> None:
    memory = interlock(database.primary.data)
    assert str(memory) in segments()
    await database.kill_primary()
    assert str(memory) not in segments()


async def test_a_dead_primary_refuses_connections_until_the_failover(database: ServerPair) -> None:
    await database.kill_primary()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await query(database.dsn("shielda"), "SELECT 1")
    await database.failover()
    assert await query(database.dsn("shielda"), "SELECT 1") == [(1,)]


async def test_used_up_slots_lock_the_application_out_and_let_the_bot_in(database: ServerPair) -> None:
    held = await database.fill_connections()
    with pytest.raises(psycopg.OperationalError, match=r"slots are reserved|too many connections"):
        await query(database.dsn("shielda"), "SELECT 1")
    idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nightly-report' AND state LIKE 'idle in%%'"
    assert await query(database.dsn("dr_bot"), idle) == [(held,)]
    assert "53300" in database.primary.log.read_text()

    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'nightly-report'"
    await asyncio.sleep(0.6)
    assert await query(database.dsn("dr_bot"), ended) == [(held,)]
    assert await query(database.dsn("shielda"), "SELECT 1") == [(1,)]
    assert any("pg_terminate_backend" in line for line in database.statements())


async def test_a_primary_that_hung_or_died_goes_on_after_healing(database: ServerPair) -> None:
    zone = database.zone
    await database.hang_primary()
    await database.heal()
    await query(database.dsn("shielda"), "INSERT INTO records VALUES (2001, 'after the hang')")
    await database.kill_primary()
    await database.heal()
    assert await query(database.dsn("shielda"), "SELECT count(*) FROM records WHERE id = 2001") == [(1,)]
    assert database.zone == zone


def test_without_postgresql_the_error_names_where_it_was_looked_for(tmp_path: Path, set_variable: SetVariable) -> None:
    set_variable("DR_PG_BIN", str(tmp_path))
    with pytest.raises(PostgresMissing, match=re.escape(f"DR_PG_BIN ({tmp_path})")):
        find(tmp_path)


async def test_a_wrong_password_is_refused(database: ServerPair) -> None:
    wrong = psycopg.conninfo.make_conninfo(database.dsn("dr_bot"), password="guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await query(wrong, "SELECT 1")
