"""Once a day the bot reads what would fail tonight and which targets are met, and notes it for the app's home."""

from __future__ import annotations

import asyncio
import time

import structlog

from actions.world import World
from bot.check import check
from bot.settings import Settings
from bot.state.memory import StoreMemory
from bot.state.notes import CHECK, TARGETS, note_lines, told
from bot.state.store import Store
from commands.report import REPORTS

log = structlog.get_logger(__name__)
FIRST_SECONDS = 600.0  # after the start: a bot that has just taken over has better things to do
LOOK_SECONDS = 600.0
DAY = 24 * 3600.0


async def read_daily(settings: Settings, store: Store, world: World) -> None:
    """Read and note both once a day, until cancelled; a defect in it ends nothing."""
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            latest = await store.do(told)
            if CHECK not in latest or latest[CHECK].at < time.time() - DAY:
                await _read(settings, store, world)
        except Exception:
            log.exception("daily_check_broke")
        await asyncio.sleep(LOOK_SECONDS)


async def _read(settings: Settings, store: Store, world: World) -> None:
    found = await check(settings)
    await store.do(note_lines, CHECK, [(finding.level.value, finding.says) for finding in found])
    report = await REPORTS["targets"].make(world, StoreMemory(store))
    await store.do(note_lines, TARGETS, [(line.level.value, f"{line.check}: {line.says}") for line in report.findings])
