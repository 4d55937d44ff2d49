"""From `/dr` to the plan in the channel or the report to the person, in a healthy world and while AWS hangs."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from rehearsal.people import People
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal
from tests.bench.figures import Figure
from tests.bench.subjects import LOOK_SECONDS, made

PLANS = ("control-plane restart anyway=yes", "database failover", "database restore time=5m", "backup verify")
REPORTS = ("targets", "backup status")
ROUNDS, HANGING_ROUNDS = 7, 3
AIM, HANGING_AIM = 0.15, 6.0  # seconds


async def measure(folder: Path) -> list[Figure]:
    """Each command some times, in one world; the first round is no part of it."""
    made(folder)
    async with Rehearsal(Options(work_dir=folder / "work", cache=folder / "cache", port=0)) as world:
        await world.witness.healthy()
        people = People(world.workspace)
        healthy = await rounds(people, ROUNDS + 1)
        world.aws_faults.put("hang", times=None)
        hanging = await rounds(people, HANGING_ROUNDS)
        world.aws_faults.clear()
    figures = [
        Figure(name=f"/dr {text.split(' time=')[0].removesuffix(' anyway=yes')}, p50", value=median(seen[1:]), unit="s", aim=AIM)
        for text, seen in healthy.items()
    ]
    return [*figures, slowest("plan", PLANS, hanging), slowest("report", REPORTS, hanging)]


def slowest(kind: str, commands: tuple[str, ...], hanging: dict[str, list[float]]) -> Figure:
    """The longest that any of the commands took."""
    worst = max(commands, key=lambda text: max(hanging[text]))
    note = f"the slowest is `/dr {worst}`, of {len(commands)} commands {HANGING_ROUNDS} times each"
    return Figure(
        name=f"Any {kind} while AWS hangs, the slowest", value=max(hanging[worst]), unit="s", aim=HANGING_AIM, note=note
    )


async def rounds(people: People, count: int) -> dict[str, list[float]]:
    """How many seconds each command took to its answer, round by round."""
    took: dict[str, list[float]] = {text: [] for text in (*PLANS, *REPORTS)}
    for _ in range(count):
        for text, seen in took.items():
            seen.append(await answered(people, text))
    return took


async def answered(people: People, text: str) -> float:
    """The seconds from a command being sent until its plan stands in the channel, or the person has an answer."""
    known, told, began = set(people.ids()), len(answers(people)), time.monotonic()
    await people.type("alice", text)
    come = f"an answer to `/dr {text}`"
    await until(lambda: set(people.ids()) - known or len(answers(people)) > told, 60, come, every=LOOK_SECONDS)
    seconds = time.monotonic() - began
    for run in set(people.ids()) - known:
        if "dr_reject" in people.buttons(run):  # the same plan would not be offered a second time
            await people.click("carol", run, "dr_reject")
    await people.quiet()
    return seconds


def answers(people: People) -> list[str]:
    """What Alice was told, apart from that it will take a moment."""
    return [m["text"] for m in people.slack.ephemerals("alice") if not m["text"].startswith("Collecting facts")]
