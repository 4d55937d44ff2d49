"""`python -m tests.bench.killed_repairs KILLS`: SIGKILL at random moments of the transactions of a repair, its undo and a copy.

The moments are, in turn: any time after the beginning, while the transaction has written something, and as soon as it is
committed, when the bot may not know it yet. Each time the tables must be either as they were or wholly as the step leaves
them, and the step must end well the second time. As `python -m tests.bench.killed_repairs --bot STATE JSON` it is the bot:
it says that it begins, and carries out one step.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from actions.db.repair_case import COPIED
from actions.db.table_copy import CopyTable
from actions.site import Site
from actions.step import Action, Step
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.state.database import open_engine
from bot.state.items import items_of
from bot.state.store import Store
from rehearsal.machines.processes import Processes
from tests import catalogue
from tests.bench.subjects import ROOT, opened
from tests.world.fast_aws import fast_aws
from tests.world.injured import ward
from tests.world.repairs import AT, Hospital, Repair

assert catalogue  # importing it registers every step
LONGEST = float(os.environ.get("LONGEST", "0.6"))  # seconds after the step's beginning at which it is killed, at the most
ORDERS = """
SET ROLE shielda; CREATE TABLE orders (id bigint PRIMARY KEY, total numeric, note text, updated_at timestamptz);
INSERT INTO orders SELECT n, n, repeat('x', 40), '2026-01-10 09:00+00' FROM generate_series(1, 20000) AS n
"""
DAMAGE = "DELETE FROM orders WHERE id % 5 = 3; UPDATE orders SET total = -total WHERE id % 10 = 4"
# The bot's transaction has written something and is not committed.
INSIDE = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'dr-bot' AND backend_xid IS NOT NULL
"""
MOMENTS = ("at any time", "inside", "after")
LATER = {"at any time": LONGEST, "inside": 0.25, "after": 0.05}  # seconds, at the most, after the moment
STEPS = {"collect": "collected", "put_back": "repaired", "undo": "undone"}
LOSSES = {"copy of a dropped table": "DROP TABLE orders", "copy into an empty table": "TRUNCATE orders"}


async def main(kills: int) -> int:
    """Kill each step so often; returns 1 if something was wrong."""
    dice, wrong, seen = random.Random(9), 0, Counter[str]()
    async with AsyncExitStack() as stack:
        folder = opened(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True))))
        processes = await stack.enter_async_context(Processes(folder / "processes.json"))
        sides = [await stack.enter_async_context(ward(processes, folder, folder / "cache", name)) for name in ("present", "past")]
        rig = await stack.enter_async_context(fast_aws(folder / "aws.sqlite", tasks=False))
        hospital = Hospital(*sides, rig)
        programs = sides[0].server.binaries.program("pg_dump").parent
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
        for number in range(kills):
            moment = MOMENTS[number % len(MOMENTS)]
            repair = await hospital.admit(ORDERS)
            await repair.present.run(DAMAGE)
            for name, state in STEPS.items():
                store, action = folder / f"{number}-{name}.sqlite", getattr(repair, name)
                wrong += not await killed(repair, name, action, state, moment, store, dice, seen)
            for name, loss in LOSSES.items():
                repair, store = await hospital.admit(ORDERS), folder / f"{number}-{loss[:4]}.sqlite"
                await repair.present.run(loss)
                action = CopyTable(**repair.names, copy=repair.copy, at=AT)
                wrong += not await killed(repair, name, action, COPIED, moment, store, dice, seen)
    for what, times in sorted(seen.items()):
        print(f"{times:4}  {what}")
    print(f"{kills * len([*STEPS, *LOSSES])} kills, {wrong} wrong")
    return 1 if wrong else 0


async def killed(
    repair: Repair, name: str, action: Action, state: str, moment: str, store: Path, dice: random.Random, seen: Counter[str]
) -> bool:
    """Carry the step out and kill it in the middle; then carry it out to its end. Whether all was as it must be."""
    before = await held(repair)
    process = await bot(repair, action, store)
    assert process.stdout
    await process.stdout.readline()
    await come(repair, moment, state, process)
    await asyncio.sleep(dice.uniform(0, LATER[moment]))
    ended = process.returncode is not None
    if not ended:
        process.kill()
    await process.wait()
    await asyncio.sleep(0.3)  # the server notices
    after = await held(repair)
    out, _ = await (await bot(repair, action, store)).communicate()
    outcome = out.decode().splitlines()[-1]
    last = await held(repair)
    found = "untouched" if after == before else "wholly done" if after == last else "HALF"
    seen[f"{name}, {moment}: {f'had ended, {found}' if ended else found}"] += 1
    good = after in (before, last) and last[1] == state and outcome in ("done", "already done")
    if not good:
        print(
            f"{name}: {outcome}, {before[1]} -> {after[1]} -> {last[1]}, rows {len(before[0])}, {len(after[0])}, {len(last[0])}"
        )
    return good


async def come(repair: Repair, moment: str, state: str, process: asyncio.subprocess.Process) -> None:
    """Wait for the moment, or for the end of the bot, whichever comes first."""
    async with repair.present.session() as connection:
        while moment != "at any time" and process.returncode is None:
            row = await (await connection.execute(INSIDE)).fetchone()
            if moment == "inside" and row and row[0]:
                return
            if moment == "after" and await state_of(repair) == state:
                return
            await asyncio.sleep(0.002)


async def held(repair: Repair) -> tuple[set[str], str]:
    """The rows of the table, or that there is none, and the repair's own record."""
    there = await repair.present.value("SELECT to_regclass('orders') IS NOT NULL")
    return (await repair.rows() if there else {"no table"}), await state_of(repair)


async def state_of(repair: Repair) -> str:
    """The state of the repair in its own record."""
    made = await repair.present.value("SELECT to_regclass('dr_repair.cases') IS NOT NULL")
    return str(await repair.present.value("SELECT min(state) FROM dr_repair.cases")) if made else "None"


async def bot(repair: Repair, action: Action, store: Path) -> asyncio.subprocess.Process:
    """A bot that carries this step out."""
    told: dict[str, Any] = {
        "site": repair.rig.world.site.model_dump(mode="json"),
        "kind": action.kind,
        "arguments": action.arguments,
    }
    argv = [sys.executable, "-m", "tests.bench.killed_repairs", "--bot", str(store), json.dumps(told)]
    return await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=dict(os.environ), stdout=asyncio.subprocess.PIPE)


async def act(state: Path, told: dict[str, Any]) -> None:
    """Carry out one step as the bot does, with its state in a file."""
    world, store = World(Site.model_validate(told["site"])), Store(open_engine(f"sqlite:///{state}"))
    action = Step.registry[told["kind"]].with_arguments(told["arguments"])
    assert isinstance(action, Action)
    runner = StepRunner(store, world)
    print("begins", flush=True)
    with items_of("run-1", "1.1", 1):
        applied = await runner.act("run-1", "1.1", 1, action)
        outcome = await runner.verify(action, applied, world)
    print(outcome.says, outcome.result.value, sep="\n", flush=True)
    store.close()
    await world.close()


if __name__ == "__main__":
    if sys.argv[1] == "--bot":
        asyncio.run(act(Path(sys.argv[2]), json.loads(sys.argv[3])))
    else:
        sys.exit(asyncio.run(main(int(sys.argv[1]))))
