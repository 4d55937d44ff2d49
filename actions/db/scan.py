"""A scan for damage of a database that serves: the integrity suite, and what only matters while people work with it.

Changes nothing. One connection, one question at a time, each in a transaction of its own, all of them within the given seconds.
Rows that are missing or wrong and break no rule are found only beside another database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from actions.db.check_result import CheckResult, CheckVerdict
from actions.db.integrity_ask import Asker
from actions.db.integrity_suite import Suite
from actions.db.scan_pages import damaged_pages
from actions.errors import ActionError, Unreachable
from actions.site import DatabaseRef

if TYPE_CHECKING:
    from actions.world import World

CHECKSUMS = """
SELECT current_setting('data_checksums') = 'on' AS used, coalesce(sum(checksum_failures), 0)::int8 AS failures,
  max(checksum_last_failure) AS newest
FROM pg_catalog.pg_stat_database WHERE datname = current_database() OR datid = 0
"""
DEAD_ROWS = """
SELECT format('%I.%I', schemaname, relname) AS "table", n_dead_tup AS dead FROM pg_catalog.pg_stat_user_tables
WHERE n_dead_tup > 10000 ORDER BY n_dead_tup DESC
"""
# A partitioned table stands for its partitions.
CHOSEN = """
SELECT asked.name, part.name AS "table" FROM unnest(%s::text[]) AS asked (name)
LEFT JOIN LATERAL (
  SELECT format('%%I.%%I', n.nspname, c.relname) AS name
  FROM (SELECT to_regclass(asked.name) UNION SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(asked.name))) AS its (id)
  JOIN pg_catalog.pg_class c ON c.oid = its.id JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'm', 'f')
) AS part ON true
"""
SIZES = """
SELECT format('%I.%I', n.nspname, c.relname) AS "table",
  (c.relpages::int8 + coalesce(long.relpages, 0)) * current_setting('block_size')::int AS bytes  -- without a lock
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class long ON long.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.oid >= 16384
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


class NoSuchTable(ActionError):
    """A table that was to be scanned is not there."""


@dataclass(frozen=True, kw_only=True)
class Checksums:
    """Whether the server checks pages, how many it found damaged since its statistics were reset, and when last."""

    used: bool
    failures: int
    newest: datetime | None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a scan found. Sizes are in bytes, with long values, as of the last VACUUM; None if the database didn't tell."""

    results: Sequence[CheckResult]
    checksums: Checksums | None
    dead_rows: dict[str, int] | None
    sizes: dict[str, int] | None


async def scan(world: World, database: DatabaseRef, tables: Sequence[str] = (), *, seconds: float) -> Scan:
    """Scan these tables, or all. Raises `Unreachable` if the database can't be reached at all, and `NoSuchTable`."""
    async with Asker(world.database(database), seconds, gentle=True) as asker:
        await asker.ask("SELECT 1")
        only = await _chosen(asker, tables) if tables else []
        suite = Suite(asker, str(database), world.progress, only=only, serves=True)
        results = [await _located(asker, one) for one in await suite.run()]
        sizes = await _rows(asker, SIZES)
        dead = await _rows(asker, DEAD_ROWS)
        checksums = await _rows(asker, CHECKSUMS)  # last: what was read just now is counted there, too
    return Scan(
        results=results,
        checksums=Checksums(**checksums[0]) if checksums else None,
        dead_rows=None if dead is None else {row["table"]: row["dead"] for row in dead},
        sizes=None if sizes is None else {row["table"]: row["bytes"] for row in sizes if not only or row["table"] in only},
    )


async def _chosen(asker: Asker, tables: Sequence[str]) -> list[str]:
    """The tables by their full names, partitions instead of partitioned tables."""
    rows = await asker.ask(CHOSEN, [list(tables)])
    if missing := [row["name"] for row in rows if row["table"] is None]:
        raise NoSuchTable(f"The database has no table {missing[0]}. Write it as SCHEMA.TABLE if it isn't on the search path.")
    return [row["table"] for row in rows]


async def _located(asker: Asker, result: CheckResult) -> CheckResult:
    """The result; of a table with unreadable pages it also says which they are, and how much can still be read."""
    if result.name != "table" or result.verdict is not CheckVerdict.FAILED or not result.damage:
        return result
    pages = await damaged_pages(asker, result.object)
    return replace(result, says=f"{result.says} {pages}", rows=pages.rows)


async def _rows(asker: Asker, sql: str) -> list[dict[str, Any]] | None:
    try:
        return list(await asker.ask(sql))
    except Unreachable:
        return None
