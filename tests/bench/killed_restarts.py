"""`python -m tests.bench.killed_restarts HOSTS KILLS`: a restart of a fleet, some hosts in trouble, and a bot that is killed.

The hosts count their restarts: none may be restarted twice, none forgotten, and no more may fail than the budget allows.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from rehearsal.waiting import until
from tests.bench.subjects import ROOT, opened
from tests.world.agents_rig import TOKEN, batches, bot, control_plane, site_of

CHANGED = {"fresh_seconds": 10.0, "healthy_seconds": 1.0, "heartbeat_seconds": 40.0, "restart_seconds": 5.0}
TROUBLES: tuple[dict[str, Any], ...] = (
    {"refuses": True},
    {"other_key": True},
    {"restart": "fails"},
    {"restart": "lost"},
    {"hung": True},
)
IN_TROUBLE = 0.03  # of the hosts
LONGEST = 8.0  # seconds between the start of a bot and its end, at the most


async def main(number: int, kills: int) -> int:
    """Restart the fleet, and kill the bot so often on the way; returns 1 if something was wrong."""
    dice = random.Random(number)
    with tempfile.TemporaryDirectory(prefix="restarts-", ignore_cleanup_errors=True) as temporary:
        folder = opened(Path(temporary))
        async with (
            Processes(folder / "processes.json") as processes,
            ServerPair(processes, folder / "postgres", cache=folder / "cache") as servers,
        ):
            os.environ["DATABASE_URL"] = servers.url("dr_bot")
            async with control_plane(processes, servers.url("shielda")) as url:
                heartbeats = f"{url}/api/agents/heartbeat"
                async with Fleet(
                    processes, folder / "fleet", hosts=number, heartbeats=heartbeats, token=TOKEN, every=2.0
                ) as fleet:
                    return await restarted(fleet, url, folder / "state.sqlite", kills, dice)


async def restarted(fleet: Fleet, url: str, state: Path, kills: int, dice: random.Random) -> int:
    """Carry all batches out in a bot that is killed again and again, and judge what the hosts say."""
    names = list(await fleet.report())
    await fleet.order(do="fall", hosts=names)
    await asyncio.sleep(CHANGED["fresh_seconds"] + 2)  # then all of them count as offline
    async with bot(site_of(fleet.folder, url, **CHANGED), state.with_name("plan.sqlite")) as planner:
        careful = {name for step in (await batches(planner.world, names))[:2] for name in step.hosts}
    ill = dice.sample([name for name in names if name not in careful], int(len(names) * IN_TROUBLE))
    troubles = {name: dice.choice(TROUBLES) for name in ill}
    for name, trouble in troubles.items():
        await fleet.trouble([name], **trouble)
    told = {"folder": str(fleet.folder), "url": url, "hosts": names, "changed": CHANGED}
    argv = [sys.executable, "-m", "tests.world.agents_rig", str(state), json.dumps(told)]
    killed = 0
    for _ in range(kills):
        before = sum((await counts(fleet)).values())
        process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)

        async def moves(process: Any = process, before: int = before) -> bool:
            return process.returncode is not None or sum((await counts(fleet)).values()) > before

        await until(moves, 120, "a bot that restarts hosts", every=0.1)
        await asyncio.sleep(dice.uniform(0, LONGEST))
        if process.returncode is not None:
            break
        process.kill()
        await process.wait()
        killed += 1
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return judged(json.loads(out), await counts(fleet), names, killed)


def judged(report: dict[str, Any], seen: dict[str, int], names: list[str], killed: int) -> int:
    """Print what came of it; 1 if a host was restarted twice or forgotten, or too many failed."""
    states, often = Counter(report["states"].values()), Counter(seen.values())
    failures = sum(number for state, number in states.items() if state not in ("healthy", "left alone"))
    forgotten = set(names) - report["states"].keys()
    print(f"{len(names)} hosts, {killed} kills; restarted so often: {dict(often)}")
    print(f"outcomes: {dict(states)}, in all {sum(states.values())}")
    print(f"twice: {sum(number > 1 for number in seen.values())}, forgotten: {len(forgotten)}, failed: {failures}")
    print(report["says"][:300])
    return int(max(seen.values()) > 1 or bool(forgotten) or failures > len(names) // 20)


async def counts(fleet: Fleet) -> dict[str, int]:
    """How often each host's agent was restarted."""
    return {name: host["restarts"] for name, host in (await fleet.report()).items()}


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]))))
