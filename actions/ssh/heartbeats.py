"""Heartbeats of agents as the server has them: the newest row of each agent, by the database's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actions.world import World

SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Beats:
    """The newest heartbeat of each agent that was asked for, None if it never sent one, and the database's time."""

    now: datetime
    newest: Mapping[str, datetime | None]

    def age(self, agent: str) -> float | None:
        """How many seconds old an agent's newest heartbeat is; None if there is none."""
        at = self.newest.get(agent)
        return None if at is None else (self.now - at).total_seconds()

    def fresh(self, seconds: float) -> set[str]:
        """The agents whose newest heartbeat is no older."""
        return {agent for agent in self.newest if (age := self.age(agent)) is not None and age <= seconds}

    def since(self, moment: datetime) -> dict[str, datetime]:
        """The newest heartbeats of the agents that have one at or after a moment of the database's clock."""
        return {agent: at for agent, at in self.newest.items() if at is not None and at >= moment}


async def heartbeats(world: World, agents: Iterable[str], *, seconds: float = SECONDS) -> Beats:
    """Ask for the newest heartbeats, with one query. Raises `DatabaseUnreachable`."""
    site, names = world.agents, list(agents)
    table = site.heartbeat_table  # checked to be a plain name
    rows = await world.database(world.site.database(site.database)).ask(
        f"""SELECT named.agent, newest.at, clock_timestamp() AS now FROM unnest(%s::text[]) AS named(agent)
        LEFT JOIN LATERAL (SELECT at FROM {table} WHERE {table}.agent = named.agent
          ORDER BY at DESC NULLS LAST LIMIT 1) AS newest ON true
        UNION ALL SELECT NULL, NULL, clock_timestamp()""",
        [names],
        timeout=seconds,
    )
    newest = {row["agent"]: row["at"] for row in rows if row["agent"] is not None}
    return Beats(now=next(row["now"] for row in rows if row["agent"] is None), newest=newest)
