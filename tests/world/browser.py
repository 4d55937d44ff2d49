"""A headless Chromium for tests of the page, and the reason if there is none."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SPACE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def program() -> str:
    """The path of a Chromium; skips the test if there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("There is no Chromium on this machine.")
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """The running browser; skips the test if there is none or no Playwright."""
    api = pytest.importorskip("playwright.async_api", reason="Playwright isn't installed.")
    path = program()
    async with api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


class Window:
    """One window of one person, which notes what goes wrong in it and where its requests go."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.wrong: list[str] = []
        self.elsewhere: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._said)
        page.on("request", self._requested)

    def _said(self, message: Any) -> None:
        """Note an error; that a workspace without a rehearsal around it has no panel is not one."""
        if message.type == "error" and not message.location["url"].endswith("/rehearsal/faults"):
            self.wrong.append(message.text)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(self.base):
            self.elsewhere.append(request.url)

    async def say(self, text: str) -> None:
        """Type into the message field and press Enter."""
        await self.page.fill("#composer-text", text)
        await self.page.press("#composer-text", "Enter")

    async def focused(self) -> str:
        """What has the focus: its id, action or tag."""
        script = "(({id, dataset, tagName}) => dataset.action || id || tagName)(document.activeElement)"
        return str(await self.page.evaluate(script))


@asynccontextmanager
async def window(
    browser: Any, base: str, person: str, *, size: dict[str, int] | None = None, **more: Any
) -> AsyncIterator[Window]:
    """A window of this person, in a session of its own; fails if the page had an error or asked another machine."""
    session = await browser.new_context(viewport=size or SPACE, reduced_motion="reduce", **more)
    opened = Window(await session.new_page(), base)
    await opened.page.goto(f"{base}/?person={person}")
    await opened.page.wait_for_selector("#channels button", state="attached")
    yield opened
    await session.close()
    assert not opened.wrong, opened.wrong
    assert opened.elsewhere == []


async def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with the page: the rules, each with its element."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core isn't installed.")
    await page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    nodes = [(one["id"], node) for one in found["violations"] for node in one["nodes"]]
    return [f"{name}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}" for name, node in nodes]
