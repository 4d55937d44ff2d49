"""`/dr targets`: what was promised, and what AWS, the databases and the bot's own record say about it now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from actions.aws import backups
from actions.aws.backups import AUTOMATED
from actions.db.heartbeat import position
from actions.world import World
from commands.facts import read
from commands.memory import Memory
from commands.report import SOURCE_SECONDS, Line, report
from commands.shared import chosen_database
from commands.targets.lines import lines
from commands.targets.seen import Meant, Seen


@report("targets")
async def targets(world: World, memory: Memory, *, database: str = "") -> list[Line]:
    """Say which recovery targets are met, missed or unknown, each with its figure and source."""
    meant = Meant.of(world.site, chosen_database(world, database))
    return list(lines(world.site.targets, await look(world, memory, meant)))


async def look(world: World, memory: Memory, meant: Meant) -> Seen:
    """Read all sources at once, each with a deadline."""
    primary, replica, table = meant.primary, meant.replica, meant.heartbeat_table
    asked: dict[str, tuple[str, Awaitable[Any]]] = {
        "primary": (f"RDS in {primary.region}", backups.protection(world, primary.instance, primary.region)),
        "snapshots": ("The list of snapshots", backups.snapshots(world, primary.instance, primary.region, AUTOMATED)),
        "recoveries": ("The bot's record of runs", memory.recoveries()),
        "verifications": ("The bot's record of verifications", memory.verifications()),
    }
    if replica:
        about = f"RDS in {replica.region}, about the replica,"
        asked["replica"] = (about, backups.protection(world, replica.instance, replica.region))
        asked["replayed"] = ("The replica", position(world, replica, table=table))
    if replica and table:
        asked["beats"] = ("The primary database", position(world, primary, table=table))
    facts = await asyncio.gather(*(read(source, question, timeout=SOURCE_SECONDS) for source, question in asked.values()))
    found = dict.fromkeys(("replica", "replayed", "beats")) | dict(zip(asked, facts, strict=True))
    return Seen(meant=meant, **found)
