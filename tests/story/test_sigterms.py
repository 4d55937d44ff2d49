"""A bot that is told to end in the middle of a run: no step fails by it, and nobody waits. `sigterms.py` does it 200 times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import calm_options
from tests.story.sigterms import Terminations

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    """A rehearsal whose bot is started and ended by the tests."""
    async with Rehearsal(calm_options(work_dir=work_dirs / "sigterms", cache=cache, with_bot=False)) as world:
        await world.witness.healthy()
        yield world


async def test_signals_at_random_moments_of_a_run_leave_it_to_the_next_process(world: Rehearsal) -> None:
    ending = Terminations(world, seed=5)
    await ending.bot.start()
    wrong: list[str] = []
    while ending.count < 3:
        wrong += await ending.incident()
    await ending.bot.terminate()
    assert wrong == []


async def test_a_bot_that_waits_for_its_state_ends_when_it_is_told_to(world: Rehearsal) -> None:
    ending = Terminations(world, seed=1)
    text = ending.bot.config.read_text()
    state = text.partition('[state]\nurl = "')[2].partition('"')[0]
    ending.bot.config.write_text(text.replace(state, "postgresql://dr@127.0.0.1:1/dr"))
    start = len(ending.bot.says().encode())
    await ending.bot.start()
    await until(lambda: "state_away" in ending.bot.says(start), 20)
    seconds, code = await ending.bot.terminate()
    assert (seconds < 5.0, code) == (True, 0)
