"""Outages as the bot saw them: when a service began to fail, and when it answered again."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from bot.state.tables import outages

SAME_SECONDS = 60.0  # a service that fails again so soon has not come back in between


def note_health(connection: Connection, service: str, at: float, wrong: str) -> None:
    """Write down that a service fails, or that it no longer does ("" for `wrong`). What is on record stays as it is."""
    last = select(outages).where(outages.c.service == service).order_by(outages.c.began.desc()).limit(1)
    row = connection.execute(last).mappings().first()
    is_open = row is not None and row["ended"] is None
    if wrong and not is_open:
        if row is not None and at - row["ended"] < SAME_SECONDS:
            connection.execute(update(outages).where(outages.c.id == row["id"]).values(ended=None))
        else:
            connection.execute(outages.insert().values(service=service, began=at, says=wrong))
    elif not wrong and is_open and row is not None:
        connection.execute(update(outages).where(outages.c.id == row["id"]).values(ended=at))
