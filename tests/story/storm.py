"""Incidents in a storm: while people ask, approve and decide, AWS and Slack fail in every way and the bot is killed, at random.

    python -m tests.story.storm [--incidents 20] [--seed 1]

A seed chooses what strikes and when. What it hits depends on the machine, so the storm isn't part of CI. It prints a line for
each incident, and ends with exit code 1 if something did not hold:

- no effect is there more often than a run began it, and a run that's done has its effects;
- the thread of a run is its whole timeline, in order and once, and the run has one card;
- once the storm is over and people have decided what's left, every run is over and its card says how;
- the bot logs no error of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from rehearsal.drills.catalogue import DRILLS, Drill
from rehearsal.people import ENDS, NotAcknowledged, told
from rehearsal.slack.errors import SlackError
from rehearsal.world import Rehearsal
from tests.story.conftest import Incident, calm_options, logged_errors

AWS = ("throttle", "error500", "hang", "drop", "after_drop", "after_500", "access_denied", "slow")
OPERATIONS = (
    *("*", "UpdateService", "RebootDBInstance", "DescribeServices", "ListServiceDeployments", "DescribeServiceDeployments"),
    *("DescribeDBInstances", "DescribeEvents", "ListTasks", "DescribeTasks", "DescribeAlarms", "FilterLogEvents"),
)
METHODS = (
    *("chat.postMessage", "chat.update", "chat.postEphemeral", "pins.add", "users.info"),
    *("conversations.history", "conversations.replies"),
)
SLACK = ("outage", "rate_limit", "lose_answer", "slow", "duplicate_next_envelope", "reset_sockets")
STRIKES = ("aws",) * 6 + ("slack",) * 4 + ("kill",)
PAUSES = (0.05, 1.5)  # seconds between two strikes
PLANNED = ("offered", "rejected", "expired", "superseded")  # the states of a plan that is no run
OPEN = ("dr_approve", "dr_retry", "dr_abort")  # if a card has one of these buttons, a person decides
FOREIGN = ("slack_bolt", "slack_sdk")  # what these log while Slack is away is theirs
LASTS = 120.0  # seconds a storm may last; after it nothing fails any more and the runs must end


class Storm:
    """What strikes a rehearsal while the context lasts."""

    def __init__(self, world: Rehearsal, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.struck: list[str] = []

    @contextlib.asynccontextmanager
    async def rage(self) -> AsyncIterator[None]:
        """Faults until the block ends; after it there are none, and a bot is running."""
        striking = asyncio.create_task(self._strike())
        try:
            yield
        finally:
            striking.cancel()
            await asyncio.gather(striking, return_exceptions=True)
            self.world.aws_faults.clear()
            self.world.workspace.faults.recover()
            await self._keep_bot()

    async def _strike(self) -> None:
        strikes: dict[str, Callable[[], Any]] = {"aws": self._aws, "slack": self._slack, "kill": self._kill}
        while True:
            await asyncio.sleep(self.chance.uniform(*PAUSES))
            await self._keep_bot()
            await strikes[self.chance.choice(STRIKES)]()

    async def _aws(self) -> None:
        kind, operation, times = self.chance.choice(AWS), self.chance.choice(OPERATIONS), self.chance.choice((1, 1, 2, 5))
        self.world.aws_faults.put(kind, operation=operation, times=times, seconds=self.chance.uniform(0.1, 2))  # type: ignore[arg-type]
        self.struck.append(f"{kind} {operation} x{times}")

    async def _slack(self) -> None:
        kind, method, seconds = self.chance.choice(SLACK), self.chance.choice(METHODS), self.chance.uniform(0.2, 3)
        of_kind: dict[str, dict[str, Any]] = {
            "outage": {"seconds": seconds},
            "rate_limit": {"method": method, "times": self.chance.choice((1, 2))},
            "lose_answer": {"method": method, "times": self.chance.choice((1, 2))},
            "slow": {"method": method, "seconds": seconds},
        }
        self.world.workspace.faults.put(kind, **of_kind.get(kind, {}))
        self.struck.append(f"{kind} {method if kind in of_kind else ''}".strip())

    async def _kill(self) -> None:
        self.struck.append("kill")
        await self.world.kill_bot()
        await asyncio.sleep(self.chance.choice((0.0, 0.5)))
        await self.world.start_bot()

    async def _keep_bot(self) -> None:
        """Start the bot if it's dead, as a service manager does."""
        if self.world.processes.pid("bot") is None:
            await self.world.start_bot()


class OnCall:
    """What people on call do in a storm: type again, click again, decide. Two may ask for the same."""

    def __init__(self, incident: Incident, drill: Drill, chance: random.Random) -> None:
        self.incident = incident
        self.drill = drill
        self.chance = chance
        self.known = set(incident.ids())

    def runs(self) -> list[str]:
        """The plans and runs of this incident."""
        return list(dict.fromkeys(run for run in self.incident.ids() if run not in self.known))

    async def recover(self) -> None:
        """Ask until there is a plan, then press whatever there is to press until it's over."""
        ends = time.monotonic() + LASTS
        while time.monotonic() < ends and not self._over():
            await self._ask()
            for _ in range(50):
                await asyncio.sleep(0.1)
                await self._press(("dr_retry",) * 4 + ("dr_abort",))

    async def settle(self) -> None:
        """After the storm: answer what's still asked, until every run is over."""
        ends = time.monotonic() + 90
        while not all(is_over(self.incident, run) for run in self.runs()):
            if time.monotonic() > ends:
                return
            await self._press(("dr_retry", "dr_abort"), reject=True)
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)
        await self.incident.quiet()

    def _over(self) -> bool:
        return any(self.incident.is_over(run) for run in self.runs())

    async def _ask(self) -> None:
        if any(button in self.incident.buttons(run) for run in self.runs() for button in (*OPEN, "dr_stop")):
            return
        for person in ("alice", "carol")[: self.chance.choice((1, 1, 2))]:
            with contextlib.suppress(NotAcknowledged):
                await self.incident.type(person, self.drill.command)

    async def _press(self, decisions: tuple[str, ...], *, reject: bool = False) -> None:
        for run in self.runs():
            there = self.incident.buttons(run)
            if "dr_approve" in there:
                await self._click("bob", run, "dr_reject" if reject else "dr_approve")
            elif "dr_retry" in there:
                await self._click(self.chance.choice(("bob", "carol")), run, self.chance.choice(decisions))
            elif "dr_stop" in there and self.chance.random() < 0.005:
                await self._click("carol", run, "dr_stop")

    async def _click(self, person: str, run: str, action: str) -> None:
        with contextlib.suppress(NotAcknowledged, SlackError, LookupError):  # the card has changed since somebody looked
            await self.incident.click(person, run, action)
        await asyncio.sleep(self.chance.uniform(0.2, 1.5))


