"""Take a repair back: the tables are as they were when it began, if nobody has changed the rows that it mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from actions.db import repair_sql as sql
from actions.db.diff_shape import Shape, quoted
from actions.db.psql import psql
from actions.db.repair import RIGHTS, SECONDS, look_at, prepare, proof, restore_triggers, run
from actions.db.repair_case import REPAIRED, UNDONE, change_state, of_key, read_case
from actions.db.repair_collect import OfCase
from actions.db.transact import transaction
from actions.errors import Refused, Unreachable
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

# Foreign keys that would delete or change other rows if one of these rows is deleted.
CASCADES = """
SELECT con.conrelid::regclass::text AS child,
  array(SELECT a.attname::text FROM unnest(con.conkey) WITH ORDINALITY AS k (number, at)
    JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number ORDER BY k.at) AS columns,
  array(SELECT a.attname::text FROM unnest(con.confkey) WITH ORDINALITY AS k (number, at)
    JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.number ORDER BY k.at) AS others
FROM pg_constraint con
WHERE con.contype = 'f' AND con.conparentid = 0 AND con.confdeltype IN ('c', 'n', 'd') AND con.confrelid = %s::regclass
"""


@dataclass(frozen=True, kw_only=True)
class UndoRepair(OfCase, Action, kind="postgresql.undo_repair"):
    """Take a repair back in one transaction: what it inserted goes, and what it reverted gets the values from before.

    If one of these rows has changed since, nothing is done. Sequences stay where they are.
    """

    timeout: ClassVar[float] = 300.0
    settle: ClassVar[float] = 30.0
    permissions: ClassVar[tuple[str, ...]] = RIGHTS

    @property
    def title(self) -> str:
        return f"Undo repair {self.case} of {', '.join(self.tables)}"

    def command(self) -> str:
        rows = f"FROM dr_repair.rows WHERE case_id = '{self.case}' AND table_name = 'TABLE' AND state ="
        lines = (
            f"BEGIN; SET LOCAL ROLE OWNER; LOCK TABLE {', '.join(self.tables)} IN SHARE ROW EXCLUSIVE MODE",
            f"UPDATE TABLE SET ... FROM (SELECT (found::TABLE).* {rows} 'reverted') AS found WHERE TABLE is as it was left",
            f"DELETE FROM TABLE USING (SELECT (wanted::TABLE).* {rows} 'inserted') AS inserted WHERE the keys are equal; COMMIT",
        )
        return psql(f"{'; '.join(lines)};", self.database.dsn_env) + f"  # for each TABLE of {', '.join(self.tables)}"

    async def observe(self, world: World) -> Facts:
        return await look_at(world, self)

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["state"] == UNDONE:
            return already_done(f"Repair {self.case} is undone already.")
        if facts["state"] != REPAIRED:
            return stop(f"Repair {self.case} is {facts['state'] or 'not there'}, so there is nothing to undo.")
        return stop(facts["refusal"]) if facts["refusal"] else ok(facts["says"])

    async def apply(self, world: World, facts: Facts) -> Facts:
        async with transaction(world, world.database(self.database), seconds=SECONDS) as connection:
            shapes, triggers = await prepare(connection, facts)
            for shape in shapes:
                await self._refuse_if_changed(connection, shape)
            for shape in reversed(shapes):  # rows go before those that they refer to
                await self._refuse_if_referred_to(connection, shape)
                await run(connection, sql.change_back(shape), self.case, shape)
                await self._delete_inserted(connection, shape)
            await self._refuse_if_left(connection)
            await restore_triggers(connection, triggers)
            await change_state(connection, self.case, REPAIRED, UNDONE)
        return {}

    async def applied(self, world: World, facts: Facts) -> Proof:
        return await proof(world, self, UNDONE)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        try:
            case = await read_case(world, self.database, self.case)
        except Unreachable as error:
            return failed(f"The undo can't be read back: {error} Retry to look again.")
        if case is None or case.state != UNDONE:
            return failed(f"Repair {self.case} can't be read back as undone. Retry to look again.")
        return done(
            f"{count(case.became('undone'), 'row is', 'rows are')} as before repair {self.case}. Sequences stay where they are."
        )

    async def _refuse_if_changed(self, connection: psycopg.AsyncConnection[Any], shape: Shape) -> None:
        if rows := await run(connection, sql.changed_since(shape), self.case, shape):
            named = ", ".join(row["key"] for row in rows[:5]) + (" and more" if len(rows) > 5 else "")
            raise Refused(f"Nothing was changed: rows of {shape.table} have changed since the repair: {named}.")

    async def _refuse_if_referred_to(self, connection: psycopg.AsyncConnection[Any], shape: Shape) -> None:
        """A foreign key with CASCADE would take newer rows along."""
        for one in await (await connection.execute(CASCADES.encode(), [shape.table])).fetchall():
            matches = " AND ".join(
                f"child.{quoted(ours)} = (kept.wanted).{quoted(theirs)}"
                for ours, theirs in zip(one["columns"], one["others"], strict=True)
            )
            own = (
                f" AND NOT EXISTS (SELECT FROM kept WHERE {of_key(shape, 'child', 'kept.wanted')})"
                if one["child"] == shape.table
                else ""
            )
            found = (
                f"WITH kept AS MATERIALIZED (SELECT kept.wanted::{shape.table} AS wanted FROM dr_repair.rows AS kept"
                f" WHERE {sql.OF_TABLE} AND kept.state = 'inserted') SELECT count(*) AS rows FROM {one['child']} AS child"
                f" WHERE EXISTS (SELECT FROM kept WHERE {matches}){own}"
            )
            if rows := (await run(connection, found, self.case, shape))[0]["rows"]:
                says = f"{count(rows, 'newer row')} of {one['child']} would go or change with rows of {shape.table}"
                raise Refused(f"Nothing was changed: {says}, by a foreign key. Take care of them by hand first.")

    async def _delete_inserted(self, connection: psycopg.AsyncConnection[Any], shape: Shape) -> None:
        """Delete what the repair inserted. Raises `Refused` if other rows refer to it: old orphans, or rows that came since."""
        try:
            await run(connection, sql.delete_inserted(shape), self.case, shape)
        except psycopg.errors.ForeignKeyViolation as error:
            key, child = error.diag.constraint_name, error.diag.table_name
            raise Refused(
                f"Nothing was changed: rows of {child} refer to rows of {shape.table} that the undo would take away, and the"
                f" foreign key {key} forbids that. If they were orphans before the repair, drop that key and undo once more;"
                " if they are newer, leave the repair as it is."
            ) from error

    async def _refuse_if_left(self, connection: psycopg.AsyncConnection[Any]) -> None:
        left = "SELECT count(*) AS rows FROM dr_repair.rows WHERE case_id = %s AND state IN ('inserted', 'reverted')"
        (row,) = await (await connection.execute(left.encode(), [self.case])).fetchall()
        if row["rows"]:
            raise Refused(f"Nothing was changed: {count(row['rows'], 'row')} could not be taken back.")
