"""Recoveries in a healthy world: from the click to the effect on the wire, and from a kill to the run's next record."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from rehearsal.aws.ecs.api import ecs_handlers
from rehearsal.settings import inherited
from rehearsal.world import PRIMARY, Options, World
from tests.bench.acks import one
from tests.bench.figures import Figure, memory_mb
from tests.bench.subjects import ROOT, made, until

COMMAND = "control-plane restart anyway=yes"
RUNS, KILLS = 10, 5
Message = dict[str, Any]


async def measure(folder: Path) -> list[Figure]:
    """Runs and restarts of the bare script in turn, then kills, all in one world."""
    made(folder)
    async with World(Options(room=folder / "room", cache=folder / "cache", port=0)) as world:
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

    def __init__(self, world: World) -> None:
        self.world = world
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
            await until(lambda known=before: self.records() > known, "the run has moved on", timeout=30)
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
        await until(self.open_plan, "the plan stands in the channel")
        plan = self.open_plan()
        assert plan is not None
        await asyncio.sleep(0.3)  # a person reads; the outbox has nothing left to tell
        clicked = time.monotonic()
        answer, arrived = await asyncio.gather(
            slack.click("bob", "incident", plan["ts"], "dr_approve"), asyncio.wait_for(self.arrived, 30)
        )
        assert answer["acked"], answer
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
        await until(lambda: scheduler.primary.rollout == "COMPLETED", "the deployment is complete", timeout=60)
        await until(self.over, "the run is over", timeout=60)
        await asyncio.sleep(0.5)

    def over(self) -> bool:
        """Whether every card says that its run is done."""
        cards = [m for m in self.world.workspace.messages("incident") if m.get("blocks")]
        return all(m["text"].startswith("Done") for m in cards)

    def open_plan(self) -> Message | None:
        """The card that asks for an approval."""
        cards = self.world.workspace.messages("incident")
        return next((m for m in cards if "dr_approve" in json.dumps(m.get("blocks", []))), None)

    def records(self) -> int:
        """How many steps the engine has recorded, and lines the timeline has."""
        address = f"file:{self.world.room / 'state.sqlite'}?mode=ro"
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
