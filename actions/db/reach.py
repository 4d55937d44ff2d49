"""Connections to a database at the address that RDS gives: a restored copy is in no DSN yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actions.errors import Unreachable

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.site import DatabaseRef
    from actions.world import World


async def connect_to(world: World, database: DatabaseRef) -> Connections:
    """Connections to an instance by its own DSN if dr.toml has one for it, so that RDS need not answer; else as `reach` does."""
    section = world.site.databases.get(database.name)
    if section and section.instance == database.instance:
        return world.database(database)
    return await reach(world, database)


async def reach(world: World, database: DatabaseRef, *, name: str = "") -> Connections:
    """Connections with this database's DSN, but to the host and port that RDS gives for its instance. Raises `Unreachable`.

    `name` is a database on that instance if it is another one than the DSN's.
    """
    from actions.aws.instances import find_instance
    from actions.db.connect import Connections

    found = await find_instance(world, database.instance, database.region)
    if found is None or not found.host:
        state = f"it is {found.status}" if found else "there is none"
        raise Unreachable(f"RDS in {database.region} gives no address for {database.instance}: {state}.")
    return Connections(database, world.gate, address=(found.host, found.port), name=name)
