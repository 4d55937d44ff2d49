"""Two bots on one state, one leads and one stands by, while faults strike them and the state: `python -m tests.story.two_bots`.

    python -m tests.story.two_bots [--faults 50] [--seed 1]

The state is on a PostgreSQL server of its own; each bot reaches it over a link of its own. A fault is one of

    kill     SIGKILL; the process is started again some seconds later
    freeze   SIGSTOP for some seconds, and then the process goes on as if nothing had happened
    vanish   the link drops everything for some seconds: no answer, no farewell
    restart  the state's server is restarted
    away     the state's server is gone for 20 s

A seed chooses the faults, whom they strike and when; what they meet is up to the machine. It prints a line for each incident
and ends with exit code 1 when something did not hold:

- every run ends as done, without a person, its effect happened once, and its thread is its timeline, whole and once;
- no call of a leader arrives at Slack or AWS after one of a later leader: two never act at once;
- 10 s after a fault's end somebody leads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import psycopg

from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from rehearsal.world import Rehearsal
from tests.story.bots import MOMENTS, BotProcess, Persistent, Sends, calm_down, drill_for, folder, judge
from tests.story.conftest import Incident, calm_options
from tests.story.link import Link

KINDS = ("kill", "kill", "freeze", "freeze", "vanish", "vanish", "restart", "away")
AT_THE_LEADER = 0.8  # of the faults that strike one bot
AWAY_SECONDS = 20.0
LEADS_SECONDS = 10.0
LASTS = (0.3, 6.0)  # seconds that a bot stays frozen or vanished
SLOW = (0.0, 0.1, 0.3)  # seconds that every call to AWS takes longer


class Pair:
    """Two bots and their state."""

    def __init__(self, world: Rehearsal, state: ServerPair, sends: Sends) -> None:
        self.world = world
        self.state = state
        self.sends = sends
        self.links: dict[str, Link] = {}
        self.bots: dict[str, BotProcess] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Pair]:
        """Both bots run and one leads, as long as the block lasts."""
        for name in ("bot-a", "bot-b"):
            self.links[name] = link = await Link(self.state.port).open()
            url = self.state.url("postgres").replace(f":{self.state.port}/", f":{link.port}/")
            self.bots[name] = BotProcess(self.world, name, url)
            await self.bots[name].start()
        try:
            with self.sends.watching_slack():
                assert await self.somebody_leads(30) is not None
                yield self
        finally:
            for name, bot in self.bots.items():
                await bot.kill()
                await self.links[name].close()

    async def lease(self) -> tuple[int, str, int]:
        """Epoch, holder and beat as they are in the state."""
        async with await psycopg.AsyncConnection.connect(self.state.dsn("postgres"), connect_timeout=2) as connection:
            sql = "SELECT epoch, holder, beat FROM dr_lease, dr_heartbeat"
            row = await (await connection.execute(sql)).fetchone()
        assert row is not None
        return row

    async def leader(self) -> str:
        """The name of the bot whose process holds the lead; the first one when that is not known."""
        with contextlib.suppress(psycopg.Error, AssertionError):
            _, holder, _ = await self.lease()
            for name in self.bots:
                if f"/{self.world.processes.pid(name)}/" in holder:
                    return name
        return next(iter(self.bots))

    async def somebody_leads(self, seconds: float) -> float | None:
        """After how long the lead was renewed twice and its holder was connected to Slack; None when it was not in time."""
        began, beats = time.monotonic(), set()
        while (passed := time.monotonic() - began) < seconds:
            with contextlib.suppress(psycopg.Error, AssertionError):
                epoch, _, beat = await self.lease()
                beats.add((epoch, beat))
            if len([b for b in beats if b[0] == max(beats)[0]]) > 2 and self.world.workspace.sockets.open:
                return passed
            await asyncio.sleep(0.1)
        return None

    def says(self, since: dict[str, int]) -> str:
        """What both bots logged since their logs had these lengths."""
        return "".join(bot.says(since[name]) for name, bot in self.bots.items())


class Faults:
    """What strikes a pair of bots."""

    def __init__(self, pair: Pair, seed: int, kinds: tuple[str, ...] = KINDS) -> None:
        self.pair = pair
        self.kinds = kinds
        self.chance = random.Random(seed)
        self.struck: list[str] = []
        self.slowest = 0.0
        self._kinds: dict[str, Callable[[str], Awaitable[None]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "vanish": self._vanish,
            "restart": self._restart,
            "away": self._away,
        }

    async def strike(self) -> list[str]:
        """One fault from its beginning to its end, and what did not hold after it."""
        kind = self.chance.choice(self.kinds)
        leader = await self.pair.leader()
        victim = leader if self.chance.random() < AT_THE_LEADER else next(name for name in self.pair.bots if name != leader)
        self.struck.append(kind if kind in ("restart", "away") else f"{kind} {'leader' if victim == leader else 'standby'}")
        await self._kinds[kind](victim)
        seconds = await self.pair.somebody_leads(LEADS_SECONDS)
        if seconds is None:
            return [f"{LEADS_SECONDS:g} s after {self.struck[-1]} nobody led"]
        self.slowest = max(self.slowest, seconds)
        return []

    async def _kill(self, name: str) -> None:
        await self.pair.bots[name].kill()
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        await self.pair.bots[name].start()

    async def _freeze(self, name: str) -> None:
        await self.pair.world.processes.signal(name, SIGSTOP)
        await asyncio.sleep(self.chance.uniform(*LASTS))
        await self.pair.world.processes.signal(name, SIGCONT)

    async def _vanish(self, name: str) -> None:
        self.pair.links[name].vanish()
        await asyncio.sleep(self.chance.uniform(*LASTS))
        self.pair.links[name].come_back()

    async def _restart(self, _: str) -> None:
        await self.pair.state.restart()

    async def _away(self, _: str) -> None:
        await self.pair.state.kill_primary()
        await asyncio.sleep(AWAY_SECONDS)
        await self.pair.state.heal()


async def incident(pair: Pair, faults: Faults) -> list[str]:
    """One incident with one or two faults in its run; prints how it went and returns what did not hold."""
    world, chance = pair.world, faults.chance
    here, drill = Incident(world), drill_for(chance)
    people = Persistent(incident=here, drill=drill, chance=chance)
    began, struck = time.monotonic(), len(faults.struck)
    logged = {name: len(bot.says().encode()) for name, bot in pair.bots.items()}
    pair.sends.sends.clear()
    await world.faults.put(drill.fault)
    if slow := chance.choice(SLOW):
        world.aws_faults.put("slow", times=None, seconds=slow)
    wrong: list[str] = []
    run = ""
    try:
        run = await people.approve()
        for _ in range(chance.choice((1, 1, 2))):
            await asyncio.sleep(chance.uniform(0, MOMENTS[drill.name]))
            wrong += await faults.strike()
        await people.end(run)
        story = await here.story(run)
        wrong += judge(here, people, run, pair.says(logged), story)
    except (AssertionError, TimeoutError) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    wrong += pair.sends.two_at_once()
    strikes = ", ".join(faults.struck[struck:])
    title = here.title(run) if run else "no run"
    print(f"{len(faults.struck):4}  {drill.name:18} {time.monotonic() - began:5.1f} s  {strikes}  {title}", flush=True)
    for sentence in wrong:
        print(f"      WRONG: {sentence}", flush=True)
    if wrong:
        for name, bot in pair.bots.items():
            print(f"      log of {name}: {bot.says(logged[name])[-4000:]}", flush=True)
    await calm_down(world)
    return wrong


@contextlib.asynccontextmanager
async def pair_in(work_dir: Path) -> AsyncIterator[Pair]:
    """A rehearsal with two bots on a state server of its own."""
    cache = work_dir / "cache"
    async with (
        Processes(work_dir / "state.json") as processes,
        ServerPair(processes, work_dir / "state", cache=cache, zones=("state-a", "state-b")) as state,
    ):
        url = state.url("postgres")  # for `dr show`, which looks without a link
        options = calm_options(work_dir=work_dir / "world", cache=cache, with_bot=False, state_url=url)
        async with Rehearsal(options) as world:
            await world.witness.healthy()
            async with Pair(world, state, Sends(world)).running() as pair:
                yield pair


async def main(count: int, seed: int, work_dir: Path) -> int:
    """Incident after incident until there were enough faults; returns the exit code."""
    failed = 0
    async with pair_in(work_dir) as pair:
        faults = Faults(pair, seed)
        while len(faults.struck) < count:
            failed += bool(await incident(pair, faults))
        epoch, _, _ = await pair.lease()
    kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(word.split()[0] for word in faults.struck).items())
    print(f"{len(faults.struck)} faults ({kinds}), {failed} incidents in which something did not hold.")
    print(f"The lead changed hands {epoch - 1} times; after a fault somebody led within {faults.slowest:.1f} s.")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Faults at two bots on one state.")
    parser.add_argument("--faults", type=int, default=50, help="how many (50)")
    parser.add_argument("--seed", type=int, default=1, help="the seed (1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="two-bots-", ignore_cleanup_errors=True) as temporary:
        sys.exit(asyncio.run(main(given.faults, given.seed, folder(Path(temporary)))))
