"""The bot is told to end at random moments of runs, as a deploy of the bot does: `python -m tests.story.sigterms`.

    python -m tests.story.sigterms [--count 200] [--seed 1]

A seed chooses the incidents and the moments; what each of them meets is up to the machine. It prints a line for each incident
and ends with exit code 1 when something did not hold:

- every run ends as done, its effect happened once, and its thread is its timeline, whole and once;
- no run ever waits for a person;
- every process is gone within five seconds of its signal, with exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from signal import SIGTERM

from rehearsal.world import Rehearsal
from tests.story.bots import MOMENTS, BotProcess, Persistent, calm_down, drill_for, folder, judge
from tests.story.conftest import Incident, calm_options

END_SECONDS = 5.0
SLOW = (0.0, 0.0, 0.05, 0.2)  # seconds that every call to AWS takes longer, so that signals meet calls in flight


class Terminations:
    """Signals to one bot, and how it ended each time."""

    def __init__(self, world: Rehearsal, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.bot = BotProcess(world, "bot")
        self.count = 0
        self.longest = 0.0

    async def incident(self) -> list[str]:
        """One incident with one to three signals in its run; returns what did not hold."""
        incident, drill = Incident(self.world), drill_for(self.chance)
        people = Persistent(incident=incident, drill=drill, chance=self.chance)
        began, logged, wrong, before = time.monotonic(), len(self.bot.says().encode()), [], self.count
        await self.world.faults.put(drill.fault)
        if slow := self.chance.choice(SLOW):
            self.world.aws_faults.put("slow", times=None, seconds=slow)
        run = await people.approve()
        for _ in range(self.chance.choice((1, 2, 3))):
            await asyncio.sleep(self.chance.uniform(0, MOMENTS[drill.name]))
            wrong += await self._terminate()
            await self.bot.start()
        await people.end(run)
        wrong += judge(incident, people, run, self.bot.says(logged), await incident.story(run))
        took = f"{drill.name:18} {time.monotonic() - began:5.1f} s  {self.count - before} signals"
        print(f"{self.count:4}  {took}  {incident.title(run)}", flush=True)
        for sentence in wrong:
            print(f"      WRONG: {sentence}", flush=True)
        await calm_down(self.world)
        return wrong

    async def _terminate(self) -> list[str]:
        self.count += 1
        try:
            seconds, code = await self.bot.terminate()
        except TimeoutError:
            await self.bot.kill()
            return ["the process had not ended after 15 s"]
        self.longest = max(self.longest, seconds)
        slow = [f"the process took {seconds:.1f} s to end"] if seconds > END_SECONDS else []
        return slow + ([f"its exit code was {code}"] if code not in (0, -SIGTERM) else [])  # -15: it had hardly begun


async def main(count: int, seed: int, work_dir: Path) -> int:
    """Incident after incident until there were enough signals; returns the exit code."""
    failed = 0
    async with Rehearsal(calm_options(work_dir=work_dir / "world", cache=work_dir / "cache", with_bot=False)) as world:
        ending = Terminations(world, seed)
        await world.witness.healthy()
        await ending.bot.start()
        while ending.count < count:
            failed += bool(await ending.incident())
    print(f"{ending.count} signals, {failed} incidents in which something did not hold; the longest end {ending.longest:.2f} s.")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="SIGTERM at random moments of runs.")
    parser.add_argument("--count", type=int, default=200, help="how many signals (200)")
    parser.add_argument("--seed", type=int, default=1, help="the seed (1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sigterms-", ignore_cleanup_errors=True) as temporary:
        sys.exit(asyncio.run(main(given.count, given.seed, folder(Path(temporary)))))
