"""What the engine adds to an action: a run of actions that do nothing, beside the same actions called directly.

`python -m tests.bench.engine FOLDER` prints JSON; the benchmark runs it in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar

from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, done, ok
from actions.world import World
from bot import log, settings
from bot.engine.planner import Planner
from bot.engine.runs import Runs
from bot.state import approvals
from bot.state.database import open_engine
from bot.state.store import Store
from bot.state.story import Run, Story
from commands.plan import Plan
from commands.scenario import scenario
from rehearsal.settings import inherited
from tests.bench.figures import Figure
from tests.bench.subjects import NOWHERE, ROOT, config, made

ACTIONS, RUNS, WARM_UP = 20, 5, 1


@dataclass(frozen=True, kw_only=True)
class Noop(Action, kind="bench.noop"):
    """Do nothing, with every part that an action has."""

    number: int

    timeout: ClassVar[float] = 60.0
    settle: ClassVar[float] = 1.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ()

    @property
    def title(self) -> str:
        return f"Do nothing, number {self.number}"

    @property
    def target(self) -> str:
        return "nothing"

    def command(self) -> str:
        return f"true {self.number}"

    async def observe(self, world: World) -> Facts:
        return {"number": self.number, "before": "as it was"}

    def precheck(self, facts: Facts) -> Finding:
        return ok("It may be done.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        return {"receipt": str(self.number)}

    async def applied(self, world: World, facts: Facts) -> Proof:
        return Proof(verdict=Verdict.DONE, says="It was done.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        return done(f"Nothing was done, as receipt {receipt['receipt']} proves.")


@scenario("bench nothing")
async def nothing(world: World, *, side_by_side: bool = False) -> Plan:
    """Do nothing many times, one after the other or side by side."""
    steps = tuple(Noop(number=number) for number in range(ACTIONS))
    return Plan(
        scenario="bench nothing",
        arguments={"side_by_side": "yes"} if side_by_side else {},
        why="To measure what the engine costs.",
        target="nothing",
        stages=(steps,) if side_by_side else tuple((step,) for step in steps),
        basis={},
    )


async def measure(folder: Path) -> list[Figure]:
    """The engine's cost, from a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.engine", str(made(folder))]
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=inherited(), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    seen = json.loads(out)
    added, beside = (seen[name] - seen["direct"] for name in ("in_turn", "side_by_side"))
    note = (
        f"a run of {ACTIONS} in turn, from approval to end, divided by {ACTIONS}, less the {seen['direct']:.3f} ms "
        "that each takes directly, so that a ratio says nothing; "
        f"side by side in one stage {beside:.1f} ms each"
    )
    return [Figure(name="Engine's cost per action", value=added, unit="ms", aim=25, bare=seen["direct"], note=note)]


async def main(folder: Path) -> dict[str, float]:
    """Milliseconds per action: directly, and through the engine in turn and side by side."""
    runs = interpreter(folder)
    runs.launch(runs.planner.settings.state.url)
    seen: dict[str, list[float]] = {"direct": [], "in_turn": [], "side_by_side": []}
    for number in range(RUNS + WARM_UP):
        measured = {
            "direct": await directly(runs.planner.world),
            "in_turn": await through(runs, f"turn{number}", {}),
            "side_by_side": await through(runs, f"side{number}", {"side_by_side": "yes"}),
        }
        for name, seconds in measured.items():
            seen[name] += [seconds * 1000 / ACTIONS] if number >= WARM_UP else []
    await asyncio.to_thread(runs.close)
    return {name: median(values) for name, values in seen.items()}


def interpreter(folder: Path) -> Runs:
    """The interpreter with a store in this folder, and with settings as the rehearsal writes them."""
    known = settings.load(config(folder, NOWHERE))
    store = Store(open_engine(known.state.url))
    return Runs(store, Planner(known, World(known), store))


async def directly(world: World) -> float:
    """Seconds that the actions take when nothing is recorded."""
    began = time.perf_counter()
    for step in (await nothing(world)).actions():
        facts = await step.observe(world)
        step.precheck(facts)
        await step.verify(world, facts, await step.apply(world, facts))
    return time.perf_counter() - began


async def through(runs: Runs, run_id: str, arguments: dict[str, str]) -> float:
    """Seconds from the approval to the end of a run, by its own clock."""
    plan = await runs.planner.make("bench nothing", arguments)
    await runs.planner.offer(run_id, plan, "U0ALICE")
    offered = await story_of(runs, run_id)
    click = approvals.Click(run_id=run_id, question="plan", nonce=offered.offer.nonce)
    await runs.store.do(approvals.approve, click, "U0BOB", 1)
    await runs.start(run_id)
    run = await ended(runs, run_id)
    assert run.state == "done", run
    return float(run.ended or 0) - run.began


async def ended(runs: Runs, run_id: str, timeout: float = 60.0) -> Run:
    """The run once it is over; looked for seldom, so that looking costs it nothing."""
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        run = (await story_of(runs, run_id)).run
        if run is not None and run.over:
            return run
        await asyncio.sleep(0.1)
    raise TimeoutError(f"Run {run_id} is not over after {timeout:g} s.")


async def story_of(runs: Runs, run_id: str) -> Story:
    """The stored run."""
    story = await runs.store.story(run_id)
    assert story is not None, run_id
    return story


if __name__ == "__main__":
    log.set_up(level="WARNING")  # as the bot has it, but that its runs are not told
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
