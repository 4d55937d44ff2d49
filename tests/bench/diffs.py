"""Comparing a large table with a restored copy, beside reladiff and beside the bare queries; and a scan beside pg_amcheck.

`python -m tests.bench.diffs ROWS` does it for a table of so many rows.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from actions.db.diff import AS_TEXT, Comparison, Kind, Side
from actions.db.scan import scan
from actions.site import DatabaseRef
from rehearsal.injuries import Patient
from rehearsal.machines.processes import Processes
from tests.bench.figures import Figure, machine, memory_mb, table
from tests.bench.subjects import made, opened
from tests.world.injured import Ward, ward

ROWS, PASSES, AIM = 1_000_000, 3, 2.2  # rows, runs, and the most seconds for a comparison of a million rows
LARGE = 2_000_000  # beyond which one pass must do
COLUMNS = ("id", "customer", "total", "note", "at", "updated_at")
MAKE = """
SET ROLE shielda;
CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, total numeric(12, 2) CHECK (total > -1e9), note text,
  at timestamptz, updated_at timestamptz);
INSERT INTO orders SELECT n, n % 5000, n / 100.0, 'order number ' || n || ' and what was said of it',
  timestamptz '2026-01-10 00:00+00' + n * interval '1 second', '2026-01-15 09:00+00' FROM generate_series(1, {rows}) AS n;
