"""Recoveries in a healthy world: from the click to the effect on the wire, and from a kill to the run's next record."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from rehearsal.aws.ecs.api import ecs_handlers
from rehearsal.people import People
from rehearsal.settings import inherited
from rehearsal.waiting import until
from rehearsal.world import PRIMARY, Options, Rehearsal
from tests.bench.acks import one
from tests.bench.figures import Figure, memory_mb
from tests.bench.subjects import LOOK_SECONDS, ROOT, made

COMMAND = "control-plane restart anyway=yes"
RUNS, KILLS = 10, 5
Message = dict[str, Any]


async def measure(folder: Path) -> list[Figure]:
    """Runs and restarts of the bare script in turn, then kills, all in one world."""
    made(folder)
    async with Rehearsal(Options(work_dir=folder / "work", cache=folder / "cache", port=0)) as world:
        await world.witness.healthy()
        recoveries = Recoveries(world)
        script = await bare_script(world.endpoints[PRIMARY])
        try:
            clicks = await recoveries.clicks(script)
        finally:
            script.kill()
            await script.wait()
        return [*clicks, *await recoveries.kills()]


class Recoveries:
    """Acts as Alice, who asks, and Bob, who approves; notes when a change arrives at AWS."""

    def __init__(self, world: Rehearsal) -> None:
        self.world = world
        self.people = People(world.workspace)
        self.arrived = asyncio.get_running_loop().create_future()
        self.planning_acks: list[float] = []
        changes = ecs_handlers([world.ecs])["UpdateService"]

        def stamped(region: str, params: dict[str, Any]) -> Any:
            self.arrived.set_result(time.monotonic())
            return changes(region, params)

        world.front.add("ecs", {"UpdateService": stamped})

    async def clicks(self, script: asyncio.subprocess.Process) -> list[Figure]:
        """From the click, or the line to the bare script, to UpdateService at AWS's door."""
        ours, bare, memory = [], [], 0.0
        for _ in range(RUNS + 1):
            ours.append(await self.approved())
            await self.settled()
            memory = memory or memory_mb(self.world.processes.pid("bot") or 0)
            bare.append(await self.by_script(script))
            await self.settled()
        acks, worst = self.planning_acks[1:], max(ours[1:])
        note = f"the slowest of {RUNS} took {worst * 1000:.0f} ms, the first after the start {ours[0] * 1000:.0f} ms"
        return [
            Figure(
                name="Approve click to first effect, p50",
                value=median(ours[1:]) * 1000,
                bare=median(bare[1:]) * 1000,
                unit="ms",
                aim=100,
                note=note,
            ),
            Figure(name="Command to ack, planning follows, p50", value=median(acks), unit="ms", note=f"`/dr {COMMAND}`"),
            Figure(name="Memory, after one run", value=memory, unit="MB", aim=130),
        ]

    async def kills(self) -> list[Figure]:
        """SIGKILL when the effect is on the wire, a new process at once, and the run's next record on disk."""
        since_kill, since_start = [], []
        for _ in range(KILLS):
            await self.approved()
            killed = time.monotonic()
            await self.world.kill_bot()
            before = self.records()
            started = time.monotonic()
            await self.world.start_bot()
            await until(lambda known=before: self.records() > known, 30, "a run that moves on", every=LOOK_SECONDS)
            since_kill.append(time.monotonic() - killed)
            since_start.append(time.monotonic() - started)
            await self.settled()
        return [
            Figure(name="kill -9 to the next step moving", value=median(since_kill), unit="s", aim=3.0),
            Figure(name="Start after a kill to the next step moving", value=median(since_start), unit="s", aim=3.0),
        ]

    async def approved(self) -> float:
        """Ask, approve, and return the seconds from the click to the effect on the wire."""
        slack = self.world.workspace
        self.arrived = asyncio.get_running_loop().create_future()
        self.planning_acks.append(await one(slack, COMMAND))
        (plan,) = await until(self.people.open_plans, 30, "a plan to approve", every=LOOK_SECONDS)
        await asyncio.sleep(0.3)  # a person reads; the outbox has nothing left to tell
        clicked = time.monotonic()
        _, arrived = await asyncio.gather(self.people.click("bob", plan, "dr_approve"), asyncio.wait_for(self.arrived, 30))
        return float(arrived) - clicked

    async def by_script(self, script: asyncio.subprocess.Process) -> float:
        """Seconds from the line to the bare script to the effect on the wire."""
        assert script.stdin is not None
        assert script.stdout is not None
        self.arrived = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        script.stdin.write(b"restart\n")
        arrived = await asyncio.wait_for(self.arrived, 30)
        await script.stdout.readline()
        return float(arrived) - began

    async def settled(self) -> None:
        """Wait until every run is over and told, and the deployment is complete."""
        scheduler = self.world.ecs.scheduler
        await until(lambda: scheduler.primary.rollout == "COMPLETED", 60, "a complete deployment")
        await until(self.over, 60, "the end of the run")
        await asyncio.sleep(0.5)

    def over(self) -> bool:
        """Whether every card says that its run is done."""
        return all(self.people.title(run) == "Done" for run in self.people.ids())

    def records(self) -> int:
        """How many steps the engine has recorded, and lines the timeline has."""
        address = f"file:{self.world.work_dir / 'state.sqlite'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as state:
            query = "SELECT (SELECT count(*) FROM operation_outputs) + (SELECT count(*) FROM dr_timeline)"
            return int(state.execute(query).fetchone()[0])


async def bare_script(endpoint: str) -> asyncio.subprocess.Process:
    """The bare script, warm."""
    argv = [sys.executable, "-m", "tests.bench.bare_script"]
    env = {**inherited(), "AWS_ENDPOINT": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    await process.stdout.readline()
    return process
