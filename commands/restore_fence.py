"""The fence around the database that a restored copy replaces: whether the bot may build it, and what it means."""

from __future__ import annotations

from collections.abc import Iterator

from actions.db.closed import CloseDatabase, look_at
from actions.site import DatabaseRef
from actions.values import Facts, Finding, warn
from actions.world import World
from commands.facts import Fact, read
from commands.plan import Stage


async def read_fence(world: World, database: DatabaseRef) -> Fact[Facts]:
    """Whether the bot may close the database, as it says now."""
    return await read("The right to fence the old database", look_at(world, database))


def fence(database: DatabaseRef, seen: Fact[Facts] | None) -> Stage:
    """The step, unless it is known already that it must fail."""
    return () if seen and seen.value and seen.value["refusal"] else (CloseDatabase(database=database),)


def fence_findings(database: DatabaseRef, seen: Fact[Facts] | None) -> Iterator[Finding]:
    """What the approver should know about it."""
    if seen is None:
        return
    if seen.value is None:
        yield warn(f"I can't tell whether I may fence {database.instance} at the end; that step may fail then.", seen.error)
    elif seen.value["refusal"]:
        yield warn(
            f"{database.instance} is not fenced at the end: who connects to it later can write there.", seen.value["refusal"]
        )
