"""A repair's own record, in the database that it repairs: which rows differed, how they were, and what became of each.

It lies in the schema `dr_repair`, which the first repair makes. A row is kept as the text that its table's type prints, so it
can be cast back to exactly the same values. The record is written in the transactions whose work it tells: it can't say more.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from actions.db.connect import DatabaseUnreachable
from actions.db.diff_shape import Shape, quoted
from actions.errors import Refused
from actions.site import DatabaseRef
from actions.values import count

if TYPE_CHECKING:
    from actions.world import World

COLLECTED, REPAIRED, UNDONE, COPIED = "collected", "repaired", "undone", "copied"
NO_SUCH_TABLE = ("42P01", "3F000")
MAKE = """
CREATE SCHEMA dr_repair;
CREATE TABLE dr_repair.cases (case_id text PRIMARY KEY, tables text[] NOT NULL, reference_at timestamptz NOT NULL,
  state text NOT NULL, counts jsonb NOT NULL DEFAULT '{}', collected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  repaired_at timestamptz, undone_at timestamptz);
CREATE TABLE dr_repair.rows (case_id text NOT NULL REFERENCES dr_repair.cases, table_name text NOT NULL, kind text NOT NULL,
  key text[] NOT NULL, found text NOT NULL, wanted text NOT NULL, state text NOT NULL DEFAULT 'listed');
CREATE INDEX ON dr_repair.rows (case_id, table_name, kind);
CREATE INDEX ON dr_repair.rows USING hash (key)
"""
IS_MADE = "SELECT to_regclass('dr_repair.rows') IS NOT NULL AS made"
CASE = """
SELECT case_id, tables, reference_at, state, counts FROM dr_repair.cases WHERE case_id = %s
"""
STATES = "SELECT table_name, state, count(*) AS rows FROM dr_repair.rows WHERE case_id = %s GROUP BY 1, 2"
# What must be so before a table can be repaired by us; every table is one row.
RIGHTS = """
SELECT asked.name AS asked, CASE WHEN c.oid IS NOT NULL THEN format('%%I.%%I', n.nspname, c.relname) END AS name,
  c.relhasrules AS rules, pg_get_userbyid(c.relowner)::text AS owner, current_user::text AS ours,
  pg_has_role(c.relowner, 'MEMBER') AS may
FROM unnest(%s::text[]) AS asked (name)
LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)
  ON c.oid = to_regclass(asked.name) AND c.relkind IN ('r', 'p')
"""
PARENTS = """
SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0 AND conrelid <> confrelid
  AND conrelid = ANY(%s::regclass[]) AND confrelid = ANY(%s::regclass[])
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A repair as the database has it: its state, and for each table how many rows differ how, and what became of them."""

    name: str
    tables: tuple[str, ...]
    state: str
    counts: Mapping[str, Mapping[str, int]]
    states: Mapping[str, Mapping[str, int]]

    def total(self, *kinds: str) -> int:
        """How many rows of all tables differ in these ways."""
        return sum(of_table.get(kind, 0) for of_table in self.counts.values() for kind in kinds)

    def became(self, state: str) -> int:
        """How many rows of all tables are in this state: listed, inserted, reverted, conflict, undone."""
        return sum(of_table.get(state, 0) for of_table in self.states.values())

    @property
    def says(self) -> str:
        """What the repair did, in one sentence."""
        put, back, left = self.became("inserted"), self.became("reverted"), self.became("conflict")
        more = f" {count(left, 'row has', 'rows have')} changed since they were listed, and were left alone." if left else ""
        done = f"{count(put, 'missing row is', 'missing rows are')} back"
        return f"{done}, and {count(back, 'changed row is', 'changed rows are')} as before.{more}"


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Whose tables they are, by their full names, and why we may not repair them ("" if we may)."""

    owner: str
    tables: tuple[str, ...]
    refusal: str = ""


