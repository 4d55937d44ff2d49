"""The fleet as a drill sees it: by the heartbeats in the database and by what the hosts count, not by what the bot says."""

from __future__ import annotations

import psycopg

from rehearsal.aws.cloud import PRIMARY
from rehearsal.aws.journal import Effect
from rehearsal.world import Rehearsal

SILENT_SECONDS = 6  # a second more than the bot's settings take for offline
FRESH = "SELECT count(DISTINCT agent) FROM heartbeats WHERE at > now() - make_interval(secs => %s)"
LONGEST = """
SELECT coalesce(max(extract(epoch FROM gap)), 0) FROM (
  SELECT at - lag(at) OVER (PARTITION BY agent ORDER BY at) AS gap FROM heartbeats) AS gaps
"""


async def silent(world: Rehearsal) -> bool:
    """Whether no agent has sent a heartbeat for so long that all count as offline."""
    return await _number(world, FRESH, SILENT_SECONDS) == 0


async def longest_silence(world: Rehearsal) -> float:
    """For how many seconds the agent that was silent for longest was silent."""
    return await _number(world, LONGEST)


async def wrong_with_fleet(world: Rehearsal, restarted: int) -> list[str]:
    """Everything that's wrong with the agents, of which so many had to be restarted, as sentences."""
    assert world.fleet is not None
    hosts = await world.fleet.report()
    wrong = [f"{name} sends no heartbeats." for name, host in hosts.items() if not host["beats"]]
    wrong += [f"{name} was restarted {host['restarts']} times." for name, host in hosts.items() if host["restarts"] > 1]
    once = sum(host["restarts"] == 1 for host in hosts.values())
    if once != restarted:
        wrong.append(f"{once} agents were restarted, and {restarted} had to be.")
    if await _number(world, FRESH, SILENT_SECONDS) != len(hosts):
        wrong.append("The database has no fresh heartbeats of some agents.")
    return wrong


async def restarts(world: Rehearsal) -> list[Effect]:
    """How often agents were restarted, as the hosts counted it."""
    if world.fleet is None:
        return []
    number = sum(host["restarts"] for host in (await world.fleet.report()).values())
    return [Effect(service="ssh", operation="restart", region=PRIMARY, count=number)] if number else []


async def _number(world: Rehearsal, query: str, *parameters: float) -> float:
    async with await psycopg.AsyncConnection.connect(world.live_dsn("postgres"), connect_timeout=5) as connection:
        row = await (await connection.execute(query.encode(), parameters)).fetchone()
    assert row is not None
    return float(row[0])
