"""A fleet whose heartbeats go through a control plane into a database, and the bot's step runner: the whole way of a restart.

As a program, `python -m tests.world.agents_rig STATE JSON`, it carries the batches of a run out like a bot, to be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions.site import Agents, Aws, DatabaseSection, ServiceSection, Site
from actions.ssh.batch import RestartBatch
from actions.values import Outcome
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.log import set_up
from bot.state.database import open_engine
from bot.state.items import StoredItems, items_of
from bot.state.store import Store
from commands.agents.restart import batch_stages
from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.processes import Processes
from rehearsal.waiting import until

TOKEN = "fleet-secret"
RUN = "run-1"
STEP_KEYS = {"fresh_seconds": 1.5, "healthy_seconds": 0.3, "heartbeat_seconds": 3.0, "restart_seconds": 1.0}


def site_of(folder: Path, url: str, **changed: Any) -> Site:
    """dr.toml for a fleet whose files are in `folder`."""
    agents = {
        "inventory": str(folder / "agents.toml"),
        "key": str(folder / "agents_key"),
        "known_hosts": str(folder / "known_hosts"),
        "user": "dr",
        "unit": "shielda-agent",
        "heartbeat_url": f"{url}/api/agents/heartbeat",
        "heartbeat_table": "heartbeats",
    }
    service = ServiceSection(cluster="c", service="s", log_group="l", health_url=f"{url}/api/health")
    return Site(
        aws=Aws(region="us-west-2", endpoints={"us-west-2": "http://127.0.0.1:1"}, speed=50),  # of waits only
        services={"control-plane": service},
        databases={"primary": DatabaseSection(instance="shielda-prod")},
        agents=Agents(**agents | STEP_KEYS | changed),  # type: ignore[arg-type]
    )


@dataclass(kw_only=True)
class Bot:
    """A step runner with its state in a file."""

    world: World
    runner: StepRunner

    async def carry_out(self, step: RestartBatch, *, number: int = 1, attempt: int = 1, run: str = RUN) -> Outcome:
        """The outcome of a batch as the bot carries it out."""
        with items_of(run, f"{number}.1", attempt):
            applied = await self.runner.act(run, f"{number}.1", attempt, step)
            return await self.runner.verify(step, applied, self.world)

    async def states(self, run: str = RUN) -> dict[str, str]:
        """How each host of the run ended."""
        with items_of(run, "1.1", 1):
            return {name: item.state for name, item in (await self.world.items.known()).items()}


@asynccontextmanager
async def bot(site: Site, state: Path) -> AsyncIterator[Bot]:
    """A bot without Slack."""
    world, store = World(site), Store(open_engine(f"sqlite:///{state}"))
    world.items = StoredItems(store)
    yield Bot(world=world, runner=StepRunner(store, world))
    store.close()
    await world.close()


async def batches(world: World, names: Sequence[str], *, healthy_too: bool = False) -> list[RestartBatch]:
    """The batches of a plan for these hosts."""
    hosts = (await world.ssh.inventory()).named(names)
    stages = batch_stages(world.agents, hosts, healthy_too=healthy_too)
    return [step for (step,) in stages if isinstance(step, RestartBatch)]


@asynccontextmanager
async def control_plane(processes: Processes, database_url: str) -> AsyncIterator[str]:
    """A control plane that writes heartbeats; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "rehearsal.machines.control_plane", "--port", str(port)]
    environment = {**os.environ, "DATABASE_URL": database_url, "AGENT_TOKEN": TOKEN, "BEHAVIOUR": "good"}
    await processes.start("agents-control-plane", argv, env=environment, cwd=Path(__file__).parents[2])

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(listens, 30)
    yield f"http://127.0.0.1:{port}"
    await processes.stop("agents-control-plane")


def fleet_at(processes: Processes, folder: Path, url: str, hosts: int) -> Fleet:
    """A fleet that reports to a control plane five times a second."""
    heartbeats = f"{url}/api/agents/heartbeat"
    return Fleet(processes, folder, hosts=hosts, heartbeats=heartbeats, token=TOKEN, every=0.2)


async def _program(state: Path, told: dict[str, Any]) -> None:
    """Carry out every batch, from where a killed one stopped, until one fails; print how they ended."""
    set_up()
    site = site_of(Path(told["folder"]), told["url"], **told["changed"])
    async with bot(site, state) as ours:
        for number, step in enumerate(await batches(ours.world, told["hosts"]), 1):
            outcome = await ours.carry_out(step, number=number)
            if not outcome.ok:
                break
        sys.stdout.write(json.dumps({"says": outcome.says, "states": await ours.states()}))


if __name__ == "__main__":
    asyncio.run(_program(Path(sys.argv[1]), json.loads(sys.argv[2])))
