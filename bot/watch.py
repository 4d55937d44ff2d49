"""The watch over what nobody attends: a missing verification alerts as loudly as one that failed, and each alerts once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection, or_, select

from bot.actors import SCHEDULE, TERMINAL, is_person, mention
from bot.alerts import alert, missed_key
from bot.cron import last_due, next_due
from bot.schedule import Schedule, asked, due_of
from bot.settings import Settings
from bot.store import Store
from bot.story import ENDS
from bot.tables import plans, runs, steps
from commands.memory import VERIFICATION, verified_target
from commands.scenario import suggest

log = structlog.get_logger(__name__)
EVERY_SECONDS = 5.0
LOOK_BACK = timedelta(days=14)  # for runs that ended badly
TO_BEGIN, TO_END = timedelta(hours=1), timedelta(hours=6)  # what a verification gets after it was due


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A verification of backups: when it began, and how it ended; `state` says how far it is if it hasn't."""

    id: str
    began: datetime
    state: str


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
        for key, says in unattended(connection, now - LOOK_BACK):
            alert(connection, self._store, key, self._channel, says)
        if cron := self._schedule.cron:
            at = last_due(cron, now)
            for name, target in self._verified.items():
                if says := missing(cron, since, now, _verifications(connection, target, at), name):
                    text = f"{says} Look at `/dr runs` and `/dr backup status`, and {suggest(asked(name), 'verify one by hand')}."
                    alert(connection, self._store, missed_key(due_of(at.isoformat(), name)), self._channel, text)


def unattended(connection: Connection, since: datetime) -> list[tuple[str, str]]:
    """The runs that no person asked for and that ended badly or wait for one: the key of each alert, and what it says."""
    actors = or_(*(plans.c.requested_by.startswith(kind) for kind in (TERMINAL, SCHEDULE)))
    chosen = select(runs, plans.c.scenario, plans.c.requested_by).where(plans.c.id == runs.c.id, actors)
    found = []
    for run in connection.execute(chosen.where(runs.c.began > since.timestamp())).mappings().all():
        who = f"`/dr {run['scenario']}`, which {mention(run['requested_by'])} asked for"
        if run["question"]:
            found.append(
                (f"{run['id']}/{run['question']['name']}", f"{who}, waits for a decision: {run['says']} Run {run['id']}.")
            )
        elif run["state"] in ENDS and (wrong := _wrong(connection, run["id"], run["state"])):
            found.append((f"{run['id']}/ended", f"{who}, {wrong}: {run['says']} `/dr show {run['id']}` has the details."))
    return found


def _wrong(connection: Connection, run_id: str, state: str) -> str:
    """How a run that is over ended, if not well."""
    skipped = select(steps.c.step).where(steps.c.run_id == run_id, steps.c.state.not_in(("done", "already done")))
    if state != "done":
        return f"ended as {state}"
    return "ended with steps that are not proven" if connection.execute(skipped.limit(1)).first() else ""


def _verifications(connection: Connection, target: str, since: datetime) -> list[Verified]:
    """The verifications of a database's backups, without a person's that ended badly: it has no alert of its own."""
    chosen = select(runs, plans.c.requested_by).where(plans.c.id == runs.c.id, plans.c.scenario == VERIFICATION)
    chosen = chosen.where(plans.c.target == target, runs.c.began >= since.timestamp())
    return [
        Verified(id=run["id"], began=datetime.fromtimestamp(run["began"], UTC), state=run["state"])
        for run in connection.execute(chosen.order_by(runs.c.began)).mappings()
        if run["state"] == "done" or run["state"] not in ENDS or not is_person(run["requested_by"])
    ]


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
