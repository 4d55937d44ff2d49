"""The pictures of the docs: `python -m tests.pictures [FOLDER]` writes plan, card, question, home and report in both themes.

A real incident in the rehearsal, seen in a real browser: a restart that is told as it goes, and one that AWS refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from rehearsal.drills.breaking import break_it
from rehearsal.drills.catalogue import DRILLS
from rehearsal.people import People
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal
from tests.world.browser import chromium, window

ROOT = Path(__file__).parents[1]
THEMES = ("light", "dark")
SIZE = {"width": 1280, "height": 2200}  # high enough for the longest message: what is scrolled away isn't in a picture
PATIENCE = 60_000
Pages = Mapping[str, Any]


async def main(folder: Path) -> None:
    """Write all pictures into the folder."""
    with tempfile.TemporaryDirectory() as place:
        options = Options(port=0, speed=30.0, work_dir=Path(place) / "work", cache=ROOT / ".rehearsal" / "cache")
        async with Rehearsal(options) as world, _pages(world) as pages:
            await world.witness.healthy()
            people = People(world.workspace)
            await _restart(world, people, pages, folder)
            await _question(world, people, pages, folder)
            await _home(people, pages, folder)
            await _workspace(pages, folder)


@asynccontextmanager
async def _pages(world: Rehearsal) -> AsyncIterator[Pages]:
    """The workspace as Alice sees it, in a window of each theme."""
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(chromium())
        opened = {
            theme: await stack.enter_async_context(
                window(browser, world.url, "alice", size=SIZE, color_scheme=theme, device_scale_factor=1.5)
            )
            for theme in THEMES
        }
        for one in opened.values():
            one.page.set_default_timeout(PATIENCE)
        yield {theme: one.page for theme, one in opened.items()}


async def _restart(world: Rehearsal, people: People, pages: Pages, folder: Path) -> None:
    """Plan, card under way, and the end with its report."""
    run = await people.plan("alice", await break_it(world, DRILLS["control-plane-down"]), 30)
    await _shoot(pages, f'[data-ts="{people.card(run)["ts"]}"]', folder, "plan")
    await people.click("bob", run, "dr_approve")
    await until(lambda: '"in_progress"' in people.says(run), 30, "a step under way")
    await _shoot(pages, f'[data-ts="{people.card(run)["ts"]}"]', folder, "card")
    end = await until(lambda: _end_with_files(people, run), 120, "the report")
    await asyncio.sleep(1.0)  # the picture in it is loaded
    await _shoot(pages, f'#messages [data-ts="{end["ts"]}"]', folder, "report")


async def _question(world: Rehearsal, people: People, pages: Pages, folder: Path) -> None:
    """AWS refuses the restart, and the run asks what to do."""
    await world.faults.put("heal")
    await world.witness.healthy()
    run = await people.plan("alice", await break_it(world, DRILLS["control-plane-down"]), 30)
    world.aws_faults.put("access_denied", operation="UpdateService")
    await people.click("bob", run, "dr_approve")
    await until(lambda: "dr_retry" in people.buttons(run), 60, "a question")
    asked = await until(lambda: _question_of(people), 30, "the question's message")
    await _shoot(pages, f'#messages [data-ts="{asked["ts"]}"]', folder, "question")


async def _home(people: People, pages: Pages, folder: Path) -> None:
    """The app's home, after somebody looked at the targets."""
    await people.type("alice", "targets")
    await people.quiet()
    for page in pages.values():
        await page.set_viewport_size({"width": 1280, "height": 760})
        await page.click("#channels button:has-text('home')")
        await page.wait_for_selector("#home >> text=Running now")
    await _shoot(pages, "#home", folder, "home")


async def _workspace(pages: Pages, folder: Path) -> None:
    """The whole workspace, as `make rehearse` shows it."""
    for theme, page in pages.items():
        await page.set_viewport_size({"width": 1440, "height": 900})
        await page.click("#channels button:has-text('incident')")
        await page.click("#messages .thread-foot button:has-text('repl')")
        await asyncio.sleep(0.5)
        await page.screenshot(path=folder / f"workspace-{theme}.png")


async def _shoot(pages: Pages, selector: str, folder: Path, name: str) -> None:
    """A picture of this part of the page in each theme. What is edited meanwhile is drawn again, and found again."""
    from playwright.async_api import Error

    for theme, page in pages.items():
        picture = folder / f"{name}-{theme}.png"
        picture.unlink(missing_ok=True)
        async with asyncio.timeout(PATIENCE / 1000):
            while not picture.exists():
                await page.wait_for_selector(selector)
                with contextlib.suppress(Error):
                    await page.locator(selector).first.screenshot(path=picture)


def _end_with_files(people: People, run: str) -> Any:
    thread = people.slack.messages("incident", people.card(run)["ts"])[1:]
    return next((message for message in thread if message.get("files")), None)


def _question_of(people: People) -> Any:
    """The message of the question, not the card that has the same buttons."""
    return next((m for m in people.messages() if "dr_retry" in str(m["blocks"]) and ":message" in str(m["metadata"])), None)


if __name__ == "__main__":
    images = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(images))
