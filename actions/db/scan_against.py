"""A database beside a restored copy: how many rows of each table are missing, other, or newer. Changes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actions.db.connect import Connections
from actions.db.diff import Comparison, Side
from actions.db.reach import reach
from actions.errors import ActionError, Unreachable
from actions.site import DatabaseRef

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How many rows of a table differ in which way, with the keys of some; or why it could not be compared."""

    table: str
    counts: Mapping[str, int] = field(default_factory=dict)
    some: Mapping[str, Sequence[str]] = field(default_factory=dict)
    error: str = ""


SOME = 5


async def compare(
    world: World, database: DatabaseRef, copy: DatabaseRef, tables: Sequence[str], *, seconds: float
) -> list[Compared]:
    """Compare the tables one by one, within so many seconds. Never raises for an expected failure: that is a result, too."""
    ends, found = time.monotonic() + seconds, list[Compared]()
    try:
        theirs = await reach(world, copy)
    except Unreachable as error:
        return [Compared(table=table, error=str(error).rstrip(".")) for table in tables]
    for table in tables:
        left = ends - time.monotonic()
        if left <= 1:
            found.append(Compared(table=table, error="the time is over"))
            continue
        world.progress(f"Comparing {table} with {copy.instance}")
        try:
            found.append(await _compare(world.database(database), theirs, table, left))
        except ActionError as error:
            found.append(Compared(table=table, error=str(error).rstrip(".")))
    return found


async def _compare(ours: Connections, theirs: Connections, table: str, seconds: float) -> Compared:
    sides = [Side(connections=one, table=table) for one in (ours, theirs)]
    counts, some = Counter[str](), dict[str, list[str]]()
    async with Comparison(*sides, seconds=seconds) as comparison:
        async for batch in comparison.differences():
            for one in batch:
                counts[one.kind.value] += 1
                if counts[one.kind.value] <= SOME:
                    some.setdefault(one.kind.value, []).append(", ".join(str(part) for part in one.key))
    return Compared(table=table, counts=dict(counts), some=some)
