"""A whole incident through the page alone, in a real browser: by its guide, as two people, with the refusals that it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import Incident, calm_options
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


async def _approve(page: Any) -> None:
    """Press the newest Approve, and Yes."""
    await page.locator("[data-action=dr_approve]").last.click(timeout=PATIENCE)
    await page.click("dialog.confirm button[value=yes]")


async def test_two_people_in_windows_of_their_own_meet_an_expired_and_a_stale_plan(incident: Incident) -> None:
    base = incident.world.url
    async with chromium() as browser, window(browser, base, "alice") as alice, window(browser, base, "bob") as bob:
        async with incident.settings("expiry_minutes = 15.0", "expiry_minutes = 0.02"):
            await alice.say("/dr control-plane restart")
            await bob.page.wait_for_selector("[data-action=dr_approve]", timeout=PATIENCE)
            await asyncio.sleep(1.5)
            await _approve(bob.page)
            await bob.page.wait_for_selector(".ephemeral:has-text('expired at'):has-text('Nothing was done')", timeout=PATIENCE)
        run = await incident.plan("alice")
        await incident.deploy(6)
        await _approve(bob.page)
        for person in (alice, bob):
            await person.page.wait_for_selector(":text('Task definition was control-plane:7, is now control-plane:6.')")
        assert await incident.ended(run) == "Not started"
        assert await alice.page.locator(".ephemeral:has-text('expired at')").count() == 0  # it was said to bob alone
    assert incident.effects() == []
