"""What is kept of a database's region while all is well, for the time when nobody there answers."""

from __future__ import annotations

import asyncio

from actions.aws.deployments import describe_service
from actions.aws.promotion import describe_replica
from actions.db.counts import facts_name, small_counts
from actions.db.replication import written
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.values import Json
from actions.world import World
from commands.keeping import Named, keeps


@keeps
async def keep(world: World) -> list[Named]:
    """The facts of each database that has a replica. Raises if its region doesn't answer whole."""
    named = [(name, section) for name, section in world.site.databases.items() if section.replica]
    facts = await asyncio.gather(*(_facts(world, world.site.database(name)) for name, _ in named))
    return [(facts_name(name), found) for (name, _), found in zip(named, facts, strict=True)]


async def _facts(world: World, primary: DatabaseRef) -> dict[str, Json]:
    connections = world.database(primary)
    if (await connections.state()).read_only:
        raise Unreachable(f"{primary.instance} takes no writes, so what it holds isn't what is worth keeping.")
    replica = world.site.database(world.site.databases[primary.name].replica)
    if not (await world.database(replica).state()).in_recovery:
        raise Unreachable(f"{replica.instance} is no longer a replica, so {primary.instance} isn't what serves.")
    instance, position, rows, tasks = await asyncio.gather(
        describe_replica(world, primary, briefly=True), written(connections), small_counts(connections), _tasks(world, primary)
    )
    return {
        "rows": rows,
        "tasks": tasks,
        "flushed": position.flushed,
        "arn": instance.arn,
        "settings": dict(instance.settings),
        "tags": dict(instance.tags),
    }


async def _tasks(world: World, primary: DatabaseRef) -> dict[str, int]:
    """How many tasks each service of the database wants; one that is stopped on purpose keeps its earlier figure."""
    found = {}
    for site in world.site.users_of(primary):
        service = await describe_service(world, site.cluster, site.service, primary.region, briefly=True)
        found[site.service] = service.desired
    return found
