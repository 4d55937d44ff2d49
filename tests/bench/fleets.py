"""Restarts of a whole fleet: our SSH client beside those of others, the record's cost, memory, and the health gate."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from actions.ssh.batch import gate
from actions.ssh.heartbeats import heartbeats
from actions.world import World
from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from rehearsal.settings import inherited
from tests.bench.figures import Figure
from tests.bench.ssh_clients import AT_ONCE, PEERS
from tests.bench.subjects import ROOT, made, opened
from tests.world.agents_rig import control_plane, fleet_at, site_of

HOSTS, MANY, PASSES = 1000, 5000, 3
OURS = ("bare", "forgetful", "recorded")
NEEDS = {"parallel-ssh": "pssh", "paramiko": "paramiko", "OpenSSH": ""}
NOBODY = "http://127.0.0.1:1/"  # where heartbeats go if they don't matter
READINGS = 5
Seen = dict[str, Any]


async def measure(folder: Path) -> list[Figure]:
    """Everything about fleets, one after the other."""
    made(folder)
    async with Processes(folder / "processes.json") as processes:
        return [
            *await clients(processes, folder / "clients"),
            await memory(processes, folder / "many"),
            *await health(processes, opened(made(folder / "health"))),
        ]


async def clients(processes: Processes, folder: Path) -> list[Figure]:
    """Each client in turn, some passes, at the same hosts; every host must count each restart once."""
    peers = [name for name in PEERS if there(name)]
    async with silent_fleet(processes, folder, HOSTS) as fleet:
        passes = [{name: await restarted(fleet, name) for name in (*OURS, *peers)} for _ in range(PASSES)]
    speed = {name: median(seen[name]["hosts"] / seen[name]["seconds"] for seen in passes) for name in passes[0]}
    processor = {name: median(1000 * seen[name]["processor"] / HOSTS for seen in passes) for name in passes[0]}
    each = ", ".join(f"{name} {speed[name]:.0f} hosts/s and {processor[name]:.1f} ms of processor a host" for name in peers)
    absent = [name for name in PEERS if name not in peers]
    best = max((speed[name] for name in peers), default=None)
    note = f"{AT_ONCE} at a time, median of {PASSES} passes in turn; ours {speed['bare']:.0f} hosts/s and "
    note += f"{processor['bare']:.1f} ms; {each}{f'; not installed: {absent}' if absent else ''}"
    wall = median(1000 * (seen["recorded"]["seconds"] - seen["forgetful"]["seconds"]) / HOSTS for seen in passes)
    used = processor["recorded"] - processor["forgetful"]
    engine = (
        f"the record of intents and outcomes, in time; {used:.2f} ms of processor. To look at each agent before its restart takes"
    )
    engine += f" {processor['forgetful'] - processor['bare']:.2f} ms more of processor"
    print(f"{note}\n{engine}", file=sys.stderr, flush=True)  # the rest takes some minutes
    return [
        Figure(
            name=f"Restart of {HOSTS} hosts, hosts a second",
            value=speed["bare"],
            bare=best,
            unit="/s",
            ratio_least=1.3,
            note=note,
        ),
        Figure(name="Engine's cost of a host's restart", value=wall, unit="ms", aim=2.0, note=engine),
    ]


async def memory(processes: Processes, folder: Path) -> Figure:
    """The most memory of a process that restarts many hosts, with the record of each."""
    async with silent_fleet(processes, folder, MANY) as fleet:
        seen = await restarted(fleet, "recorded", strictly=False)
    note = f"{seen['good']} of them restarted, the others not reached in time; " if seen["good"] < MANY else ""
    note += f"{seen['hosts'] / seen['seconds']:.0f} hosts/s; the process alone, with its {MANY} hosts due at once"
    return Figure(name=f"Memory at the restart of {MANY} hosts", value=seen["peak"], unit="MB", note=note)


async def health(processes: Processes, folder: Path) -> list[Figure]:
    """What it takes to see that agents are healthy: one reading of their heartbeats, and the gate beyond what it has to wait."""
    async with ServerPair(processes, folder / "postgres", cache=folder / "cache") as servers:
        os.environ["DATABASE_URL"] = servers.url("dr_bot")
        async with (
            control_plane(processes, servers.url("shielda")) as url,
            fleet_at(processes, folder / "fleet", url, HOSTS) as fleet,
        ):
            await fleet.beating()
            world = World(site_of(fleet.folder, url))
            names = list((await world.ssh.inventory()).hosts)
            await asyncio.sleep(2.0)
            readings = [await timed(heartbeats(world, names)) for _ in range(READINGS + 1)][1:]
            whole = await timed(gate(world, set(names)))
            await world.close()
    least = world.agents.healthy_seconds
    note = f"{READINGS} readings of {HOSTS} agents; the gate of all of them took {whole:.1f} s, of which {least:g} s are its wait"
    return [Figure(name=f"Health gate, one reading of {HOSTS} heartbeats", value=1000 * median(readings), unit="ms", note=note)]


def silent_fleet(processes: Processes, folder: Path, hosts: int) -> Fleet:
    """A fleet whose heartbeats go nowhere."""
    return Fleet(processes, folder, hosts=hosts, heartbeats=NOBODY, every=3600.0)


async def restarted(fleet: Fleet, client: str, *, strictly: bool = True) -> Seen:
    """What it took this client to restart them all, each exactly once (not `strictly`: at most). Raises if it was not so."""
    before = await counts(fleet)
    argv = [sys.executable, "-m", "tests.bench.ssh_clients", client, str(fleet.folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=inherited(), stdout=pipe)
    out, _ = await process.communicate()
    seen: Seen = json.loads(out)
    since = {name: number - before[name] for name, number in (await counts(fleet)).items()}
    wrong = [name for name, number in since.items() if number > 1 or (strictly and number < 1)]
    if wrong or (strictly and seen["good"] != seen["hosts"]):
        raise RuntimeError(f"{client}: {seen['good']} of {seen['hosts']} restarted by its word; not once: {wrong[:5]}.")
    return seen


async def counts(fleet: Fleet) -> dict[str, int]:
    """How often each host's agent was restarted."""
    return {name: host["restarts"] for name, host in (await fleet.report()).items()}


async def timed(doing: Any) -> float:
    """The seconds that it takes."""
    began = time.perf_counter()
    await doing
    return time.perf_counter() - began


def there(client: str) -> bool:
    """Whether a peer is installed."""
    return bool(importlib.util.find_spec(NEEDS[client]) if NEEDS[client] else shutil.which("ssh"))
