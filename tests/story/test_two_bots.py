"""Two bots on one state: who takes over how soon, and that nobody acts twice or besides another. `two_bots.py` has many more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP
from typing import Any

import psycopg
import pytest

from rehearsal.drills.catalogue import DRILLS
from rehearsal.waiting import until
from tests.story.bots import Persistent, calm_down, folder, judge, serves
from tests.story.conftest import Incident
from tests.story.two_bots import Faults, Pair, incident, pair_in

ELSEWHERE = "elsewhere/1/2/word"  # a process of another machine, which cannot be looked up
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
async def pair(work_dirs: Path) -> AsyncIterator[Pair]:
    work_dir = work_dirs / "two-bots"
    work_dir.mkdir()
    async with pair_in(folder(work_dir)) as made:
        yield made


@pytest.fixture(autouse=True)
async def calm(pair: Pair) -> AsyncIterator[None]:
    pair.sends.sends.clear()
    yield
    for name, bot in pair.bots.items():
        pair.links[name].come_back()
        await pair.world.processes.signal(name, SIGCONT)
        if not bot.lives:
            await bot.start()
    assert await pair.somebody_leads(10.0) is not None
    await until(lambda: all(bot.ready for bot in pair.bots.values()), 20.0)
    await calm_down(pair.world)


async def ask_state(pair: Pair, sql: str) -> Any:
    """The first value of a question to the state, or of a change."""
    connecting = psycopg.AsyncConnection.connect(pair.state.dsn("postgres"), autocommit=True)
    async with await connecting as connection:
        row = await (await connection.execute(sql)).fetchone()
        return row[0] if row else None


async def changes_hands(pair: Pair, epoch: int, seconds: float) -> None:
    """Wait until somebody else leads."""
    began = time.monotonic()
    while (await pair.lease())[0] == epoch:
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s"
        await asyncio.sleep(0.02)


async def elsewhere(pair: Pair) -> tuple[str, int]:
    """The leader and its epoch; from now on it counts as a process of another machine."""
    leader = await pair.leader()
    await ask_state(pair, f"UPDATE dr_lease SET holder = '{ELSEWHERE}' RETURNING 1")
    return leader, (await pair.lease())[0]


def at_work(pair: Pair, drill: str = "control-plane-down") -> Persistent:
    return Persistent(incident=Incident(pair.world), drill=DRILLS[drill], chance=Random(1))


async def ends_well(pair: Pair, people: Persistent, run: str, logged: dict[str, int]) -> None:
    await people.end(run)
    assert judge(people.incident, people, run, pair.says(logged), await people.incident.story(run)) == []
    assert pair.sends.two_at_once() == []


def logged(pair: Pair) -> dict[str, int]:
    return {name: len(bot.says().encode()) for name, bot in pair.bots.items()}


async def test_a_killed_leader_is_replaced_when_its_lease_expires(pair: Pair) -> None:
    """Which is within two seconds; `two_bots.py` prints how long it took."""
    leader, epoch = await elsewhere(pair)
    start = logged(pair)
    await pair.bots[leader].kill()
    await changes_hands(pair, epoch, 10.0)
    await until(lambda: '"lease_was": "expired"' in pair.says(start), 4.0)


async def test_a_killed_leader_of_this_machine_is_replaced_at_once(pair: Pair) -> None:
    leader, epoch = await pair.leader(), (await pair.lease())[0]
    start = logged(pair)
    await pair.bots[leader].kill()
    await changes_hands(pair, epoch, 4.0)
    await until(lambda: '"lease_was": "' in pair.says(start), 4.0)  # the log comes a moment after the lease
    assert '"lease_was": "gone"' in pair.says(start)  # nobody waited until it expired


async def test_a_leader_that_ends_cleanly_is_replaced_at_once(pair: Pair) -> None:
    leader, epoch = await elsewhere(pair)
    await until(lambda: serves(pair.bots[leader].says()), 60.0)  # it may have taken the lead a moment ago
    start = logged(pair)
    seconds, code = await pair.bots[leader].terminate()
    assert (seconds < 5.0, code) == (True, 0)
    await changes_hands(pair, epoch, 10.0)
    await until(lambda: '"lease_was": "free"' in pair.says(start), 4.0, lambda: pair.says(start))  # and nobody waited


async def test_a_leader_whose_host_vanished_is_replaced_and_stands_by_when_it_is_back(pair: Pair) -> None:
    leader, epoch = await elsewhere(pair)
    log = pair.bots[leader]
    start = len(log.says().encode())
    pair.links[leader].vanish()
    await changes_hands(pair, epoch, 10.0)
    assert log.lives
    pair.links[leader].come_back()
    await until(lambda: "deposed" in log.says(start) and "standing_by" in log.says(start), 10.0, lambda: log.says(start))
    assert log.lives


async def test_a_leader_ends_within_five_seconds_when_its_state_has_vanished(pair: Pair) -> None:
    leader = await pair.leader()
    pair.links[leader].vanish()
    await asyncio.sleep(0.5)
    seconds, code = await pair.bots[leader].terminate()
    assert (seconds < 5.0, code) == (True, 0)


async def test_a_leader_that_is_frozen_before_its_effect_has_no_second_one_when_it_awakes(pair: Pair) -> None:
    people, start = at_work(pair), logged(pair)
    leader, epoch = await pair.leader(), (await pair.lease())[0]
    await pair.world.faults.put("control-plane-hangs")
    run = await people.approve()
    recorded = f"SELECT count(*) FROM dr_intents WHERE run_id = '{run}'"
    while not await ask_state(pair, recorded):  # noqa: ASYNC110 - the state announces nothing
        await asyncio.sleep(0.002)
    await pair.world.processes.signal(leader, SIGSTOP)
    await changes_hands(pair, epoch, 10.0)
    await until(lambda: people.incident.effects() != [], 20.0)
    await pair.world.processes.signal(leader, SIGCONT)
    await ends_well(pair, people, run, start)
    await until(lambda: "deposed" in pair.bots[leader].says(start[leader]), 5.0)


async def test_a_state_that_restarts_while_a_standby_takes_over_loses_no_run(pair: Pair) -> None:
    people, start = at_work(pair), logged(pair)
    leader, epoch = await pair.leader(), (await pair.lease())[0]
    await pair.world.faults.put("control-plane-hangs")
    run = await people.approve()
    await until(lambda: people.incident.effects() != [], 20.0)
    await pair.bots[leader].kill()
    await changes_hands(pair, epoch, 4.0)
    await pair.state.restart()
    await ends_well(pair, people, run, start)


async def test_faults_at_random_moments_of_a_run_repeat_nothing(pair: Pair) -> None:
    faults = Faults(pair, 1, kinds=("kill", "freeze", "vanish", "restart"))  # nothing of 20 s
    assert await incident(pair, faults) == []
