"""The bot's past for reports, from its own record: `commands/memory.py` says what may be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from actions.errors import Unreachable
from actions.values import Result
from bot.settings import BadSettings
from bot.state.store import Store
from bot.state.story import ENDS
from bot.state.tables import plans, runs, steps
from commands.memory import VERIFICATION, PastRun

LATEST = 20
RESTORES, RECOVERED = ("rds.restore_snapshot", "rds.restore_to_time"), "postgresql.recovered"  # kinds of steps


class StoreMemory:
    """The memory of a bot whose state is open."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def recoveries(self) -> Sequence[PastRun]:
        """The latest runs that are over, newest first, without the verifications of backups."""
        return await self._store.do(_past, plans.c.scenario != VERIFICATION)

    async def verifications(self) -> Sequence[PastRun]:
        """The latest verifications of backups that are over, newest first."""
        return await self._store.do(_past, plans.c.scenario == VERIFICATION)


class LateMemory:
    """The same for a program that opens the state only for this: its server may be away, and the report comes all the same."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._opening: asyncio.Task[Store] | None = None

    async def recoveries(self) -> Sequence[PastRun]:
        """As `StoreMemory` has it. Raises `Unreachable` if the state cannot be opened."""
        return await StoreMemory(await self._store()).recoveries()

    async def verifications(self) -> Sequence[PastRun]:
        """As `StoreMemory` has it. Raises `Unreachable` if the state cannot be opened."""
        return await StoreMemory(await self._store()).verifications()

    async def close(self) -> None:
        """Close the state if it was opened."""
        if self._opening and self._opening.done() and not self._opening.exception():
            self._opening.result().close()

    async def _store(self) -> Store:
        self._opening = self._opening or asyncio.create_task(asyncio.to_thread(self._open_store))
        try:
            return await asyncio.shield(self._opening)
        except BadSettings as error:
            raise Unreachable(str(error)) from error


def _past(connection: Connection, which: Any) -> list[PastRun]:
    columns = (plans.c.scenario, plans.c.target, plans.c.plan, runs.c.id, runs.c.state, runs.c.says, runs.c.began, runs.c.ended)
    over = select(*columns).where(plans.c.id == runs.c.id, which, runs.c.state.in_(ENDS), runs.c.ended.is_not(None))
    rows = connection.execute(over.order_by(runs.c.ended.desc()).limit(LATEST)).mappings().all()
    return [_run(row, _restore_seconds(connection, row["id"], row["plan"])) for row in rows]


def _run(row: Any, restore_seconds: float | None) -> PastRun:
    approved, ended = (datetime.fromtimestamp(row[name], UTC) for name in ("began", "ended"))
    known = {name: row[name] for name in ("id", "scenario", "target", "state", "says")}
    return PastRun(**known, approved=approved, ended=ended, restore_seconds=restore_seconds)


def _restore_seconds(connection: Connection, run_id: str, plan: Any) -> float | None:
    """From the first restore's beginning until the copy had recovered; None if a run has no restore that came so far."""
    kinds = {step["id"]: step["step"] for stage in plan.get("stages", []) for step in stage}
    first, last = ([step for step, kind in kinds.items() if kind in names] for names in (RESTORES, (RECOVERED,)))
    if not first or not last:
        return None
    found = {row.step: row for row in connection.execute(select(steps).where(steps.c.run_id == run_id))}
    began, end = found.get(first[0]), found.get(last[-1])
    if began is None or end is None or end.ended is None or end.state not in (Result.DONE, Result.ALREADY_DONE):
        return None
    return float(end.ended - began.began)