def is_over(incident: Incident, run: str) -> bool:
    """Whether the card says how a run ended, or a plan can no longer be approved."""
    title = incident.title(run)
    return title in ENDS or (title.startswith("Plan ") and "dr_approve" not in incident.buttons(run))


async def wrong_with(incident: Incident, people: OnCall, effects_before: int, log: str) -> list[str]:
    """Everything that doesn't hold after an incident, as sentences."""
    wrong, begun, done = [], 0, 0
    for run in people.runs():
        story = await incident.story(run)
        thread, recorded = incident.thread(run), told(story["timeline"])
        if thread != recorded:
            wrong.append(f"the thread of {run} is {thread}, and its timeline {recorded}")
        if incident.ids().count(run) != 1:
            wrong.append(f"{run} has {incident.ids().count(run)} cards")
        outcomes = [step["outcome"] for step in story["steps"]]
        only_planned = incident.title(run).startswith("Plan ") and story["state"] in PLANNED
        if incident.title(run) not in ENDS and not only_planned:
            wrong.append(f"{run} did not end: {incident.card(run)['text']}, and `dr show` says {story['state']}")
        begun += outcomes[0] != "not begun"
        done += outcomes[0] == "done"
        if incident.title(run) == "Done" and not {*outcomes} <= {"done", "already done", "skipped"}:
            wrong.append(f"{run} is done with {outcomes}")
    effects = effects_of(incident) - effects_before
    if not done <= effects <= begun:
        wrong.append(f"{effects} effects, although {begun} runs began their step and {done} did it")
    return [*wrong, *errors_in(log)]


def effects_of(incident: Incident) -> int:
    """How many effects the bot has had on AWS, and statements that end sessions."""
    ended = sum("pg_terminate_backend" in line for line in incident.world.database.statements())
    return sum(count for _, count in incident.effects()) + ended


def errors_in(log: str) -> list[str]:
    """The errors of its own that the bot logged, and any traceback outside the log."""
    if "Traceback" in "".join(line for line in log.splitlines() if not line.startswith("{")):
        return [f"the bot printed a traceback: {log[-2000:]}"]
    own = [line for line in logged_errors(log) if not line["logger"].startswith(FOREIGN)]
    return [f"logged as an error: {json.dumps(line)[:1500]}" for line in own]


async def one_incident(world: Rehearsal, seed: int) -> bool:
    """One incident in a storm; prints how it went, and returns whether everything held."""
    chance, began = random.Random(seed), time.monotonic()
    incident, drill = Incident(world), chance.choice([drill for drill in DRILLS.values() if drill.shows == "outage"])
    people, storm = OnCall(incident, drill, chance), Storm(world, chance)
    logged, effects = world.bot_log.stat().st_size, effects_of(incident)
    async with storm.rage():
        await world.faults.put(drill.fault)
        await asyncio.sleep(drill.pause)
        await people.recover()
    await incident.connected()
    await people.settle()
    wrong = await wrong_with(incident, people, effects, world.bot_log.read_bytes()[logged:].decode())
    titles = ", ".join(incident.title(run) for run in people.runs()) or "no plan"
    print(f"{seed:6} {drill.name:22} {time.monotonic() - began:5.0f} s  {len(storm.struck):3} strikes  {titles}", flush=True)
    for sentence in wrong:
        print(f"       WRONG: {sentence}", flush=True)
    if wrong:
        print(f"       struck by: {'; '.join(storm.struck)}", flush=True)
    return not wrong


async def main(first: int, incidents: int, folder: Path) -> int:
    """Incident after incident, in one rehearsal as long as it can be restored."""
    seeds = iter(range(first, first + incidents))
    failed, worlds = 0, 0
    seed = next(seeds, None)
    while seed is not None:
        worlds += 1
        options = calm_options(work_dir=folder / str(worlds), cache=folder / "cache")
        async with Rehearsal(options) as world:
            await world.witness.healthy()
            while seed is not None:
                failed += not await one_incident(world, seed)
                seed = next(seeds, None)
                try:
                    await asyncio.wait_for(Incident(world).calm_down(), 120)
                except (TimeoutError, NotAcknowledged) as error:
                    print(f"       a new rehearsal, because this one does not recover: {error!r}"[:300], flush=True)
                    break
    print(f"{incidents} incidents, {failed} in which something did not hold.")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Incidents in a storm of faults.")
    parser.add_argument("--incidents", type=int, default=20, help="how many (20)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        sys.exit(asyncio.run(main(given.seed, given.incidents, Path(folder))))
