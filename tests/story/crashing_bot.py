"""The bot, with a watch on every record and every effect: `python -m tests.story.crashing_bot serve --config dr.toml`.

A point is the moment just before or after a transaction that wrote something, or an action's effect. Points count from the
first recorded command on. With CRASH_LIST=file every point is written there, one per line; with CRASH_AT=point the process
kills itself there with SIGKILL. The product knows nothing of this: SQLAlchemy's events show the transactions, and a wrapper
around `apply` of every registered action shows the effects.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, event, pool

import bot.engine.planner  # noqa: F401 - every scenario, and with them every action, is registered by it
from actions.step import Action, Step
from actions.terraform.program import SECONDS, Ran, Stack
from actions.values import Facts
from actions.world import World
from bot.cli import main

WRITE = re.compile(r"\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE|DELETE\s+FROM)\s+\"?(?:\w+\"?\.\"?)?(\w+)", re.IGNORECASE)
TELLING = {  # the parameter that tells one write of a table from another
    "dr_inbox": "kind",
    "dr_steps": "step",
    "dr_timeline": "key",
    "operation_outputs": "function_name",
    "workflow_status": "status",
}
BEGINNING = "dr_inbox(command)"
UNDER_WAY_SECONDS = 0.5  # after its start terraform has read its state and begun to change something
PROGRESS = "dr_steps(progress)"


class Points:
    """Names each point as it's reached, and dies at the given one."""

    def __init__(self, at: str, listed: Path | None) -> None:
        self._at = at
        self._listed = listed
        self._seen: Counter[str] = Counter()
        self._begun = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Count points from now on."""
        self._begun = True

    def passed(self, name: str) -> None:
        """A point is reached; the process may end here."""
        if not self._begun:
            return
        with self._lock:
            self._seen[name] += 1
            label = f"{name} #{self._seen[name]}"
            if self._listed:
                with self._listed.open("a") as file:
                    file.write(f"{label}\n")
            if label == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


def watch_records(points: Points) -> None:
    """A point before and after the commit of each transaction that wrote."""

    def wrote(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, _many: bool) -> None:
        match = WRITE.match(statement)
        inserts = statement.lstrip()[:6].upper() == "INSERT"
        if match is None or (cursor.rowcount == 0 and not inserts):  # what changes no row, such as a poll, is no record
            return
        named = context.compiled_parameters[0] if context and context.compiled_parameters else parameters
        write = label(statement, match[1], named)
        if write == PROGRESS:  # as often as there is time for it: with it the transaction is no point
            connection.info["timed"] = True
        if write == BEGINNING:
            points.begin()
        connection.info.setdefault("wrote", []).append(write)

    def committing(connection: Connection) -> None:
        writes, timed = connection.info.pop("wrote", None), connection.info.pop("timed", False)
        if writes and not timed:
            name = " + ".join(dict.fromkeys(writes))
            connection.info["committed"] = name
            points.passed(f"before record: {name}")

    def returned(_dbapi: Any, record: Any) -> None:
        if name := record.info.pop("committed", None):
            points.passed(f"after record: {name}")

    def rolled_back(connection: Connection) -> None:
        connection.info.pop("wrote", None)
        connection.info.pop("timed", None)

    event.listen(sqlalchemy.Engine, "after_cursor_execute", wrote)
    event.listen(sqlalchemy.Engine, "commit", committing)
    event.listen(sqlalchemy.Engine, "rollback", rolled_back)
    event.listen(pool.Pool, "checkin", returned)


def label(statement: str, table: str, parameters: Any) -> str:
    """A name for one write that is the same in every run: `dr_timeline(1.1#1:end)`, `dr_outbox(in_flight)`."""
    told = parameters.get(TELLING.get(table, "")) if isinstance(parameters, dict) else None
    if told is None and statement.lstrip()[:6].upper() == "UPDATE":
        told = ",".join(re.findall(r"(\w+)\s*=", statement.partition(" SET ")[2].partition(" WHERE ")[0]))
    return f"{table}({str(told).rpartition('/')[2]})" if told else table


def watch_effects(points: Points) -> None:
    """A point before and after `apply` of every action."""
    for kind, step in Step.registry.items():
        if issubclass(step, Action):
            step.apply = _watch(points, kind, step.apply)  # type: ignore[method-assign]


def _watch(points: Points, kind: str, apply: Callable[..., Awaitable[Facts]]) -> Any:
    async def watched(self: Action, world: World, facts: Facts) -> Facts:
        points.passed(f"before effect: {kind}")
        receipt = await apply(self, world, facts)
        points.passed(f"after effect: {kind}")
        return receipt

    return watched


def watch_programs(points: Points) -> None:
    """A point while terraform applies: it was started, and hasn't ended."""
    run = Stack.run

    async def watched(self: Stack, *words: str, seconds: float = SECONDS, apply: bool = False) -> Ran:
        if apply:
            asyncio.get_running_loop().call_later(UNDER_WAY_SECONDS, points.passed, "during program: terraform apply")
        return await run(self, *words, seconds=seconds, apply=apply)

    Stack.run = watched  # type: ignore[method-assign]


def watch() -> None:
    """Watch what CRASH_LIST or CRASH_AT says."""
    listed = os.environ.get("CRASH_LIST")
    points = Points(os.environ.get("CRASH_AT", ""), Path(listed) if listed else None)
    watch_records(points)
    watch_effects(points)
    watch_programs(points)


if __name__ == "__main__":
    watch()
    sys.exit(main())
