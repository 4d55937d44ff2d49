"""How long runs of a kind took before, by the bot's own record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sqlalchemy import Connection, select

from bot.state.tables import plans, runs, steps
from commands.plan import Plan

PAST = 10  # of the latest runs that went well; older ones say little


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How long runs of the same scenario took, in seconds: `whole` and `fallback` as medians, `steps` by their kind."""

    runs: int = 0
    whole: float | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    fallback: float | None = None


def read_usual(connection: Connection, plan: Plan) -> Usual:
    """How long runs like this one took, by the bot's own record."""
    past = _past(connection, plan.scenario)
    whole = [row["ended"] - row["began"] for row in past]
    fallback = [row["ended"] - row["began"] for row in _past(connection, plan.fallback)] if plan.fallback else []
    return Usual(
        runs=len(past),
        whole=median(whole) if whole else None,
        steps=_steps(connection, past),
        fallback=median(fallback) if fallback else None,
    )


def _past(connection: Connection, command: str) -> list[Any]:
    """The latest runs of a scenario that went well; a fallback's command may have arguments after the scenario's words."""
    words = " ".join(word for word in command.split() if "=" not in word)
    columns = (runs.c.id, runs.c.began, runs.c.ended, plans.c.plan)
    same = plans.c.id == runs.c.id, plans.c.scenario == words, runs.c.state == "done", runs.c.ended.is_not(None)
    return list(connection.execute(select(*columns).where(*same).order_by(runs.c.ended.desc()).limit(PAST)).mappings())


def _steps(connection: Connection, past: list[Any]) -> dict[str, float]:
    taken: dict[str, list[float]] = {}
    for run in past:
        kinds = {step["id"]: step["step"] for stage in run["plan"].get("stages", []) for step in stage}
        for row in connection.execute(select(steps).where(steps.c.run_id == run["id"], steps.c.ended.is_not(None))).mappings():
            if row["step"] in kinds:
                taken.setdefault(kinds[row["step"]], []).append(row["ended"] - row["began"])
    return {kind: median(seconds) for kind, seconds in taken.items()}
