"""The exact difference between a table and the same table in another database, row by row, in little memory and two readings.

First both sides sum the hashes of their rows' bytes by buckets of the key; then only the rows of buckets that differ are fetched,
with the hashes of their text, sorted by key, and merged. Each side is read in one snapshot. No index tells which rows there are:
it may be what is damaged.

Hashes are summed and not XORed (two equal rows would cancel each other out), no row is in two buckets, the buckets cover the keys
of both sides, and a reference that still replays its log is refused however quiet it is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import psycopg
from psycopg.rows import tuple_row

from actions.db.connect import Connections
from actions.db.diff_merge import Entry, merged
from actions.db.diff_shape import Incomparable, Shape, common_shape, full_name, in_recovery, quoted, read_shape

MOST_BUCKETS = 65_536
FEWEST_ROWS = 32  # in a bucket, if the keys leave no gaps
FETCHED = 5_000  # rows at a time
# One text for one value, whatever the server's defaults are; no index is believed, and no policy hides a row.
AS_TEXT = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL lc_monetary = 'C';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL row_security = off; SET LOCAL work_mem = '64MB'
"""
SETTINGS = f"""{AS_TEXT};
SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL constraint_exclusion = off; SET LOCAL search_path = '';
SET LOCAL statement_timeout = {{milliseconds}}; SET LOCAL idle_in_transaction_session_timeout = {{milliseconds}}
"""
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Kind(StrEnum):
    """What is different about a row of the database that serves, seen from the reference.

    `touched` is a changed row that says itself that it was changed after the moment of the reference; `twice` is a key that is
    there more than once on a side.
    """

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"
    TOUCHED = "touched"
    TWICE = "twice"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key whose rows differ. The key's values are texts; without a key it is the MD5 of the row.

    `found` and `wanted` are the row here and in the reference, as texts that can be cast to the table's type, if they were asked
    for with `rows`.
    """

    kind: Kind
    key: tuple[str | None, ...]
    found: str = ""
    wanted: str = ""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: where to connect, and the table's name there."""

    connections: Connections
    table: str


