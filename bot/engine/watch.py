"""The watch over what nobody attends: a missing verification alerts as loudly as one that failed, and each alerts once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import structlog

from bot.cron import last_due, next_due
from bot.engine.schedule import Schedule, asked, due_of
from bot.settings import Settings
from bot.slack.alerts import missed_key
from bot.state.messages import order_alert
from bot.state.store import Connection, Store
from bot.state.story import ENDS
from bot.state.unattended import Verified, ended_badly, verifications
from commands.memory import verified_target
from commands.scenario import suggest

log = structlog.get_logger(__name__)
EVERY_SECONDS = 5.0
LOOK_BACK = timedelta(days=14)  # for runs that ended badly
TO_BEGIN, TO_END = timedelta(hours=1), timedelta(hours=6)  # what a verification gets after it was due


def missing(cron: str, since: datetime, now: datetime, known: Iterable[Verified], database: str = "") -> str:
    """What is missing at this moment, as a sentence; "" if nothing is. `since` is when the schedule became what it is.

    `database` is named if dr.toml names those that are verified.
    """
    backups = f"backups of {database}" if database else "backups"
    at = last_due(cron, now)
    period = next_due(cron, now) - at
    runs_since = [run for run in known if run.began >= at]
    if at < since or any(run.state == "done" for run in runs_since):
        return ""
    under_way = [run.id for run in runs_since if run.state not in ENDS]
    if under_way and now > at + min(TO_END, period / 2):
        return f"The verification of {backups} that was due at {_utc(at)} has not ended yet: run {under_way[-1]}."
    if not runs_since and now > at + min(TO_BEGIN, period / 2):
        return f"The verification of {backups} that was due at {_utc(at)} did not begin."
    return ""


class Watch:
    """`run()` looks every few seconds until cancelled."""

    def __init__(self, settings: Settings, store: Store, schedule: Schedule) -> None:
        self._channel = settings.slack.channel
        self._store = store
        self._schedule = schedule
        named = settings.backups.databases or ("",)  # "": the first database of dr.toml
        self._verified = {name: verified_target(settings.database(name)) for name in named}

    async def run(self) -> None:
        """Look, and alert; a defect in it ends nothing."""
        while True:
            try:
                await self.look(datetime.now(UTC))
            except Exception:
                log.exception("watch_broke")
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self, now: datetime) -> None:
        """Order the alerts that are due now."""
        since = await self._schedule.since() if self._schedule.cron else now
        await self._store.do(self._look, now, since)

    def _look(self, connection: Connection, now: datetime, since: datetime) -> None:
        for key, says in ended_badly(connection, now - LOOK_BACK):
            order_alert(connection, key, self._channel, says)
        if cron := self._schedule.cron:
            at = last_due(cron, now)
            for name, target in self._verified.items():
                if says := missing(cron, since, now, verifications(connection, target, at), name):
                    text = f"{says} Look at `/dr runs` and `/dr backup status`, and {suggest(asked(name), 'verify one by hand')}."
                    order_alert(connection, missed_key(due_of(at.isoformat(), name)), self._channel, text)


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
