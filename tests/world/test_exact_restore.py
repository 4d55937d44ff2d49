"""A restore to a moment between two commits has exactly what was committed before it: 40 marks, 20 ms apart."""

from __future__ import annotations

import asyncio

import psycopg

from tests.world.rds_account import NETWORK, Account
from tests.world.sql import query

MARKS, APART, CUT = 40, 0.02, 20
FIRST = 910_000_000  # of the ids; no other test writes so high


async def test_a_restore_between_two_commits_has_exactly_the_first(account: Account) -> None:
    await query(account.database.dsn("shielda"), "DELETE FROM records WHERE id >= %s", [FIRST])
    async with await psycopg.AsyncConnection.connect(account.database.dsn("shielda"), autocommit=True) as writer:
        for number in range(MARKS):
            await writer.execute("INSERT INTO records (id, body) VALUES (%s, 'a mark')", [FIRST + number])
            await asyncio.sleep(APART)
    committed = "SELECT pg_xact_commit_timestamp(xmin) FROM records WHERE id >= %s ORDER BY id"
    times = [row[0] for row in await query(account.database.dsn("postgres"), committed, [FIRST])]
    assert (len(times), times) == (MARKS, sorted(times))
    moment = times[CUT - 1] + (times[CUT] - times[CUT - 1]) / 2
    dsn = await account.recovered(await account.restore("shielda-prod-exact", moment, **NETWORK))
    found = await query(dsn, "SELECT id FROM records WHERE id >= %s ORDER BY id", [FIRST])
    assert [row[0] for row in found] == list(range(FIRST, FIRST + CUT))
    await query(account.database.dsn("shielda"), "DELETE FROM records WHERE id >= %s", [FIRST])
