"""How many rows the tables hold, against the last known figures: a promoted replica that lacks rows is no success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.psql import psql
from actions.db.reach import connect_to
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Check
from actions.values import Outcome, count, done, failed

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

MOST_TABLES, MOST_ROWS = 20, 200_000  # what is counted every five minutes must cost next to nothing
FEW = 5  # rows of a table that may be missing whatever its size: one of two rows is no disaster
_SMALL = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.reltuples < %s AND NOT c.relispartition
ORDER BY c.reltuples DESC, 1 LIMIT %s
"""


def facts_name(database: str) -> str:
    """What the facts of a database's region are kept under; `database` is its name in dr.toml."""
    return f"region of {database}"


async def small_counts(connections: Connections) -> dict[str, int]:
    """The rows of the tables that are quickly counted, by name. Raises `DatabaseUnreachable`."""
    tables = [row["name"] for row in await connections.ask(_SMALL, [MOST_ROWS, MOST_TABLES])]
    return await counts_of(connections, tables)


async def counts_of(connections: Connections, tables: Sequence[str]) -> dict[str, int]:
    """The rows of these tables, which are names that need no further quotes."""
    if not tables:
        return {}
    each = (f"SELECT {number} AS number, count(*) AS rows FROM {table}" for number, table in enumerate(tables))
    rows = await connections.ask(" UNION ALL ".join(each))
    return {tables[row["number"]]: row["rows"] for row in rows}


@dataclass(frozen=True, kw_only=True)
class CountsHold(Check, kind="postgresql.counts_hold"):
    """Count the rows of the tables and compare them with the last known figures of the former primary.

    `known_as` is the name in dr.toml under which they were kept; a table may have lost `percent` of its rows, or a handful.
    """

    database: DatabaseRef
    known_as: str
    percent: int

    timeout: ClassVar[float] = 120.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_read_all_data",)

    @property
    def title(self) -> str:
        return f"Count the rows of {self.database.instance} against the last known figures"

    @property
    def target(self) -> str:
        return str(self.database)

    def command(self) -> str:
        return psql("SELECT count(*) FROM organizations", self.database.dsn_env)

    async def look(self, world: World) -> Outcome:
        said, kept = "there was no answer", await world.kept(facts_name(self.known_as))
        before: Mapping[str, int] = kept.facts.get("rows", {}) if kept else {}
        async for _ in world.ticks(timeout=self.timeout, at_least=60.0):
            try:
                connections = await connect_to(world, self.database)
                now = await (counts_of(connections, list(before)) if before else small_counts(connections))
            except Unreachable as error:
                said = str(error)
                continue
            return judge_counts(before, now, kept.age if kept else 0.0, self.percent)
        return failed(f"The rows of {self.database.instance} could not be counted: {said}")


def judge_counts(before: Mapping[str, int], now: Mapping[str, int], age: float, percent: int) -> Outcome:
    """Whether the tables hold about as many rows as when they were last counted, `age` seconds ago."""
    shown = ", ".join(f"{name} {rows}" for name, rows in now.items()) or "no table"
    if not before:
        return done(f"There are no earlier figures to compare with. Rows now: {shown}.")
    missing = {name: rows - now.get(name, 0) for name, rows in before.items() if now.get(name, 0) < rows}
    many = {name: lost for name, lost in missing.items() if lost > FEW}
    bad = [name for name, lost in many.items() if lost * 100 > before[name] * percent or now.get(name, 0) == 0]
    known = f"as they were counted {age / 60:.0f} min before"
    if bad:
        told = ", ".join(f"{name} has {count(now.get(name, 0), 'row')} and had {before[name]}" for name in bad)
        return failed(f"Rows are missing, {known}: {told}. Look at them before you send customers here.")
    fewer = ", ".join(f"{name} {lost}" for name, lost in missing.items())
    return done(f"The tables hold their rows, {known}. Now: {shown}." + (f" Fewer than before: {fewer}." if fewer else ""))
