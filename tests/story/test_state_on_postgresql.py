"""The same bot with its memory in PostgreSQL, on a server that is not the one being recovered: crashes and a standby."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal import settings
from rehearsal.machines.processes import Processes
from rehearsal.people import told
from rehearsal.postgres.pair import ServerPair
from rehearsal.world import Rehearsal
from tests.story.bots import serves
from tests.story.conftest import Incident, calm_options, until
from tests.story.strange import strange_input_is_answered

ONCE = [("UpdateService", 1)]


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    """A rehearsal whose bot keeps its state on a PostgreSQL server of its own."""
    async with (
        Processes(work_dirs / "state.json") as processes,
        ServerPair(processes, work_dirs / "state", cache=cache, zones=("state-a", "state-b")) as database,
    ):
        work_dir = work_dirs / "on-postgresql"
        options = calm_options(work_dir=work_dir, cache=cache, state_url=database.url("postgres"))
        async with Rehearsal(options) as world:
            await world.witness.healthy()
            await serving(world)
            yield world


async def serving(world: Rehearsal) -> None:
    """Wait until a bot that was just started is through with all that it begins with."""
    await until(lambda: serves(world.bot_log.read_text()), 60)


async def start_standby(world: Rehearsal) -> Path:
    """A second bot on the same state; returns its log once it says that it waits."""
    log = world.work_dir / "standby.log"
    argv = settings.bot_command(world.config, "serve")
    await world.processes.start("standby", argv, env=world.bot_environment, stdout=log, cwd=world.work_dir)
    await until(lambda: log.exists() and "standing_by" in log.read_text(), 20)
    return log


def told_once(incident: Incident, run: str) -> bool:
    keys = [m["metadata"]["event_payload"]["key"] for m in incident.replies(run)]
    return len(set(keys)) == len(keys)


async def test_a_run_on_postgresql_is_done_once(incident: Incident) -> None:
    run = await incident.approved()
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert told((await incident.story(run))["timeline"]) == incident.thread(run)
    assert not list(incident.world.work_dir.glob("state.sqlite*"))


async def test_a_bot_that_is_killed_after_the_effect_resumes_where_it_left_off(incident: Incident) -> None:
    run = await incident.approved()
    await until(lambda: incident.effects() == ONCE)
    await incident.world.kill_bot()
    await incident.world.start_bot()
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert told_once(incident, run)


async def test_a_bot_that_is_told_to_end_in_the_middle_leaves_the_run_to_its_next_start(incident: Incident) -> None:
    await serving(incident.world)
    run = await incident.approved()
    await until(lambda: incident.effects() == ONCE)
    await incident.world.processes.stop("bot", grace=20)
    await incident.world.start_bot()
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert told_once(incident, run)


async def test_a_standby_takes_over_when_the_first_bot_is_killed(incident: Incident) -> None:
    log = await start_standby(incident.world)
    assert "connected" not in [line for line in log.read_text().splitlines() if '"serving"' in line]
    run = await incident.approved()
    await until(lambda: incident.effects() == ONCE)
    await incident.world.kill_bot()
    try:
        assert await incident.ended(run) == "Done"
        assert incident.effects() == ONCE
        assert told_once(incident, run)
        following = await incident.approved("carol", "alice")
        assert await incident.ended(following) == "Done"
    finally:
        await incident.world.processes.kill("standby")


async def test_what_nobody_can_type_is_answered_with_one_sentence(incident: Incident) -> None:
    await strange_input_is_answered(incident)
