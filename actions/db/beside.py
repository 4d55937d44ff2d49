"""Two databases side by side: of each table, how many rows only one of them has, and how many have other contents.

Every row is reduced to two hashes on its server: of its primary key, and of its text. Both servers add the second ones up in
buckets, and only of buckets that differ the hashes themselves are fetched. So equal numbers of rows with other contents differ.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actions.errors import Unreachable

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import DictRow

    from actions.db.connect import Connections

MOST_TABLES = 200
TABLE_SECONDS = 20.0  # for one table
ALL_SECONDS = 55.0  # for all of them: large ones, read from S3 for the first time, must not hold up the question
COMPARING_SHARE = 0.75  # of a table's time; the rest is for counting it, if it can't be compared
MOST_FETCHED = 200_000  # rows in buckets that differ, of each database
BUCKETS = 16_384
INTEGERS = ("smallint", "integer", "bigint")
PINNED = (
    "SET LOCAL search_path = ''; SET LOCAL row_security = off; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; \
SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'"
)
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'p' AS partitioned,
  ARRAY(SELECT a.attname::text FROM pg_attribute a JOIN pg_constraint k ON k.conrelid = a.attrelid AND a.attnum = ANY(k.conkey)
        WHERE k.conrelid = c.oid AND k.contype = 'p' ORDER BY 1) AS key,
  (SELECT coalesce(json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)), '{}') FROM pg_attribute a
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relpages DESC, 1
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as one database has it: `key` names the columns of its primary key, `columns` gives each column's type."""

    name: str
    partitioned: bool
    key: tuple[str, ...]
    columns: Mapping[str, str]

    @property
    def rows(self) -> str:
        """Its own rows in a FROM: those of tables that inherit from it are counted with them."""
        return self.name if self.partitioned else f"ONLY {self.name}"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A table in a copy and in the present database: how many rows both hold (None: not counted, or no such table).

    `back`: only the copy has them. `given_up`: only the present database has them. `changed`: both do, with other contents.
    Without a primary key a changed row is one of each. `why_not` says why the rows could not be compared; then those are 0.
    """

    name: str
    copy: int | None = None
    present: int | None = None
    in_copy: bool = True
    in_present: bool = True
    keyed: bool = True
    back: int = 0
    given_up: int = 0
    changed: int = 0
    columns: str = ""
    why_not: str = ""

    @property
    def same(self) -> bool:
        """Whether both are proven to hold the same rows in the same columns."""
        whole = self.in_copy and self.in_present and not self.why_not and not self.columns
        return whole and not (self.back or self.given_up or self.changed)


async def tables_of(connections: Connections) -> dict[str, Table]:
    """All tables by their name, the largest at the last VACUUM first: asking for sizes waits for locks. Raises `Unreachable`."""
    rows = await connections.ask(TABLES)
    return {row["name"]: Table(**{**row, "key": tuple(row["key"])}) for row in rows}


async def beside(
    copy: Connections,
    present: Connections,
    of_copy: dict[str, Table],
    now: dict[str, Table],
    progress: Callable[[str], None] = lambda _: None,
) -> list[Beside]:
    """Compare the largest tables, the smallest of them first, for `ALL_SECONDS` at most. Never raises for what can't be read."""
    ends = time.monotonic() + ALL_SECONDS
    names = [*of_copy, *(name for name in now if name not in of_copy)][:MOST_TABLES]
    found = []
    for number, name in enumerate(reversed(names), 1):
        progress(f"Comparing rows with the present database: table {number} of {len(names)}, {name}.")
        seconds = min(ends - time.monotonic(), TABLE_SECONDS)
        one, other = of_copy.get(name), now.get(name)
        if one and other:
            found.append(await _compare(copy, present, one, other, seconds))
        else:
            rows = await _count(copy if one else present, one or other, seconds)
            alone = Beside(name=name, in_copy=one is not None, in_present=other is not None)
            found.append(replace(alone, copy=rows) if one else replace(alone, present=rows))
    return found


async def count_all(connections: Connections, tables: Mapping[str, Table]) -> dict[str, int | None]:
    """The rows of the largest tables, the smallest of them first, for `ALL_SECONDS` at most; None for one that isn't counted."""
    ends = time.monotonic() + ALL_SECONDS
    largest = list(tables.items())[:MOST_TABLES]
    return {
        name: await _count(connections, table, min(ends - time.monotonic(), TABLE_SECONDS)) for name, table in reversed(largest)
    }


async def _count(connections: Connections, table: Table | None, seconds: float) -> int | None:
    """The rows of a table; None if they can't be counted in so many seconds."""
    if table is None or seconds <= 0:
        return None
    try:
        return int((await connections.ask(f"SELECT count(*) AS rows FROM {table.rows}", timeout=seconds))[0]["rows"])
    except Unreachable:
        return None


async def _compare(copy: Connections, present: Connections, one: Table, other: Table, seconds: float) -> Beside:
    columns = [name for name, kind in one.columns.items() if other.columns.get(name) == kind]
    key = one.key if one.key == other.key and set(one.key) <= set(columns) else ()
    known = Beside(name=one.name, keyed=bool(key), columns=_other_columns(one, other))
    if seconds <= 0:
        return replace(known, why_not="The time was over.")
    ends, share = time.monotonic() + seconds, seconds * COMPARING_SHARE
    try:
        async with _snapshot(copy, share) as old, _snapshot(present, share) as new:
            return replace(known, **await _differences(_Side(old, one), _Side(new, other), key, columns))
    except Unreachable as error:
        left = max(ends - time.monotonic(), 2.0)
        counts = await _both(_count(copy, one, left), _count(present, other, left))
        return replace(known, copy=counts[0], present=counts[1], why_not=str(error))