class Comparison:
    """The differences of a table, as an async context. `since` is the moment for which the reference stands.

    Raises `Incomparable` if the tables can't be compared, `DatabaseUnreachable` if a side doesn't answer or `seconds` are over.
    """

    source: Shape
    reference: Shape

    def __init__(
        self,
        source: Side,
        reference: Side,
        *,
        since: datetime | None = None,
        touched: str = "",
        rows: bool = False,
        seconds: float = 3600.0,
    ) -> None:
        self._sides = (source, reference)
        self._since = since
        self._touched = touched
        self._rows = rows
        self._seconds = seconds
        self._seed = secrets.randbits(62)
        self._stack = AsyncExitStack()
        self._connections: tuple[psycopg.AsyncConnection[Any], ...] = ()

    async def __aenter__(self) -> Self:
        """Open both snapshots and look at both tables."""
        try:
            opened = [await self._opened(side) for side in self._sides]
            self._connections = tuple(connection for connection, _ in opened)
            shapes = [await read_shape(connection, name, touched=self._touched) for connection, name in opened]
            self.source, self.reference = common_shape(*shapes)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._stack.__aexit__(*error)

    async def differences(self) -> AsyncIterator[list[Difference]]:
        """All differences in the order of the keys, some thousands at a time."""
        bucket = await self._bucket()
        sums = await asyncio.gather(*(self._sums(number, bucket) for number in (0, 1)))
        for side, found in zip(("the database that serves", "the reference"), sums, strict=True):
            if None in found:
                raise Incomparable(f"{found[None][0]} rows of {self.source.table} in {side} have no key, so nothing is compared.")
        buckets = sums[0].keys() | sums[1].keys()
        differing = [number for number in buckets if sums[0].get(number) != sums[1].get(number)]
        if differing:
            only = f"({bucket}) = ANY('{{{','.join(map(str, differing))}}}'::int8[])"
            only = "true" if len(differing) * 2 > len(buckets) else only
            here, there = (self._entries(number, only) for number in (0, 1))
            async for batch in merged(here, there, has_key=bool(self.source.key)):
                yield [Difference(kind=Kind(kind), key=key, found=found, wanted=wanted) for kind, key, found, wanted in batch]

    async def _opened(self, side: Side) -> tuple[psycopg.AsyncConnection[Any], str]:
        """A connection in a transaction of one snapshot, in which nobody can alter the table; and the table's full name."""
        session = side.connections.session("read", timeout=self._seconds)
        connection = await self._stack.enter_async_context(session)
        if side is self._sides[1] and await in_recovery(connection):
            raise Incomparable("The reference still replays its log, so what it holds isn't final. Wait until it has recovered.")
        name = await full_name(connection, side.table)
        await connection.execute(BEGIN)
        await connection.execute(
            f"LOCK TABLE {name} IN ACCESS SHARE MODE".encode()
        )  # before the snapshot, which the next one takes
        await connection.execute(SETTINGS.format(milliseconds=int(self._seconds * 1000)).encode())
        return connection, name

    async def _bucket(self) -> str:
        """The expression that gives each row its bucket, the same on both sides: a range of numbers, or a hash of the key."""
        key = self.source.sort_key
        if not self.source.by_number:
            rows = max(self.source.rows, self.reference.rows)
            buckets = min(max(1 << (rows // FEWEST_ROWS).bit_length(), 256), MOST_BUCKETS)
            return f"hashtextextended({key}, {self._seed}) & {buckets - 1}"
        ends = await asyncio.gather(*(self._ends(number) for number in (0, 1)))
        known = [end for found in ends for end in found if end is not None] or [0]
        shift = FEWEST_ROWS.bit_length() - 1
        while (max(known) >> shift) - (min(known) >> shift) >= MOST_BUCKETS:
            shift += 1
        return f"({key} >> {shift}) & {MOST_BUCKETS - 1}"

    async def _ends(self, number: int) -> tuple[int | None, int | None]:
        """The least and the greatest key of a side, as its index says at once. If it lies, buckets are only larger or smaller."""
        shape, key = self._shape(number), quoted(self.source.key[0])
        sql = f"SELECT min({key}), max({key}) FROM {shape.source}"
        try:
            async with self._connections[number].transaction(force_rollback=True):  # of the settings, too
                await self._connections[number].execute("SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on")
                (found,) = await self._ask(number, sql)
        except psycopg.Error:  # the index is damaged
            (found,) = await self._ask(number, sql)
        return found[0], found[1]

    async def _sums(self, number: int, bucket: str) -> dict[int | None, tuple[int, str]]:
        """How many rows each bucket of a side has, and the sum of their hashes."""
        shape = self._shape(number)
        hashed = f"hash_array_extended(ARRAY[{shape.bytes}], {self._seed})"
        sql = f"SELECT {bucket}, count(*), sum({hashed})::text FROM {shape.source} GROUP BY 1"
        return {found: (rows, total) for found, rows, total in await self._ask(number, sql)}

    async def _entries(self, number: int, only: str) -> AsyncIterator[list[Entry]]:
        """The key and hash of each row in the buckets, sorted by key. Of our own side also whether the row was touched since."""
        shape = self._shape(number)
        later = "false"
        if number == 0 and shape.touched and self._since:
            later = f"coalesce({quoted(shape.touched)} > '{self._since.astimezone(UTC).isoformat()}', false)"
        content = shape.content if self._rows else "''"
        columns = f"{shape.sort_key} AS sort_key, {self._hash(shape)}, {later}, {content}"
        columns += "" if shape.by_number else f", {shape.key_texts}"
        order = "sort_key" if shape.by_number else 'sort_key COLLATE "C"'
        sql = f"SELECT * FROM (SELECT {columns} FROM {shape.source} WHERE {only}) AS listed ORDER BY {order}"
        async with self._connections[number].cursor(name="dr_diff", row_factory=tuple_row) as cursor:
            await cursor.execute(sql.encode())
            while rows := await cursor.fetchmany(FETCHED // 10 if self._rows else FETCHED):
                if shape.by_number:
                    yield [(key, hashed, touched, (str(key),), row) for key, hashed, touched, row in rows]
                else:
                    yield [(sort_key, hashed, touched, tuple(key), row) for sort_key, hashed, touched, row, key in rows]

    def _hash(self, shape: Shape) -> str:
        return f"hashtextextended({shape.content}, {self._seed})"

    async def _ask(self, number: int, sql: str) -> list[tuple[Any, ...]]:
        async with self._connections[number].cursor(row_factory=tuple_row) as cursor:
            return await (await cursor.execute(sql.encode())).fetchall()

    def _shape(self, number: int) -> Shape:
        return (self.source, self.reference)[number]
