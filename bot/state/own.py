"""What this bot deployed itself, from its records: such a deployment is no suspect when something is down afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from actions.aws.deployments import Own
from actions.aws.ecs import ForceNewDeployment, RollBack
from bot.state.tables import intents, plans, steps

PROVEN = ("done", "already done")


def own_deployments(connection: Connection, target: str) -> list[Own]:
    """The latest deployments of a target that are proven steps of this bot's runs, newest first."""
    of_run = plans.c.id == steps.c.run_id, plans.c.target == target, steps.c.state.in_(PROVEN)
    rows = select(plans.c.plan, steps).where(*of_run).order_by(steps.c.began.desc()).limit(100)
    found = (_deployment(connection, row) for row in connection.execute(rows).mappings().all())
    return [own for own in found if own is not None]


def _deployment(connection: Connection, row: Any) -> Own | None:
    step: dict[str, Any] = next((s for stage in row["plan"]["stages"] for s in stage if s["id"] == row["step"]), {})
    if step.get("step") == RollBack.kind:
        revision = step["arguments"]["task_definition"]
    elif step.get("step") == ForceNewDeployment.kind:
        revision = _revision_before(connection, row)
    else:
        return None
    began, ended = (datetime.fromtimestamp(row[name], UTC) for name in ("began", "ended"))
    return Own(revision=revision, rolled_back=step["step"] == RollBack.kind, began=began, ended=ended)


def _revision_before(connection: Connection, row: Any) -> str:
    """The revision that a restart found, and started again."""
    of_step = intents.c.run_id == row["run_id"], intents.c.step == row["step"]
    facts = connection.execute(select(intents.c.facts).where(*of_step).limit(1)).scalar() or {}
    return str(facts.get("revision", ""))
