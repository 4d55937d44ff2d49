"""Keeps the app's home: publishes it for whoever opens it, and once a day reads what would fail tonight.

What the home shows is the latest that is on record; opening it asks nothing of the world. A home that couldn't be published is
published at the next opening.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import structlog
from sqlalchemy import Connection, select

from actions.scrub import plain, scrub
from actions.world import World
from bot.home import Seen, Told, home_view
from bot.memory import StoreMemory
from bot.settings import Settings
from bot.store import Store
from bot.tables import notes

log = structlog.get_logger(__name__)
CHECK, TARGETS = "latest check", "latest targets"  # names of the notes
FIRST_SECONDS = 600.0  # after the start: a bot that has just taken over has better things to do
LOOK_SECONDS = 600.0
DAY = 24 * 3600.0
MOST_LINES = 200


class HomeTab:
    """`publish` is for an event; `run()` reads once a day until cancelled."""

    def __init__(self, settings: Settings, store: Store, slack: Any) -> None:
        self._settings = settings
        self._store = store
        self._slack = slack

    async def publish(self, person: str) -> None:
        """Publish the home for a person. Slack's refusal is logged."""
        told = await self._store.do(_read)
        seen = Seen(
            stories=await self._store.stories(),
            check=told.get(CHECK),
            targets=told.get(TARGETS),
            cron=self._settings.backups.verify,
        )
        try:
            await self._slack.views_publish(user_id=person, view=home_view(seen))
        except Exception as error:
            log.warning("home_not_published", person=person, error=plain(error))

    async def run(self, world: World) -> None:
        """Once a day, read what would fail tonight and which targets are met; a defect in it ends nothing."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                told = await self._store.do(_read)
                if CHECK not in told or told[CHECK].at < time.time() - DAY:
                    await self.look(world)
            except Exception:
                log.exception("daily_check_broke")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, world: World) -> None:
        """Read both now, and note them."""
        from bot.check import check
        from commands.report import REPORTS

        found = await check(self._settings)
        await self.note(CHECK, [(finding.level.value, finding.says) for finding in found])
        report = await REPORTS["targets"].make(world, StoreMemory(self._store))
        await self.note(TARGETS, [(line.level.value, f"{line.check}: {line.says}") for line in report.findings])

    async def note(self, name: str, lines: Iterable[tuple[str, str]]) -> None:
        """Note what was read."""
        await self._store.do(write_note, self._store, name, list(lines))


def _read(connection: Connection) -> dict[str, Told]:
    rows = connection.execute(select(notes).where(notes.c.name.in_((CHECK, TARGETS)))).mappings()
    return {row["name"]: Told(at=row["at"], lines=tuple((level, says) for level, says in row["value"])) for row in rows}


def write_note(connection: Connection, store: Store, name: str, lines: list[tuple[str, str]]) -> None:
    """Note what was read now; the earlier note goes."""
    value = [[level, scrub(says)] for level, says in lines][:MOST_LINES]
    connection.execute(notes.delete().where(notes.c.name == name))
    store.insert_once(connection, notes, name=name, value=value, at=time.time())
