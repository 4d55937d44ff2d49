"""What people wait for: from `/dr` to the form or the plan, how far a card is behind its run, and memory after 100 runs."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from rehearsal.people import People
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal
from tests.bench.figures import Figure, memory_mb, percentile
from tests.bench.subjects import LOOK_SECONDS, made

RUNS, FORMS = 100, 30
PLAN, FORM = "control-plane restart anyway=yes", "database restore"
PATIENCE = 120.0


async def measure(folder: Path) -> list[Figure]:
    """Runs one after the other in one world, through Slack as people do it."""
    made(folder)
    options = Options(work_dir=folder / "work", cache=folder / "cache", port=0, speed=600.0, reports=False, witness_every=0.25)
    async with Rehearsal(options) as world:
        await world.witness.healthy()
        people = People(world.workspace)
        opened = [await _form(people) for _ in range(FORMS)]
        forms = [seconds for seconds in opened if seconds is not None]
        before = memory_mb(_pid(world))
        plans, runs = [], []
        for _ in range(RUNS):
            seconds, run = await _run(people)
            plans.append(seconds)
            runs.append(run)
        after = memory_mb(_pid(world))
        lags = [_lag(world, people, run) for run in runs]
    return [
        *_both(
            "/dr to the opened form", forms, "s", note=f"{FORMS - len(forms)} of {FORMS} came too late for Slack's three seconds"
        ),
        *_both("/dr to the posted plan", plans, "s"),
        *_both("Card behind the end of its run", lags, "s"),
        Figure(name=f"Memory, after {RUNS} runs", value=after, unit="MB", note=f"{before:.0f} MB before the first of them"),
    ]


async def _form(people: People) -> float | None:
    """The seconds until the form is open; None if it came too late, which Slack refuses after three seconds."""
    await people.close_forms("alice")
    told, began = len(people.slack.ephemerals("alice")), time.monotonic()
    await people.type("alice", FORM)

    def too_late() -> bool:
        return any("did not say that it opened the form" in m["text"] for m in people.slack.ephemerals("alice")[told:])

    await until(lambda: people.slack.views("alice") or too_late(), PATIENCE, "a form", every=LOOK_SECONDS)
    return time.monotonic() - began if people.slack.views("alice") else None


async def _run(people: People) -> tuple[float, str]:
    """A plan, its approval and its run; the seconds to the plan, and the run's id."""
    known, began = set(people.ids()), time.monotonic()
    await people.type("alice", PLAN)
    run = (await until(lambda: set(people.ids()) - known, PATIENCE, "a plan", every=LOOK_SECONDS)).pop()
    seconds = time.monotonic() - began
    await until(lambda: "dr_approve" in people.buttons(run), PATIENCE, "an Approve button")
    await people.click("bob", run, "dr_approve")
    await until(lambda: people.title(run) == "Done", PATIENCE, "the end of the run")
    await people.quiet()
    return seconds, run


def _lag(world: Rehearsal, people: People, run: str) -> float:
    """The seconds from a run's end, as it is on record, to the edit that shows it on the card."""
    with contextlib.closing(sqlite3.connect(world.work_dir / "state.sqlite", timeout=5)) as state:
        (ended,) = state.execute("SELECT ended FROM dr_runs WHERE id = ?", [run]).fetchone()
    edits = [e for e in people.slack.log if e["kind"] == "call" and e["method"] == "chat.update" and e["ok"]]
    of_card = [e for e in edits if e["args"]["ts"] == people.card(run)["ts"]]
    return max(0.0, min(e["at"] for e in of_card if str(e["args"]["text"]).startswith("Done")) - float(ended))


def _both(name: str, seen: list[float], unit: str, note: str = "") -> Iterator[Figure]:
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        yield Figure(name=f"{name}, {label}", value=percentile(seen, share), unit=unit, note=note if share == 0.5 else "")


def _pid(world: Rehearsal) -> int:
    pid = world.processes.pid("bot")
    if pid is None:
        raise RuntimeError("The bot does not run.")
    return int(pid)
