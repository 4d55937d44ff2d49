"""The timeline of a run: each line is added once, with the reply that tells it in the thread and a new revision of the card."""

from __future__ import annotations

import time

from sqlalchemy import Connection, select, update

from actions.scrub import scrub
from bot.state.story import QUIET
from bot.state.tables import insert_once, outbox, plans, timeline


def tell(connection: Connection, run_id: str, key: str, mark: str, text: str) -> None:
    """Add a line to the timeline, once; order its reply in the thread, unless it is quiet, and a new revision of the card."""
    text = scrub(text)
    if not insert_once(connection, timeline, run_id=run_id, key=f"{run_id}/{key}", mark=mark, text=text, at=time.time()):
        return
    if mark not in QUIET:
        reply = {"kind": "reply", "run_id": run_id, "channel": channel_of(connection, run_id), "mark": mark, "text": text}
        insert_once(connection, outbox, key=f"{run_id}/{key}", **reply)
    redraw(connection, run_id)


def is_told(connection: Connection, run_id: str, key: str) -> bool:
    """Whether the timeline has this line."""
    return connection.execute(select(timeline.c.seq).where(timeline.c.key == f"{run_id}/{key}")).first() is not None


def redraw(connection: Connection, run_id: str) -> None:
    """Order a new revision of a run's card."""
    connection.execute(update(outbox).where(outbox.c.key == run_id).values(rev=outbox.c.rev + 1))


def channel_of(connection: Connection, run_id: str) -> str:
    """The channel in which a run is told."""
    return str(connection.execute(select(plans.c.channel).where(plans.c.id == run_id)).scalar_one())
