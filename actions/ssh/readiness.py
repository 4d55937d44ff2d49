"""Whether a restart would work tonight: sign in to a few hosts, and ask whether they would allow it. Nothing is changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actions.errors import ActionError
from actions.ssh import lines
from actions.ssh.inventory import Host
from actions.ssh.restarts import state
from actions.ssh.rollout import spread
from actions.values import Finding, count, ok, stop

if TYPE_CHECKING:
    from actions.world import World

ASKED = 4


async def readiness(world: World) -> list[Finding]:
    """A finding for each of a few hosts that are as different as can be. Raises `Unreachable` if the inventory can't be used."""
    known = await world.ssh.inventory()
    asked = spread(list(known.hosts.values()))[:ASKED]
    found = await asyncio.gather(*(_ready(world, host) for host in asked))
    if all(finding is None for finding in found):
        return [ok(f"The inventory lists {count(len(known.hosts), 'host')}; the {len(asked)} that were asked allow a restart.")]
    return [finding for finding in found if finding is not None]


async def _ready(world: World, host: Host) -> Finding | None:
    """What would be in the way on this host; None if nothing is."""
    try:
        async with world.ssh.session(host) as session:
            await state(world, session)
            allowed = await session.run(lines.may_restart(world.agents, host))
    except ActionError as error:
        return stop(str(error))
    if allowed.good:
        return None
    return stop(f"{host} would not allow the restart: {allowed.says}. docs/how-to/agents.md has the line for sudoers.")
