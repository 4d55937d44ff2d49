"""The archive and its restores, at PostgreSQL itself: exact to the moment, across a failover, and only then writable."""

import asyncio
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import conninfo

from rehearsal.postgres.copies import Copy
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.server import ServerError
from tests.world.sql import query

OFFSET = 700_000  # Other tests write rows of their own into the shared database.


async def committed_at(database: ServerPair, number: int) -> datetime:
    """When the row was committed, to the microsecond."""
    found = await query(
        database.dsn("postgres"), "SELECT pg_xact_commit_timestamp(xmin) FROM records WHERE id = %s", [number + OFFSET]
    )
    moment: datetime = found[0][0]
    return moment


async def marks(database: ServerPair, numbers: range, pause: float = 0.02) -> None:
    """One committed row each, `pause` seconds apart."""
    async with await psycopg.AsyncConnection.connect(database.dsn("shielda"), autocommit=True) as connection:
        for number in numbers:
            await connection.execute("INSERT INTO records (id, body) VALUES (%s, 'a mark')", [number + OFFSET])
            await asyncio.sleep(pause)


async def restored(database: ServerPair, moment: datetime) -> Copy:
    await database.ship()
    copy = await database.backups.restore(database.first, moment)
    await copy.finish()
    await copy.open()
    return copy


async def found(copy: Copy, low: int, high: int) -> list[int]:
    rows = await query(copy.dsn(), "SELECT id FROM records WHERE id BETWEEN %s AND %s ORDER BY id", [low + OFFSET, high + OFFSET])
    return [row[0] - OFFSET for row in rows]


async def test_a_moment_between_two_commits_restores_exactly_the_first(database: ServerPair) -> None:
    await marks(database, range(1, 41))
    between = await committed_at(database, 20) + (await committed_at(database, 21) - await committed_at(database, 20)) / 2
    copy = await restored(database, between)
    assert await found(copy, 1, 40) == list(range(1, 21))
    await database.backups.drop(copy)


async def test_the_moment_of_a_commit_restores_that_commit_and_no_later_one(database: ServerPair) -> None:
    await marks(database, range(101, 104))
    copy = await restored(database, await committed_at(database, 102))
    assert await found(copy, 101, 103) == [101, 102]
    await database.backups.drop(copy)


async def test_an_idle_database_can_be_restored_to_ever_later_moments(database: ServerPair) -> None:
    before = await database.ship()
    assert await database.ship() > before
    copy = await restored(database, database.restorable)
    await database.backups.drop(copy)


async def test_a_copy_can_be_read_before_it_is_restored_and_written_to_after(database: ServerPair) -> None:
    await database.ship()
    copy = await database.backups.restore(database.first, database.restorable)
    await copy.open()
    owner = copy.dsn("shielda", database.password("shielda"))  # The roles and passwords are those of the original.
    assert await query(owner, "SELECT pg_is_in_recovery(), count(*) FROM organizations") == [(True, 40)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await query(owner, "INSERT INTO records (id, body) VALUES (700201, 'too early')")
    await copy.finish()
    assert await query(owner, "SELECT pg_is_in_recovery()") == [(False,)]
    await query(owner, "INSERT INTO records (id, body) VALUES (700201, 'only in the copy')")
    assert await query(database.dsn("shielda"), "SELECT count(*) FROM records WHERE id = 700201") == [(0,)]
    port = copy.port
    await copy.restart()
    assert (await query(owner, "SELECT count(*) FROM records WHERE id = 700201"), copy.port) == ([(1,)], port)
    await database.backups.drop(copy)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await query(owner, "SELECT 1")


async def test_an_endpoint_that_is_not_reachable_never_answers(database: ServerPair) -> None:
    copy = await restored(database, database.restorable)
    copy.reach(False)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        await query(conninfo.make_conninfo(copy.dsn(), connect_timeout=2), "SELECT 1")
    copy.reach(True)
    assert await query(copy.dsn(), "SELECT 1") == [(1,)]
    await database.backups.drop(copy)


async def test_a_base_backup_restores_as_it_was_taken(database: ServerPair) -> None:
    await marks(database, range(301, 303), 0)
    base = await database.backups.take(database.primary)
    await marks(database, range(303, 305), 0)
    copy = await database.backups.restore(base)
    await copy.finish()
    await copy.open()
    assert await found(copy, 301, 304) == [301, 302]
    await database.backups.drop(copy)
    copy = await database.backups.restore(base, await _covered(database, 303))  # And with the archive to a later moment.
    await copy.finish()
    await copy.open()
    assert await found(copy, 301, 304) == [301, 302, 303]
    await database.backups.drop(copy)
    await database.backups.discard(base)
    assert not base.folder.exists()


async def _covered(database: ServerPair, number: int) -> datetime:
    moment = await committed_at(database, number)
    await database.ship()
    return moment


async def test_restores_work_before_and_after_a_failover(database: ServerPair) -> None:
    await marks(database, range(401, 404), 0)
    before = await committed_at(database, 402)
    await database.failover()
    await marks(database, range(404, 407), 0)
    for moment, expected in ((before, [401, 402]), (await committed_at(database, 405), [401, 402, 403, 404, 405])):
        copy = await restored(database, moment)
        assert await found(copy, 401, 410) == expected
        await database.backups.drop(copy)


async def test_nothing_is_lost_from_the_archive_when_a_busy_primary_dies(database: ServerPair) -> None:
    await database.redundant()
    await query(database.dsn("shielda"), "INSERT INTO records SELECT n, repeat('x', 400) FROM generate_series(710001, 720000) n")
    await database.kill_primary()  # Several segments are complete and not archived yet.
    await database.failover()
    await marks(database, range(20001, 20002))
    copy = await restored(database, await committed_at(database, 20001))
    assert await query(copy.dsn(), "SELECT count(*) FROM records WHERE id BETWEEN 710001 AND 720001") == [(10001,)]
    await database.backups.drop(copy)
    await database.redundant()


async def test_a_stuck_archive_stands_still_and_catches_up(database: ServerPair) -> None:
    database.backups.archive.stick()
    stands = database.restorable
    await marks(database, range(501, 502))
    shipping = asyncio.create_task(database.ship())
    await asyncio.sleep(0.5)
    assert not shipping.done()
    assert database.restorable == stands
    database.backups.archive.heal()
    await shipping
    copy = await restored(database, await committed_at(database, 501))
    assert await found(copy, 501, 501) == [501]
    await database.backups.drop(copy)


async def test_a_moment_the_archive_does_not_reach_is_no_restore(database: ServerPair) -> None:
    with pytest.raises(TimeoutError):
        await database.backups.archive.covers(database.restorable + timedelta(hours=1), 0.1)
    copy = Copy(database.backups._server("copy", database._folder / "copies"), database.password("postgres"))
    moment = database.restorable + timedelta(hours=1)
    with pytest.raises(ServerError, match="did not recover"):
        await copy.restore(database.first, moment, database.backups.archive.restore_command)
    await copy.close()


async def test_the_bot_may_run_amcheck_and_owns_nothing(database: ServerPair) -> None:
    bot = database.dsn("dr_bot")
    checks = "SELECT bt_index_check('users_email_unique', true), count(*) FROM verify_heapam('records')"
    assert (await query(bot, checks))[0][1] == 0
    assert await query(bot, "SHOW data_checksums") == await query(bot, "SHOW track_commit_timestamp") == [("on",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await query(bot, "DELETE FROM users")
