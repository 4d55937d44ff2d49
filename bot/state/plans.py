"""Plans as they were shown: each is stored once, with the card that shows it."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, RowMapping, or_, select, update

from actions.scrub import scrub_all
from bot.state.story import ENDS
from bot.state.tables import insert_once, outbox, plans, runs
from bot.state.timeline import redraw


def add_plan(connection: Connection, row: dict[str, Any]) -> bool:
    """Store a plan as it is shown and order its card; False if it is stored already."""
    plan = row["plan"] | {name: scrub_all(row["plan"][name]) for name in ("why", "findings", "cost")}
    if not insert_once(connection, plans, **row | {"plan": plan, "changes": scrub_all(row["changes"])}):
        return False
    insert_once(connection, outbox, key=row["id"], kind="card", run_id=row["id"], channel=row["channel"])
    return True


def plan_row(connection: Connection, plan_id: str) -> RowMapping | None:
    """A plan as it is stored; None if there is none."""
    return connection.execute(select(plans).where(plans.c.id == plan_id)).mappings().first()


def offered_twins(connection: Connection, digest: str) -> list[RowMapping]:
    """The plans on offer that do exactly the same."""
    same = plans.c.status == "offered", plans.c.digest == digest, plans.c.expires > time.time()
    return list(connection.execute(select(plans).where(*same)).mappings())


def supersede(connection: Connection, plan_id: str) -> None:
    """Take a plan off offer, because another one takes its place."""
    _change_status(connection, plan_id, "superseded")


def redraw_clocks(connection: Connection) -> None:
    """Redraw the clocks of runs under way, and close plans whose time is over."""
    for run_id in connection.execute(select(runs.c.id).where(runs.c.state.not_in(ENDS))).scalars().all():
        redraw(connection, run_id)
    over = select(plans.c.id).where(plans.c.status == "offered", plans.c.expires < time.time())
    for plan_id in connection.execute(over).scalars().all():
        _change_status(connection, plan_id, "expired")
        redraw(connection, plan_id)


def open_in_thread(connection: Connection, channel: str, thread: str) -> list[str]:
    """The run in whose thread we are; else all runs of the channel, and the plans that wait there for their approval."""
    is_open = or_(
        runs.c.state.not_in(ENDS), runs.c.id.is_(None) & (plans.c.status == "offered") & (plans.c.expires > time.time())
    )
    query = select(plans.c.id, outbox.c.ts).select_from(
        plans.outerjoin(runs, runs.c.id == plans.c.id).outerjoin(outbox, outbox.c.key == plans.c.id)
    )
    rows = connection.execute(query.where(plans.c.channel == channel, is_open).order_by(plans.c.requested_at)).all()
    of_thread = [run_id for run_id, ts in rows if ts and ts == thread]
    return of_thread or [run_id for run_id, _ in rows]


def _change_status(connection: Connection, plan_id: str, status: str) -> None:
    connection.execute(update(plans).where(plans.c.id == plan_id).values(status=status))
