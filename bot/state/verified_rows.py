"""How many rows each table had when a database's backups were last verified, from the bot's own record of runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from actions.db.evidence import COUNTED
from bot.state.story import ENDS
from bot.state.tables import items, plans, runs
from commands.memory import VERIFICATION

LATEST = 100  # runs that are looked through, of all databases


def last_rows(connection: Connection, database: str, at: datetime) -> dict[str, int]:
    """The rows by table as the newest run that is over counted them, in a copy of this moment or earlier; empty if none has.

    It counts however the run ended: a table that was emptied on purpose fails one verification, not all that follow.
    """
    over = plans.c.id == runs.c.id, plans.c.scenario == VERIFICATION, runs.c.state.in_(ENDS), runs.c.ended.is_not(None)
    newest = connection.execute(select(runs.c.id).where(*over).order_by(runs.c.ended.desc()).limit(LATEST)).scalars().all()
    for run in newest:
        found = connection.execute(select(items.c.facts).where(items.c.run_id == run, items.c.state == COUNTED)).scalars().all()
        mine = [facts for facts in found if facts.get("original") == database and datetime.fromisoformat(facts["at"]) <= at]
        if mine:
            return dict(max(mine, key=lambda facts: datetime.fromisoformat(facts["at"]))["rows"])
    return {}