def _other_columns(one: Table, other: Table) -> str:
    """Which columns only one of them has, or has with another type; "" if there are none."""
    parts = []
    for where, mine, theirs in (("the copy", one.columns, other.columns), ("the present database", other.columns, one.columns)):
        only = [f"{name} {kind}" for name, kind in mine.items() if theirs.get(name) != kind]
        parts += [f"only {where} has {', '.join(only)}"] if only else []
    return "; ".join(parts)


# The comparison -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    connection: AsyncConnection[DictRow]
    table: Table

    async def ask(self, sql: str) -> list[DictRow]:
        return await (await self.connection.execute(sql.encode())).fetchall()


@asynccontextmanager
async def _snapshot(connections: Connections, seconds: float) -> AsyncIterator[AsyncConnection[DictRow]]:
    """A transaction that sees one state of the database, with all that text depends on set the same way everywhere."""
    async with connections.session("read", timeout=seconds) as connection:
        await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}; {PINNED}".encode())
        yield connection


async def _differences(copy: _Side, present: _Side, key: tuple[str, ...], columns: list[str]) -> dict[str, Any]:
    """How many rows both hold, and in what they differ."""
    number = key[0] if len(key) == 1 and copy.table.columns[key[0]] in INTEGERS else ""
    bucket = await _bucket(copy, present, number)
    hashed = f"hashtextextended({_text(key or columns)}, 0) AS key, hashtextextended({_text(columns)}, 0) AS content"
    hashed += f", {_quoted(number)}::bigint AS number" if number else ""
    old, new = await _both(_sums(copy, hashed, bucket), _sums(present, hashed, bucket))
    counts = {"copy": sum(rows for rows, _ in old.values()), "present": sum(rows for rows, _ in new.values())}
    differ = [number for number in old.keys() | new.keys() if old.get(number) != new.get(number)]
    if not differ:
        return counts
    most = max(sum(side.get(number, (0, ""))[0] for number in differ) for side in (old, new))
    if most > MOST_FETCHED:
        return counts | {"why_not": f"{most} rows would have to be compared one by one, and at most {MOST_FETCHED} are."}
    rows = await _both(_hashes(copy, hashed, bucket, differ), _hashes(present, hashed, bucket, differ))
    return counts | (_by_key(*rows) if key else _by_contents(*rows))


async def _bucket(copy: _Side, present: _Side, number: str) -> str:
    """Which bucket a row is in: neighbours share one if the key is a number, because new rows are neighbours."""
    by_hash = f"key & {BUCKETS - 1}"
    if not number:
        return by_hash
    ends = f"SELECT min({_quoted(number)}) AS low, max({_quoted(number)}) AS high FROM "
    known = [row for (row,) in await _both(copy.ask(ends + copy.table.rows), present.ask(ends + present.table.rows))]
    low = min((row["low"] for row in known if row["low"] is not None), default=0)
    high = max((row["high"] for row in known if row["high"] is not None), default=0)
    if high - low >= 2**62:  # the difference would not fit into a bigint
        return by_hash
    return f"(number - ({low})) / {(high - low) // BUCKETS + 1}"


async def _sums(side: _Side, hashed: str, bucket: str) -> dict[int, tuple[int, str]]:
    """How many rows there are in each bucket, and the sum of their contents' hashes."""
    rows = f"(SELECT {hashed} FROM {side.table.rows}) AS hashed"
    sums = await side.ask(f"SELECT {bucket} AS b, count(*) AS rows, sum(content::numeric)::text AS sum FROM {rows} GROUP BY 1")
    return {row["b"]: (row["rows"], row["sum"]) for row in sums}


async def _hashes(side: _Side, hashed: str, bucket: str, buckets: list[int]) -> list[DictRow]:
    """The hashes of key and contents of every row in these buckets."""
    rows = f"(SELECT {hashed} FROM {side.table.rows}) AS hashed"
    return await side.ask(f"SELECT key, content FROM {rows} WHERE {bucket} IN ({', '.join(map(str, buckets))})")


def _by_key(copy: list[DictRow], present: list[DictRow]) -> dict[str, int]:
    old, new = ({row["key"]: row["content"] for row in rows} for rows in (copy, present))
    changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
    return {"back": len(old.keys() - new.keys()), "given_up": len(new.keys() - old.keys()), "changed": changed}


def _by_contents(copy: list[DictRow], present: list[DictRow]) -> dict[str, int]:
    old, new = (Counter(row["content"] for row in rows) for rows in (copy, present))
    return {"back": (old - new).total(), "given_up": (new - old).total()}


async def _both(one: Awaitable[Any], other: Awaitable[Any]) -> list[Any]:
    """What both came to, side by side; if one failed, its error once the other has ended, too."""
    results = await asyncio.gather(one, other, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)


def _text(columns: list[str] | tuple[str, ...]) -> str:
    return f"ROW({', '.join(map(_quoted, columns))})::text"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
