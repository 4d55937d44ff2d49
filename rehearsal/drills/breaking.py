"""How a drill begins: its fault, and the moment from which people can act on it."""

from __future__ import annotations

import asyncio
from functools import partial

from rehearsal.drills.catalogue import Drill
from rehearsal.drills.moved import lose_a_region, ready_to_move
from rehearsal.drills.silenced import silent
from rehearsal.waiting import until
from rehearsal.world import Rehearsal

OUTAGE_SECONDS = 20.0
SILENCE_SECONDS = 60.0
NO_BEAT, NO_BEAT_SECONDS = "heartbeat_not_written", 30.0  # before, a plan can only say that the loss may be anything
ARCHIVED_SECONDS = 600.0  # RDS uploads its logs every five minutes, or sooner by the rehearsal's speed


async def break_it(world: Rehearsal, drill: Drill) -> str:
    """Cause the drill's fault, if any, and wait until it shows; returns the command that people then type. NotSeen if it doesn't.

    Wrong data show as soon as a restore to the moment before is possible: an earlier command would be refused.
    """
    if drill.shows == "region":
        return await _region(world, drill)
    if drill.fault:
        await world.faults.put(drill.fault)
    if drill.shows == "nothing":
        return drill.command
    if drill.shows == "outage":
        await until(lambda: world.witness.sees_outage, OUTAGE_SECONDS, "an outage")
        await asyncio.sleep(drill.pause)
        return drill.command
    if drill.shows == "agents":
        await until(partial(silent, world), SILENCE_SECONDS, "agents that are silent", every=0.2)
        return drill.command
    incident = (world.faults.injuries.corruptions if drill.shows == "table" else world.faults.data.incidents)[-1]
    await world.database.backups.archive.covers(incident.committed_at, ARCHIVED_SECONDS)
    await asyncio.sleep(drill.pause)
    return drill.command.format(before=incident.began_at.isoformat(), table=getattr(incident, "table", ""))


async def _region(world: Rehearsal, drill: Drill) -> str:
    """A region is lost, or is to be left while all is well."""
    if not drill.after:
        await ready_to_move(world)
    if drill.fault:
        await lose_a_region(world)
        await until(lambda: world.witness.sees_outage, OUTAGE_SECONDS, "an outage")
        await until(lambda: NO_BEAT in world.bot_log.read_text(), NO_BEAT_SECONDS, "a heartbeat that the bot could not write")
        await asyncio.sleep(drill.pause)
    return drill.command
