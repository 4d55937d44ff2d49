"""Two sorted lists of rows become one list of differences. Pure: it knows neither PostgreSQL nor tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

Key = tuple[str | None, ...]
Entry = tuple[Any, int, bool, Key, str]  # what rows are sorted by, the row's hash, whether changed since, its key, and its text
Found = tuple[
    str, Key, str, str
]  # a kind, the key, the row as we have it, and as they do; "" if it isn't there or wasn't fetched
MISSING, EXTRA, CHANGED, TOUCHED, TWICE = "missing", "extra", "changed", "touched", "twice"


async def merged(
    ours: AsyncIterator[list[Entry]], theirs: AsyncIterator[list[Entry]], *, has_key: bool = True
) -> AsyncIterator[list[Found]]:
    """What is different about our rows, seen from theirs, as kinds and keys in the order of the keys, in batches.

    Both lists are sorted, and each comes in batches. Without a key rows are sorted by their content, and are only missing or
    extra, as often as one side has more of them.
    """
    left, right = _Rows(ours), _Rows(theirs)
    while left.more or right.more:
        await asyncio.gather(left.fill(), right.fill())  # both servers work at the same time
        if found := _step(left, right, has_key=has_key):
            yield found


class _Rows:
    """The rows that were fetched and not compared yet. `more` may come as long as the list has not ended."""

    def __init__(self, batches: AsyncIterator[list[Entry]]) -> None:
        self._batches = batches
        self.rows: list[Entry] = []
        self.ended = False
        self.wanted = True

    @property
    def more(self) -> bool:
        return bool(self.rows) or not self.ended

    async def fill(self) -> None:
        """Fetch the next batch, if it is needed to go on."""
        if self.wanted and not self.ended:
            batch = await anext(self._batches, None)
            self.ended = batch is None
            self.rows += batch or []

    def group(self, first: int) -> int:
        """Where the rows with the same key end that begin there; -1 if the next batch has to tell."""
        rows, end = self.rows, first + 1
        if first < len(rows):
            key = rows[first][0]
            while end < len(rows) and rows[end][0] == key:
                end += 1
        self.wanted = end >= len(rows) and not self.ended
        return -1 if self.wanted else min(end, len(rows))


def _step(left: _Rows, right: _Rows, *, has_key: bool) -> list[Found]:
    """Compare as far as both sides are fetched."""
    found: list[Found] = []
    ours, theirs, i, j = left.rows, right.rows, 0, 0
    while (i < len(ours) or j < len(theirs)) or not (left.ended and right.ended):
        a, b = left.group(i), right.group(j)
        if a < 0 or b < 0:
            break
        if j == len(theirs) or (i < len(ours) and ours[i][0] < theirs[j][0]):
            found += [(EXTRA, entry[3], entry[4], "") for entry in ours[i:a]]
            i = a
        elif i == len(ours) or theirs[j][0] < ours[i][0]:
            found += [(MISSING, entry[3], "", entry[4]) for entry in theirs[j:b]]
            j = b
        else:
            if a - i != 1 or b - j != 1 or ours[i][1] != theirs[j][1]:
                found += (_compared if has_key else _counted)(ours[i:a], theirs[j:b])
            i, j = a, b
    left.rows, right.rows = ours[i:], theirs[j:]
    return found


def _compared(ours: list[Entry], theirs: list[Entry]) -> list[Found]:
    """The difference of rows with the same key, normally one on each side."""
    if len(ours) == len(theirs) == 1:
        return [(TOUCHED if ours[0][2] else CHANGED, ours[0][3], ours[0][4], theirs[0][4])]
    same = sorted(entry[1] for entry in ours) == sorted(entry[1] for entry in theirs)
    return [] if same else [(TWICE, ours[0][3], "", "")]


def _counted(ours: list[Entry], theirs: list[Entry]) -> list[Found]:
    more = len(ours) - len(theirs)
    return [(EXTRA if more > 0 else MISSING, ours[0][3], "", "")] * abs(more)
