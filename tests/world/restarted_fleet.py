"""A fleet whose agents are restarted, and how often each was."""

from __future__ import annotations

from typing import Any

from actions.ssh.batch import RestartBatch
from rehearsal.fleet.fleet import Fleet
from rehearsal.waiting import until
from tests.world.agents_rig import Bot

HOSTS = 24


class NoMemory:
    """A bot that has done nothing yet."""

    async def recoveries(self) -> list[Any]:
        return []

    async def verifications(self) -> list[Any]:
        return []


async def counts(fleet: Fleet) -> dict[str, int]:
    return {name: host["restarts"] for name, host in (await fleet.report()).items()}


async def since(fleet: Fleet, before: dict[str, int]) -> dict[str, int]:
    """How often each agent was restarted since then, without those that were not."""
    return {name: number - before[name] for name, number in (await counts(fleet)).items() if number != before[name]}


async def down(fleet: Fleet, ours: Bot, *numbers: int) -> tuple[list[str], dict[str, int]]:
    """These agents are down, long enough to be offline; returns their names, and the restarts so far."""
    from actions.ssh.heartbeats import heartbeats

    names = [f"agent-{number:04d}" for number in numbers]
    everybody = await counts(fleet)

    async def fresh() -> set[str]:
        return (await heartbeats(ours.world, everybody)).fresh(ours.world.agents.fresh_seconds)

    async def all_fresh() -> bool:
        return await fresh() == set(everybody)

    async def none_of_them() -> bool:
        return not await fresh() & set(names)

    await until(all_fresh, 20, "heartbeats of the whole fleet", every=0.1)
    await fleet.order(do="fall", hosts=names)
    await until(none_of_them, 20, "silence", every=0.1)
    return names, await counts(fleet)


def batch(names: list[str], *, budget: int = 5, batch_budget: int = 0, docker: bool = False) -> RestartBatch:
    return RestartBatch(
        systemd=() if docker else tuple(names),
        docker=tuple(names) if docker else (),
        systemd_line="timeout -k 2 1 sudo -n systemctl restart shielda-agent",
        docker_line="timeout -k 2 1 sudo -n docker restart shielda-agent",
        batch=1,
        of=2,
        budget=budget,
        batch_budget=batch_budget,
        healthy_too=False,
    )
