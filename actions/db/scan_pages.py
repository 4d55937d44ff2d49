"""Which pages of a table can't be read, found by halving: so people know exactly what is lost, and what is still there."""

from __future__ import annotations

from dataclasses import dataclass, field

from actions.db.integrity_ask import Asker
from actions.errors import Unreachable
from actions.values import count

MOST_QUESTIONS = 400
MOST_LINES = 291  # rows that a page of 8 KiB can hold, and a few more than fit into any other
NAMED = 10
SIZE = "SELECT (pg_relation_size(%s::regclass) / current_setting('block_size')::int)::int8 AS blocks"
READ = """
SELECT count(*) AS rows, coalesce(sum(octet_length((dr_row.*)::text)), 0)::int8 AS bytes
FROM ONLY {table} AS dr_row WHERE ctid >= '({block},{line})' AND ctid < '({to_block},{to_line})'
"""
COUNT = "SELECT count(*) AS rows FROM ONLY {table} AS dr_row WHERE ctid >= '({block},0)' AND ctid < '({to_block},0)'"


@dataclass(kw_only=True)
class Pages:
    """What can't be read of a table: whole blocks, and single rows of other blocks by their ctid. `rows` can be read.

    It isn't `complete` if the time was over, or too much is damaged to look at everything.
    """

    blocks: int = 0
    rows: int = 0
    damaged: list[int] = field(default_factory=list)
    damaged_rows: list[str] = field(default_factory=list)
    complete: bool = True

    def __str__(self) -> str:
        found = [f"block {_named(self.damaged)}"] if self.damaged else []
        found += [f"the row at {_named(self.damaged_rows)}"] if self.damaged_rows else []
        if not found:
            return "Which pages are damaged could not be found out."
        least = "" if self.complete else "at least "
        says = f"Unreadable: {least}{' and '.join(found)}, of {count(self.blocks, 'block')}."
        return f"{says} {least.capitalize()}{count(self.rows, 'row')} can still be read."


async def damaged_pages(asker: Asker, table: str) -> Pages:
    """What can't be read of the table. Asks at most `MOST_QUESTIONS`, each in a transaction of its own; never raises."""
    return await _Search(asker, table).run()


class _Search:
    def __init__(self, asker: Asker, table: str) -> None:
        self._asker = asker
        self._table = table
        self._left = MOST_QUESTIONS
        self._pages = Pages()

    async def run(self) -> Pages:
        try:
            self._pages.blocks = (await self._ask(SIZE, [self._table]))[0]["blocks"]
            await self._blocks(0, self._pages.blocks)
        except (_OutOfQuestions, Unreachable):
            self._pages.complete = False
        return self._pages

    async def _blocks(self, first: int, end: int) -> None:
        """Read these blocks; if that fails, read their halves, and of a single block its rows."""
        if first >= end or await self._read(first, 0, end, 0):
            return
        if end - first > 1:
            middle = (first + end) // 2
            await self._blocks(first, middle)
            await self._blocks(middle, end)
        elif await self._is_page_whole(first):
            await self._lines(first, 1, MOST_LINES + 1)
        else:
            self._pages.damaged.append(first)

    async def _lines(self, block: int, first: int, end: int) -> None:
        """The same for rows of one block: the page is whole, and a long value of a row is not."""
        if await self._read(block, first, block, end):
            return
        if end - first > 1:
            middle = (first + end) // 2
            await self._lines(block, first, middle)
            await self._lines(block, middle, end)
        else:
            self._pages.damaged_rows.append(f"({block},{first})")

    async def _read(self, block: int, line: int, to_block: int, to_line: int) -> bool:
        """Whether these rows can be read; they are counted then."""
        sql = READ.format(table=self._table, block=block, line=line, to_block=to_block, to_line=to_line)
        rows = await self._answer(sql)
        self._pages.rows += rows or 0
        return rows is not None

    async def _is_page_whole(self, block: int) -> bool:
        return await self._answer(COUNT.format(table=self._table, block=block, to_block=block + 1)) is not None

    async def _answer(self, sql: str) -> int | None:
        """The number of rows; None if the server can't read them. Raises `Unreachable` if it can't be asked any more."""
        try:
            return int((await self._ask(sql))[0]["rows"])
        except Unreachable:
            if self._asker.gone:
                raise
            return None

    async def _ask(self, sql: str, parameters: list[str] | None = None) -> list[dict[str, int]]:
        if self._left <= 0:
            raise _OutOfQuestions
        self._left -= 1
        return list(await self._asker.ask(sql, parameters, by_place=True))


class _OutOfQuestions(Exception):
    """So much is damaged that looking on would take too long."""


def _named(found: list[int] | list[str]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{', '.join(str(one) for one in found[:NAMED])}{more}"
