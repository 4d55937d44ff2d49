"""What must be true after the service has moved to another region, asked of databases, DNS servers and AWS, not of the bot."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.message
import psycopg

from rehearsal.aws.cloud import DATABASE_SECRET
from rehearsal.drills.catalogue import Drill
from rehearsal.two_regions import NAME, TARGETS, TwoRegions
from rehearsal.waiting import until
from rehearsal.world import Rehearsal

LINK_DOWN = (0.3, 8.0)  # seconds from the link's end to the region's, which is some heartbeats: what is written meanwhile is lost
BEATS_SECONDS = 60.0
BEATS = "SELECT count(*) FROM dr_heartbeat"


async def lose_a_region(world: Rehearsal) -> None:
    """The link to the replica breaks first, then the whole region; so there is something to lose."""
    await world.faults.put("replication-link-cut")
    await asyncio.sleep(world.random.uniform(*LINK_DOWN))
    await world.faults.put("region-down")


async def ready_to_move(world: Rehearsal) -> None:
    """Wait until the replica has a heartbeat of the bot's, which the loss is computed from; NotSeen if it gets none."""
    regions = _regions(world)

    async def beats() -> bool:
        async with await psycopg.AsyncConnection.connect(regions.databases()[regions.replica.name]) as connection:
            return (await (await connection.execute(BEATS)).fetchone() or (0,)) != (0,)

    await until(beats, BEATS_SECONDS, "a heartbeat of the bot's on the replica", every=0.2)


async def wrong_after_move(world: Rehearsal, drill: Drill, since: float) -> list[str]:
    """Everything that's wrong, as sentences. `since` is when the run was approved."""
    regions = _regions(world)
    return [*await _names(regions, drill), *_database(world, drill), *_writers(world, since)]


def instances(world: Rehearsal) -> list[dict[str, str]]:
    """Every instance there is now, in its region, as RDS has it."""
    return [
        {"what": f"instance {one.name} in {region}", "state": f"replica, {one.status}" if one.follows else one.status}
        for (region, _), one in sorted(world.rds.registry.instances.items())
    ]


async def _names(regions: TwoRegions, drill: Drill) -> list[str]:
    """Every authoritative server leads to the region that must serve now."""
    wrong = []
    for number, server in enumerate(regions.names.servers, 1):
        question = dns.message.make_query(f"{NAME}.", "CNAME", flags=0)
        answer, _ = await dns.asyncquery.udp_with_fallback(question, server.port.host, 5, server.port.port)
        leads = [records[0].target.to_text().rstrip(".") for records in answer.answer]
        if leads != [TARGETS[drill.serves]]:
            wrong.append(f"The name server {number} leads {NAME} to {', '.join(leads) or 'nothing'}.")
    return wrong


def _database(world: Rehearsal, drill: Drill) -> list[str]:
    """The secret of the region that serves leads to an available instance there, which follows nobody."""
    regions = _regions(world)
    leads = regions.secrets_of(drill.serves).address(DATABASE_SECRET)
    for one in world.rds.registry.of(drill.serves):
        if one.behind and (one.behind.host, one.behind.port) == leads:
            good = one.status in ("available", "backing-up") and not one.follows
            return (
                [] if good else [f"The secret leads to {one.name}, which is {one.status} and follows {one.follows or 'nobody'}."]
            )
    return [f"The secret in {drill.serves} leads to {leads[0]}:{leads[1]}, where no instance of that region is."]


def _writers(world: Rehearsal, since: float) -> list[str]:
    """One database takes writes now; and since the approval no second one has begun to, while another took them."""
    assert world.writers is not None
    now = world.writers.now
    wrong = [] if len(now) == 1 else [f"{', '.join(now) or 'No database'} take{'s' if not now else ''} writes at the end."]
    for one, other, begin, end in world.writers.spans.overlaps():
        if begin > since:
            wrong.append(f"{one} and {other} both took writes, for {end - begin:.1f} s.")
    return wrong


def _regions(world: Rehearsal) -> TwoRegions:
    assert world.regions is not None
    return world.regions
