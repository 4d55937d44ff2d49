"""A restore and a verification, from the approval to the end, beside bare scripts that make the same changes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median

from rehearsal.people import HOLD_YES, People
from rehearsal.settings import inherited
from rehearsal.waiting import until
from rehearsal.world import PRIMARY, Options, Rehearsal
from tests.bench.figures import Figure
from tests.bench.subjects import LOOK_SECONDS, ROOT, made

ROUNDS, AIM = 2, 1.1
SPEED = 5.0  # the faster AWS is, the more the bot's own seconds count; at 240 times they were most of a restore
RESTORE, VERIFY = "database restore time=latest", "backup verify"
# How the commands of the steps begin that the bare scripts carry out, too.
SHARED = ("aws ", 'psql "$DATABASE_URL" -c "SELECT pg_is_in_recovery()"')


async def measure(folder: Path) -> list[Figure]:
    """In turns, in one world that is healthy again before each."""
    made(folder)
    options = Options(work_dir=folder / "work", cache=folder / "cache", port=0, speed=SPEED)
    async with Rehearsal(options) as world:
        await world.witness.healthy()
        figures = []
        for text, script, name in ((RESTORE, "restore", "A restore's changes and waits"), (VERIFY, "verify", "A verification's")):
            ours, bare, whole = [], [], []
            for _ in range(ROUNDS):
                bare.append(await by_script(world, script))
                await world.restore()
                shared, all_of_it = await by_bot(world, text)
                ours.append(shared)
                whole.append(all_of_it)
                await world.restore()
            note = f"the whole run, with what is checked and compared besides, took {median(whole):.1f} s; {ROUNDS} runs of each"
            figures.append(Figure(name=name, value=median(ours), bare=median(bare), unit="s", ratio_aim=AIM, note=note))
        return figures


async def by_bot(world: Rehearsal, text: str) -> tuple[float, float]:
    """The seconds of a run without the steps that only the bot takes, and with them."""
    people = People(world.workspace)
    run = await people.plan("alice", text, timeout=60)
    began = time.monotonic()
    await people.click("bob", run, "dr_approve")
    await until(lambda: HOLD_YES in people.buttons(run) or people.is_over(run), 300, "a question, or the end", every=LOOK_SECONDS)
    if not people.is_over(run):
        await people.click("bob", run, HOLD_YES)
    await until(lambda: people.is_over(run), 300, "the end", every=LOOK_SECONDS)
    whole = time.monotonic() - began
    _, out, _ = await world.dr("show", run, "--json")
    steps = json.loads(out)["steps"]
    besides = {step["id"].partition(".")[0]: 0.0 for step in steps}
    for step in steps:
        if not step["command"].startswith(SHARED):
            stage = step["id"].partition(".")[0]
            besides[stage] = max(besides[stage], step["seconds"] or 0.0)  # steps of a stage go together
    return whole - sum(besides.values()), whole


async def by_script(world: Rehearsal, which: str) -> float:
    """The seconds that the bare script says."""
    argv = [sys.executable, "-m", "tests.bench.bare_restores", which]
    env = {**inherited(), "AWS_ENDPOINT": world.endpoints[PRIMARY], "AWS_EC2_METADATA_DISABLED": "true", "SPEED": str(SPEED)}
    env |= {"DATABASE_URL": world.database.url("dr_bot")}
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return float(out)
