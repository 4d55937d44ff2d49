"""The schedule of dr.toml: each time that it is due becomes one request in the inbox, by the engine's own scheduler.

The engine fires each time once, through crashes, and makes up for times at which no bot served. A request has an id made of its
time, so that no second one follows from the same. With bot/engine/runs.py this is the only module that knows the engine (DBOS).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS

from bot.actors import SCHEDULE
from bot.cron import how_often, last_due
from bot.settings import Settings
from bot.state.requests import note_schedule, scheduled_since
from bot.state.store import Item, Store, record_items
from commands.memory import VERIFICATION

log = structlog.get_logger(__name__)
NAME = "backup-verify"
LATE = timedelta(hours=24)  # by how much later than due it still begins, if no bot served before
_schedules: list[Schedule] = []  # the one of this process: what the engine calls can't reach it otherwise


@DBOS.workflow(max_recovery_attempts=1000)
async def due(at: datetime | str, _context: Any) -> None:
    """What the engine calls at each time that the schedule is due; after a crash, again."""
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    await DBOS.run_step_async({"name": "request"}, _schedules[-1].request, moment.astimezone(UTC).isoformat())


class Schedule:
    """The verification of backups when it is due. Make it before the engine is launched, and `apply` it afterwards."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.cron = settings.backups.verify
        self._channel = settings.slack.channel
        self._databases = settings.backups.databases or ("",)
        self._store = store
        _schedules[:] = [self]

    async def apply(self) -> None:
        """Let the engine know the schedule of dr.toml, or that there no longer is one."""
        await self._store.do(note_schedule, NAME, self.cron)
        if self.cron:
            known = {"schedule_name": NAME, "workflow_fn": due, "schedule": self.cron, "automatic_backfill": True}
            await DBOS.apply_schedules_async([known])  # type: ignore[list-item]
        else:
            await DBOS.delete_schedule_async(NAME)

    async def request(self, moment: str, now: datetime | None = None) -> None:
        """Put what is due into the inbox, unless it is too late for it, or it is due once more since."""
        now, at = now or datetime.now(UTC), datetime.fromisoformat(moment)
        if not self.cron or at != last_due(self.cron, now) or now - at > LATE or at < await self.since():
            log.warning("schedule_skipped", due=moment)
            return
        for database in self._databases:
            item = Item(
                id=f"request/schedule/{NAME}/{due_of(moment, database)}",
                kind="request",
                person=f"{SCHEDULE}{how_often(self.cron, now)}",
                channel=self._channel,
                payload={"text": asked(database), "due": due_of(moment, database)},
            )
            await self._store.do(record_items, [item])
        log.info("schedule_due", due=moment)

    async def since(self) -> datetime:
        """Since when the schedule is what it is."""
        return await self._store.do(scheduled_since, NAME)


def due_of(moment: str, database: str) -> str:
    """What is due: the moment, and which database if dr.toml names those that are verified ("" if it names none)."""
    return f"{moment}/{database}" if database else moment


def asked(database: str) -> str:
    """The command that the schedule gives for a database."""
    return f"{VERIFICATION} database={database}" if database else VERIFICATION
