"""The finding that a delayed replica still stands before the damage: using it takes minutes, a restore takes an hour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from actions.db.delayed import PAUSE, Delay, delay_of
from actions.db.psql import psql
from actions.site import DatabaseRef
from actions.values import Finding, ok, warn
from actions.world import World
from commands.facts import Fact, read
from commands.moments import clock
from commands.report import span


async def read_delay(world: World, database: DatabaseRef) -> Fact[Delay] | None:
    """The delay of the database's replica; None if dr.toml names none."""
    name = world.site.databases[database.name].replica
    if not name:
        return None
    return await read(f"The replica {name}", delay_of(world, world.site.database(name)))


def delay_findings(world: World, database: DatabaseRef, found: Fact[Delay] | None, at: datetime) -> Iterator[Finding]:
    """What a delayed replica means for going back to `at`; nothing for a replica that isn't delayed."""
    if found is None:
        return
    if not found.known:
        yield found.missing()
    elif found.value and found.value.seconds and found.value.stands_at:
        replica = world.site.database(world.site.databases[database.name].replica)
        delay, stands = span(found.value.seconds), found.value.stands_at
        says = f"{replica.instance} is a replica that is delayed by {delay} on purpose. It stands at {clock(stands)}"
        if stands <= at:
            yield warn(
                f"{says}, before that moment. To copy rows from it, or to promote it, takes minutes, while a restore takes up to "
                "an hour: pause its replay now, before it replays the damage, and decide then.",
                psql(PAUSE, replica.dsn_env),
            )
        else:
            yield ok(f"{says}, after that moment, so it has replayed what this restore gives up.")
