"""A region is left, beside a bare script; and a region that is gone: from the command to the plan."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from rehearsal.aws.cloud import PRIMARY, SECOND
from rehearsal.drills.moved import ready_to_move
from rehearsal.people import HOLD_YES, People
from rehearsal.settings import inherited
from rehearsal.two_regions import TwoRegions
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal
from tests.bench.bare_switchover import TARGET, leads
from tests.bench.figures import Figure
from tests.bench.subjects import LOOK_SECONDS, ROOT, made

COMMAND, ROUNDS, PLANS = "region failover", 3, 3
SPEED = 5.0  # as for the restores: the faster AWS is, the more the bot's own seconds count
RATIO_AIM, PLAN_AIM = 1.1, 6.0
OURS_ALONE = ("Count the rows", "Check the integrity")  # what the bare script doesn't look at


async def measure(folder: Path) -> list[Figure]:
    """Switchovers in turns, then plans in a world without its first region."""
    made(folder)
    options = Options(work_dir=folder / "work", cache=folder / "cache", port=0, speed=SPEED, two_regions=True, reports=False)
    async with Rehearsal(options) as world:
        await world.witness.healthy()
        ours, bare, whole = [], [], []
        for _ in range(ROUNDS):
            await ready_to_move(world)
            bare.append(await outage(world, by_script(world)))
            await restore(world)
            await ready_to_move(world)
            checks: list[float] = []
            whole.append(await outage(world, by_bot(world, checks)))
            ours.append(whole[-1] - sum(checks))
            await restore(world)
        plans = await without_region(world)
    note = (
        f"with the counts and the integrity suite, which the script leaves out, {median(whole):.1f} s; {ROUNDS} of each in turns"
    )
    slowest = f"the slowest of {PLANS}, from the command until the plan stands in the channel"
    return [
        Figure(
            name="RTO of a region switchover", value=median(ours), bare=median(bare), unit="s", ratio_aim=RATIO_AIM, note=note
        ),
        Figure(name="Plan while the region is a black hole", value=max(plans), unit="s", aim=PLAN_AIM, note=slowest),
    ]


async def restore(world: Rehearsal) -> None:
    """As at the start; the replica is a new one, at another address, so the bot starts over."""
    await world.kill_bot()
    await world.restore()
    await world.start_bot()
    await until(lambda: world.workspace.sockets.open, 60, "a connected bot")


async def outage(world: Rehearsal, moving: Any) -> float:
    """The seconds from the first request that fails until every name server answers the other region's address.

    How long resolvers keep the old one after that, at most a TTL, is luck and the same for both.
    """
    before, arriving = len(world.witness.report()["outages"]), asyncio.create_task(name_moved(world))
    await moving
    await world.witness.healthy(60)
    began = datetime.fromisoformat(world.witness.report()["outages"][before]["began"]).timestamp()
    return await arriving - began


async def name_moved(world: Rehearsal) -> float:
    """When every name server answers the other region's address, in seconds since 1970."""
    assert world.regions
    servers = [server.port.address for server in world.regions.names.servers]

    async def moved() -> bool:
        return all([await asyncio.to_thread(leads, server) == TARGET for server in servers])

    await until(moved, 300, "the other region's address")
    return time.time()


async def by_bot(world: Rehearsal, checks: list[float]) -> None:
    """Switch over by the bot; the seconds of what only it looks at go to `checks`."""
    people = People(world.workspace)
    run = await people.plan("alice", COMMAND, timeout=60)
    await people.click("bob", run, "dr_approve")
    await until(lambda: HOLD_YES in people.buttons(run), 120, "a question", every=LOOK_SECONDS)
    await people.click("bob", run, HOLD_YES)
    await until(lambda: people.is_over(run), 300, "the end", every=LOOK_SECONDS)
    if people.title(run) != "Done":
        raise RuntimeError(people.card(run)["text"])
    _, out, _ = await world.dr("show", run, "--json")
    alone = [step["seconds"] or 0.0 for step in json.loads(out)["steps"] if step["title"].startswith(OURS_ALONE)]
    checks.append(max(alone))  # they go side by side


async def by_script(world: Rehearsal) -> None:
    """Switch over by the bare script."""
    regions = world.regions
    assert regions
    env = {**inherited(), **environment(world, regions)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bare_switchover", cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"The bare script failed: {out.decode()}")


def environment(world: Rehearsal, regions: TwoRegions) -> dict[str, str]:
    """Where the bare script finds everything."""
    tools = regions.stack.on_path()
    return {
        "PATH": f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"],
        "AWS_EC2_METADATA_DISABLED": "true",
        f"AWS_{PRIMARY}": world.endpoints[PRIMARY],
        f"AWS_{SECOND}": world.endpoints[SECOND],
        "DATABASE_URL": world.database.url("dr_bot"),
        "DR_DATABASE_URL": regions.replica_url("dr_bot"),
        "STACK": str(regions.stack.folder),
        "DR_HEALTH": f"{regions.second.balancer.url}/api/health",
        "PUBLIC_HEALTH": f"{regions.public.url}/api/health",
        "SERVERS": " ".join(server.port.address for server in regions.names.servers),
        "SPEED": str(SPEED),
    }


async def without_region(world: Rehearsal) -> list[float]:
    """The seconds from each command to its plan, while packets to the first region vanish."""
    people, seconds = People(world.workspace), []
    await ready_to_move(world)
    await world.faults.put("region-down")
    for _ in range(PLANS):
        known, began = set(people.ids()), time.monotonic()
        await people.type("alice", COMMAND)
        await until(lambda known=known: set(people.ids()) - known, 60, "a plan", every=LOOK_SECONDS)
        seconds.append(time.monotonic() - began)
        for run in set(people.ids()) - known:
            if "dr_reject" in people.buttons(run):  # the same plan would not be offered a second time
                await people.click("carol", run, "dr_reject")
        await people.quiet()
    return seconds