CREATE INDEX ON orders (customer)
"""
DAMAGE = (
    "DELETE FROM orders WHERE id BETWEEN 5000 AND 9099",
    "UPDATE orders SET total = -total WHERE id BETWEEN 20000 AND 21999",
    "INSERT INTO orders SELECT n, 1, 1, 'new', now(), now() FROM generate_series({rows} + 1, {rows} + 10000) AS n",
    "UPDATE orders SET note = 'newer', updated_at = '2026-01-15 11:00+00' WHERE id BETWEEN 40000 AND 42999",
)
PLAIN = """
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0
"""
CONTENT = f"ROW({', '.join(COLUMNS)})::text"
# What has to be read at the least: the keys' ends, and a sum of hashes for each bucket, on both sides at once.
BARE = (
    "SELECT min(id), max(id) FROM orders",
    f"SELECT id >> 4, count(*), sum(hashtextextended({CONTENT}, 0))::text FROM orders GROUP BY 1",
)
# What a scan asks by itself, beside pg_amcheck: every row in full, and each rule.
RULES = (
    "SELECT count(*), sum(octet_length(o::text)) FROM orders AS o",
    "SELECT count(*) FROM (SELECT id FROM orders GROUP BY id HAVING count(*) > 1) AS twice",
    "SELECT count(*) FROM orders WHERE num_nulls(id, customer) > 0",
    "SELECT count(*) FROM orders WHERE NOT (total > -1e9)",
)


async def measure(folder: Path) -> list[Figure]:
    """Comparison and scan of a million rows."""
    return await of(opened(made(folder)), ROWS)


async def of(folder: Path, rows: int) -> list[Figure]:
    """The figures for so many rows; reladiff and the naive answer must name the same rows as we do."""
    async with (
        Processes(folder / "processes.json") as processes,
        ward(processes, folder, folder / "cache", "present") as ours,
        ward(processes, folder, folder / "cache", "past") as theirs,
    ):
        past, present = await theirs.patient(name="compared"), await ours.patient(name="compared")
        for patient in (past, present):
            await patient.run(MAKE.format(rows=rows), "VACUUM ANALYZE orders")
        scanned = await scans(ours, present)
        await present.run(*(statement.format(rows=rows) for statement in DAMAGE), "VACUUM ANALYZE orders")
        return [*await comparisons(ours, theirs, present, rows), *scanned]


async def comparisons(ours: Ward, theirs: Ward, present: Patient, rows: int) -> list[Figure]:
    """Ours, the bare queries and reladiff in turn."""
    os.environ["THE_PAST"] = theirs.dsn("compared")
    ref = ours.ref(present)
    os.environ[ref.dsn_env] = ours.dsn("compared")
    past = replace(ref, dsn_env="THE_PAST")
    peer = bool(importlib.util.find_spec("reladiff"))
    mine, bare, reladiff = list[float](), list[float](), list[float]()
    for _ in range(1 if rows > LARGE else PASSES):
        seconds, found = await timed(compared(ours, ref, past))
        mine.append(seconds)
        bare.append((await timed(bare_queries(ours, theirs)))[0])
        if peer:
            seconds, named = await timed(asyncio.to_thread(by_reladiff, ours.dsn("compared"), theirs.dsn("compared")))
            reladiff.append(seconds)
            if named != found:
                raise RuntimeError(
                    f"reladiff names {len(named)} rows and we name {len(found)}; {len(named ^ found)} are other ones."
                )
    beside = (
        f"reladiff {median(reladiff):.2f} s, {median(reladiff) / median(mine):.1f} x ours" if peer else "reladiff isn't installed"
    )
    note = f"{len(found)} rows differ; both name the same; bare: {len(BARE)} queries on both sides at once; {beside}"
    memory = memory_mb(os.getpid())
    size = f"{rows / 1e6:g} million rows"
    return [
        Figure(
            name=f"Comparison of {size}",
            value=median(mine),
            bare=median(bare),
            unit="s",
            aim=AIM if rows <= ROWS else None,
            note=note,
        ),
        Figure(name=f"Memory after a comparison of {size}", value=memory, unit="MB"),
    ]


async def scans(ours: Ward, present: Patient) -> list[Figure]:
    """A scan of the one table, and pg_amcheck with the bare queries, in turn."""
    ref, mine, bare = ours.ref(present), list[float](), list[float]()
    await present.run("CREATE EXTENSION IF NOT EXISTS amcheck")
    await present.run(
        "DO $$ DECLARE one regprocedure; BEGIN FOR one IN SELECT oid FROM pg_proc"
        " WHERE proname IN ('bt_index_check', 'verify_heapam')"
        " LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO dr_bot', one); END LOOP; END $$"
    )
    for _ in range(PASSES):
        seconds, seen = await timed(scan(ours.world, ref, ["orders"], seconds=600))
        mine.append(seconds)
        if wrong := [one for one in seen.results if one.damage]:
            raise RuntimeError(f"A clean table has damage: {wrong}")
        bare.append((await timed(amcheck_and_queries(ours, present)))[0])
    note = f"pg_amcheck --heapallindexed --checkunique of the table and {len(RULES)} queries, one after the other"
    return [
        Figure(name="Scan of a clean table", value=median(mine), bare=median(bare), unit="s", ratio_aim=1.5, note=note),
    ]


async def compared(ours: Ward, ref: DatabaseRef, past: DatabaseRef) -> set[tuple[str, str]]:
    """The differences, as reladiff calls them: "-" is only here or as it is here, "+" only there or as it is there."""
    sides = (Side(connections=ours.world.database(one), table="orders") for one in (ref, past))
    found = set[tuple[str, str]]()
    async with Comparison(*sides) as comparison:
        async for batch in comparison.differences():
            for one in batch:
                key = str(one.key[0])
                found |= {("-", key)} if one.kind is not Kind.MISSING else set()
                found |= {("+", key)} if one.kind is not Kind.EXTRA else set()
    return found


def by_reladiff(ours: str, theirs: str) -> set[tuple[str, str]]:
    """The same by reladiff, with as many threads as it takes by default."""
    import reladiff

    hashed = reladiff.Algorithm.HASHDIFF
    sides = [
        reladiff.connect_to_table(url(dsn), "orders", "id", update_column="updated_at", extra_columns=COLUMNS[1:-1])
        for dsn in (ours, theirs)
    ]
    return {(sign, str(row[0])) for sign, row in reladiff.diff_tables(*sides, extra_columns=COLUMNS[1:], algorithm=hashed)}


def url(dsn: str) -> str:
    """The DSN as a URL."""
    parts = dict(part.split("=", 1) for part in dsn.split())
    return f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{parts['dbname']}"


async def bare_queries(ours: Ward, theirs: Ward) -> None:
    """On both sides at once."""

    async def one(side: Ward) -> None:
        patient = Patient(port=side.server.port, password=side.password, data=side.server.data, database="compared")
        async with patient.session() as connection:
            await connection.execute(f"{PLAIN}; {AS_TEXT.replace('LOCAL', '')}".encode())
            for sql in BARE:
                await (await connection.execute(sql.encode())).fetchall()

    await asyncio.gather(one(ours), one(theirs))


async def amcheck_and_queries(ours: Ward, present: Patient) -> None:
    """What a person would run."""
    program = ours.server.binaries.program("pg_amcheck")
    where = ["-h", "127.0.0.1", "-p", str(present.port), "-U", "postgres", "-t", "public.orders", present.database]
    argv = [str(program), "--heapallindexed", "--checkunique", *where]
    environment = {**os.environ, "PGPASSWORD": present.password}
    await asyncio.to_thread(subprocess.run, argv, check=True, env=environment, stdout=subprocess.DEVNULL)
    async with present.session() as connection:
        await connection.execute(PLAIN.encode())
        for sql in RULES:
            await (await connection.execute(sql.encode())).fetchall()


async def timed(doing: Awaitable[Any]) -> tuple[float, Any]:
    """The seconds that it takes, and what comes of it."""
    began = time.perf_counter()
    result = await doing
    return time.perf_counter() - began, result


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="diffs-", ignore_cleanup_errors=True) as temporary:
        where = machine()
        print(f"{where}\n\n{table(asyncio.run(of(opened(Path(temporary)), int(sys.argv[1]))))}")
