"""What is asked for other than in Slack's own way: requests by HTTP, the terminal's, and the schedule's."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select, update

from bot.state.tables import answers, insert_once, requests, schedules


def take_request(connection: Connection, signature: str, keep_seconds: float) -> bool:
    """Write a request by HTTP down, by the signature that covers its time and body; False if it was taken before."""
    connection.execute(delete(requests).where(requests.c.at < time.time() - keep_seconds))
    return insert_once(connection, requests, signature=signature, at=time.time())


def refuse_request(connection: Connection, item_id: str, says: str) -> None:
    """Write down why what a terminal asked for was not begun; `dr run` waits for that."""
    insert_once(connection, answers, id=item_id, says=says, at=time.time())


def refusal_of(connection: Connection, item_id: str) -> str | None:
    """Why what a terminal asked for was not begun; None if it wasn't refused."""
    return connection.execute(select(answers.c.says).where(answers.c.id == item_id)).scalar()


def note_schedule(connection: Connection, name: str, cron: str) -> None:
    """Write down since when a schedule is what it is now."""
    known = connection.execute(select(schedules.c.cron).where(schedules.c.name == name)).scalar()
    row = {"cron": cron, "since": time.time()}
    if known is None:
        connection.execute(schedules.insert().values(name=name, **row))
    elif known != cron:
        connection.execute(update(schedules).where(schedules.c.name == name).values(**row))


def scheduled_since(connection: Connection, name: str) -> datetime:
    """Since when a schedule is what it is; now, if it isn't on record."""
    at = connection.execute(select(schedules.c.since).where(schedules.c.name == name)).scalar()
    return datetime.fromtimestamp(time.time() if at is None else at, UTC)
