"""The runs that nobody attended: those that ended badly or wait for a person, and the verifications of backups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, or_, select

from bot.actors import SCHEDULE, TERMINAL, is_person, mention
from bot.state.story import ENDS
from bot.state.tables import plans, runs, steps
from commands.memory import VERIFICATION


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A verification of backups: when it began, and how it ended; `state` says how far it is if it hasn't."""

    id: str
    began: datetime
    state: str


def ended_badly(connection: Connection, since: datetime) -> list[tuple[str, str]]:
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


def verifications(connection: Connection, target: str, since: datetime) -> list[Verified]:
    """The verifications of a database's backups, without a person's that ended badly: it has no alert of its own."""
    chosen = select(runs, plans.c.requested_by).where(plans.c.id == runs.c.id, plans.c.scenario == VERIFICATION)
    chosen = chosen.where(plans.c.target == target, runs.c.began >= since.timestamp())
    return [
        Verified(id=run["id"], began=datetime.fromtimestamp(run["began"], UTC), state=run["state"])
        for run in connection.execute(chosen.order_by(runs.c.began)).mappings()
        if run["state"] == "done" or run["state"] not in ENDS or not is_person(run["requested_by"])
    ]