async def read_case(world: World, database: DatabaseRef, name: str) -> Case | None:
    """The repair of this name; None if there is none. Raises `DatabaseUnreachable`."""
    connections = world.database(database)
    try:
        rows = await connections.ask(CASE, [name])
        states = await connections.ask(STATES, [name])
    except DatabaseUnreachable as error:
        if error.sqlstate in NO_SUCH_TABLE:
            return None
        raise
    if not rows:
        return None
    became: dict[str, dict[str, int]] = {}
    for row in states:
        became.setdefault(row["table_name"], {})[row["state"]] = row["rows"]
    found = rows[0]
    return Case(name=found["case_id"], tables=tuple(found["tables"]), state=found["state"], counts=found["counts"], states=became)


async def read_rights(world: World, database: DatabaseRef, tables: Sequence[str]) -> Rights:
    """Whether we may repair these tables. Raises `DatabaseUnreachable`."""
    rows = await world.database(database).ask(RIGHTS, [list(tables)])
    names = tuple(dict.fromkeys(row["name"] for row in rows if row["name"]))
    owners = sorted({row["owner"] for row in rows if row["owner"]})
    refusal = next(
        (
            f"There is no table {row['asked']}; write it as SCHEMA.TABLE if it isn't on the search path. "
            f"If it was dropped, plan `/dr corruption copy table={row['asked']} time=TIME`."
            for row in rows
            if not row["name"]
        ),
        "",
    )
    refusal = refusal or next(
        (f"{row['name']} has rules, which would change what a repair does." for row in rows if row["rules"]), ""
    )
    if not refusal and len(owners) > 1:
        refusal = f"The tables belong to {' and '.join(owners)}. Repair those of one owner at a time."
    if not refusal and not all(row["may"] for row in rows):
        refusal = (
            f"A repair acts as the tables' owner. Run GRANT {quoted(owners[0])} TO {quoted(rows[0]['ours'])} WITH INHERIT FALSE."
        )
    return Rights(owner=owners[0] if owners else "", tables=names, refusal=refusal)


async def act_as(connection: psycopg.AsyncConnection[Any], owner: str) -> None:
    """Act as the tables' owner until the transaction ends. Raises psycopg's errors."""
    await connection.execute(f"SET LOCAL ROLE {quoted(owner)}".encode())


async def parents_first(connection: psycopg.AsyncConnection[Any], tables: Sequence[str]) -> list[str]:
    """The tables in such an order that rows come after those that they refer to. In a circle there is none: then as they are."""
    await connection.execute("SET LOCAL search_path = ''")
    rows = await (await connection.execute(PARENTS.encode(), [list(tables)] * 2)).fetchall()
    sorter = graphlib.TopologicalSorter({table: [row["parent"] for row in rows if row["child"] == table] for table in tables})
    try:
        return list(sorter.static_order())
    except graphlib.CycleError:
        return list(tables)


async def change_state(connection: psycopg.AsyncConnection[Any], name: str, before: str, after: str) -> None:
    """Mark the repair, in the transaction that does it. Raises `Refused` if it isn't in the state before: somebody was faster."""
    column = {REPAIRED: "repaired_at", UNDONE: "undone_at"}[after]
    sql = f"UPDATE dr_repair.cases SET state = %s, {column} = clock_timestamp() WHERE case_id = %s AND state = %s RETURNING state"
    if not await (await connection.execute(sql.encode(), [after, name, before])).fetchall():
        raise Refused(f"Nothing was changed: repair {name} is not {before} any more.")


def of_key(shape: Shape, present: str, wanted: str) -> str:
    """The condition that a row of the table has the key of a kept row."""
    return " AND ".join(f"{present}.{quoted(name)} = ({wanted}).{quoted(name)}" for name in shape.key)


def row_text(shape: Shape, present: str) -> str:
    """A row of the table as the text in which rows are kept."""
    return f"ROW({', '.join(f'{present}.{column.quoted}' for column in shape.columns)})::text"
