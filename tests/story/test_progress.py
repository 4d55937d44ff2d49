"""A long step says how far it is: on the card, now and then, and nowhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.waiting import until
from tests.story.held_world import HOLD, HeldIncident, HeldWorld, held_world

LOOKS = 160  # a tenth of a second each


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[HeldWorld]:
    async with held_world(work_dirs / "progress", cache) as world:
        yield world


async def test_the_latest_sentence_of_a_long_step_stands_on_the_card_only(world: HeldWorld) -> None:
    incident = HeldIncident(world)
    incident.control(looks=LOOKS)
    run = await incident.plan("alice", HOLD, timeout=60)
    await incident.click("bob", run, "dr_approve")
    seen: list[str] = []
    await until(lambda: '"in_progress"' in incident.says(run), 30)
    while "dr_hold_no" not in incident.buttons(run):
        seen += re.findall(r"Look \d+ at the file, as password=\S+ allows", incident.says(run))
        await asyncio.sleep(0.05)
    sentences = list(dict.fromkeys(seen))
    assert 1 <= len(sentences) <= LOOKS // 50 + 1, sentences
    assert not any("hunter2" in sentence for sentence in sentences)
    assert not any("Look " in line for line in incident.thread(run))
    await incident.says_no(run)
    assert await incident.ended(run, 60) == "Aborted"
    assert "Look " not in incident.says(run)
    assert '"progress_not_told"' not in world.bot_log.read_text()
