"""A whole incident through the page alone, in a real browser: by its guide, as two people, with the refusals that it shows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import calm_options
from tests.world.browser import chromium, violations, window

pytestmark = pytest.mark.timeout(300)
PATIENCE = 60_000
THREE_MINUTES = 180.0


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    """A rehearsal as `make rehearse` starts it, with its pager and its panel."""
    async with Rehearsal(calm_options(work_dir=work_dirs / "page", cache=cache, training=True, tls=True)) as world:
        await world.witness.healthy()
        yield world


async def _refused(world: Rehearsal, page: Any, person: str) -> None:
    """Press Approve as somebody who must not; the bot says so to them alone, and nothing happens."""
    await page.check(f"#people input[value={person}]")
    before = len(world.workspace.ephemerals(person))
    await page.click("[data-action=dr_approve]")
    await page.click("dialog.confirm button[value=yes]")
    await until(lambda: len(world.workspace.ephemerals(person)) > before, 30, f"a refusal of {person}")
    assert world.journal.effects(source="bot") == []


async def test_a_newcomer_recovers_within_three_minutes_by_the_screen_alone(world: Rehearsal) -> None:
    began = time.monotonic()
    async with chromium() as browser, window(browser, world.url, "alice") as alice:
        page = alice.page
        page.set_default_timeout(PATIENCE)
        await page.click("#first-drill")
        await page.click("#guide-steps button:has-text('Break it now')")
        await page.wait_for_selector("#clocks .health-bad:has-text('get errors')")
        await page.wait_for_selector("text=Customers get errors.")  # the pager
        await page.click("#guide-steps button:has-text('Type it for me')")
        await page.wait_for_selector("[data-action=dr_approve]")
        await _refused(world, page, "dave")  # he is not on the list
        await _refused(world, page, "alice")  # she asked
        await page.click("#guide-steps button:has-text('Become a second person')")
        await page.wait_for_selector("[data-action=dr_approve]:focus")  # a selector: the page forbids eval
        await page.keyboard.press("Enter")
        await page.click("dialog.confirm button[value=yes]")
        await page.click("#guide-steps button:has-text('Show the debrief')", timeout=3 * PATIENCE)
        await page.wait_for_selector("#debrief-text li")
        assert time.monotonic() - began < THREE_MINUTES
        told = await page.inner_text("#debrief-text")
        assert "Customers were served again" in told
        assert "/dr control-plane restart" in told
        await page.wait_for_selector("#clocks dd:text-is('0')")  # rows lost, counted by itself
        assert [effect["operation"] for effect in world.journal.effects(source="bot")] == ["UpdateService"]
        await page.click("#tab-journal")
        await page.wait_for_selector("#calls:has-text('ecs UpdateService')")
        await page.click("#tab-world")
        await page.wait_for_selector("#map .node")
        assert await violations(page) == []
