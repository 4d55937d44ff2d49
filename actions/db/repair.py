"""Put rows back into tables that people work with: one short transaction that leaves alone what changed since it was listed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from actions.db import repair_sql as sql
from actions.db.check_result import CheckVerdict
from actions.db.diff import AS_TEXT, Comparison, Kind, Side
from actions.db.diff_shape import Shape, quoted, read_shape
from actions.db.integrity_ask import Asker
from actions.db.integrity_suite import Suite
from actions.db.psql import psql
from actions.db.reach import reach
from actions.db.repair_case import COLLECTED, REPAIRED, Case, act_as, change_state, read_case, read_rights
from actions.db.repair_collect import OfCase
from actions.db.transact import commits_now, transaction
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Action, Check
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

SECONDS = 60.0  # for all statements of the transaction; whoever writes to the tables waits meanwhile
LOCK_SECONDS = 3
# A few rows of a large table, each found by its key: to read the whole table while its writers wait would take too long.
BY_KEY = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"
RIGHTS: tuple[str, ...] = ("postgresql:SET ROLE to the owner", "postgresql:pg_read_all_data")
# Triggers of the application would change what is put back. Those of constraints stay on.
TRIGGERS = """
SELECT t.tgrelid::regclass::text AS table, t.tgname AS name, t.tgenabled::text AS state
FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND (t.tgrelid = ANY(%s::regclass[])
  OR t.tgrelid IN (SELECT relid FROM unnest(%s::regclass[]) AS root, pg_partition_tree(root)))
"""
ENABLED = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}
SEQUENCES = """
SELECT s.seqrelid::regclass::text AS sequence, a.attname AS column, s.seqincrement AS step
FROM pg_sequence s JOIN pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass
  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjid = %s::regclass
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
"""


@dataclass(frozen=True, kw_only=True)
class PutRowsBack(OfCase, Action, kind="postgresql.put_rows_back"):
    """Insert the listed missing rows and revert the listed changed ones in one transaction; rows that changed since stay.

    The damaged rows stay in dr_repair.rows for the undo. Writers of the tables wait meanwhile, readers don't. Sequences are only
    moved forward. Triggers of the application don't fire; foreign keys and other constraints hold.
    """

    timeout: ClassVar[float] = 300.0
    settle: ClassVar[float] = 30.0
    permissions: ClassVar[tuple[str, ...]] = RIGHTS

    @property
    def title(self) -> str:
        return f"Put the listed rows back into {', '.join(self.tables)}"

    def command(self) -> str:
        rows = f"(SELECT (wanted::TABLE).* FROM dr_repair.rows WHERE case_id = '{self.case}' AND table_name = 'TABLE'"
        lines = (
            f"BEGIN; SET LOCAL ROLE OWNER; LOCK TABLE {', '.join(self.tables)} IN SHARE ROW EXCLUSIVE MODE",
            f"INSERT INTO TABLE OVERRIDING SYSTEM VALUE {rows} AND kind = 'missing') ON CONFLICT DO NOTHING",
            f"UPDATE TABLE SET ... FROM {rows} AND kind = 'changed') AS wanted WHERE TABLE is as it was listed",
            "SELECT setval(SEQUENCE, greatest(last_value, max(COLUMN))); COMMIT",
        )
        return psql(f"{'; '.join(lines)};", self.database.dsn_env) + f"  # for each TABLE of {', '.join(self.tables)}"

    async def observe(self, world: World) -> Facts:
        return await look_at(world, self)

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["state"] == REPAIRED:
            return already_done(f"It is done already: {facts['says']}")
        if facts["state"] != COLLECTED:
            return stop(
                f"Repair {self.case} is {facts['state'] or 'not there'}; its differences must be listed first. Plan again."
            )
        return stop(facts["refusal"]) if facts["refusal"] else ok(f"The differences are listed as {self.case}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        began = 0.0
        async with transaction(world, world.database(self.database), seconds=SECONDS) as connection:
            shapes, triggers = await prepare(connection, facts)
            began = time.monotonic()
            for shape in shapes:
                await run(connection, sql.insert_missing(shape), self.case, shape)
            for shape in shapes:
                await run(connection, sql.revert_changed(shape), self.case, shape)
                await run(connection, sql.leave_the_rest(), self.case, shape)
                await _move_sequences(connection, shape)
            await restore_triggers(connection, triggers)
            await change_state(connection, self.case, COLLECTED, REPAIRED)
        return {"locked_seconds": round(time.monotonic() - began, 3)}

    async def applied(self, world: World, facts: Facts) -> Proof:
        return await proof(world, self, REPAIRED)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        case = await _read(world, self)
        if case is None or case.state != REPAIRED:
            return failed(f"Repair {self.case} can't be read back as done. Retry to look again.")
        locked = f" Writers waited for {receipt['locked_seconds']:g} s." if "locked_seconds" in receipt else ""
        return done(f"{case.says}{locked} The way back: `/dr corruption undo run={self.case} database={self.database.name}`.")


@dataclass(frozen=True, kw_only=True)
class RepairHolds(OfCase, Check, kind="postgresql.repair_holds"):
    """Compare the tables with the copy again, and test their constraints, indexes and sequences by own queries."""

    copy: DatabaseRef
    at: str
    touched: str = ""
    revert: str = ""

    timeout: ClassVar[float] = 3600.0
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_read_all_data", "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Compare {', '.join(self.tables)} with {self.copy.instance} again, and check them"

    def command(self) -> str:
        return f"# rows of {', '.join(self.tables)} that still differ in {self.copy.instance}, and the integrity suite for them"

    async def look(self, world: World) -> Outcome:
        try:
            case = await read_case(world, self.database, self.case)
            tables = case.tables if case else self.tables
            left = [said for table in tables if (said := await self._left(world, case, table))]
            wrong = await self._wrong(world, tables)
        except Unreachable as error:
            return failed(f"The repair can't be checked: {error} Retry.")
        if left or wrong:
            return failed(f"Not all is well. {' '.join([*left, *wrong])}")
        return done(f"No row of {', '.join(tables)} is missing or wrong any more, apart from those that were left alone.")

    async def _left(self, world: World, case: Case | None, table: str) -> str:
        """What still differs, apart from rows that were left alone on purpose; "" if nothing does."""
        ours = Side(connections=world.database(self.database), table=table)
        theirs = Side(connections=await reach(world, self.copy), table=table)
        missing = changed = 0
        async with Comparison(ours, theirs, since=datetime.fromisoformat(self.at), touched=self.touched) as comparison:
            async for batch in comparison.differences():
                missing += sum(one.kind is Kind.MISSING for one in batch)
                changed += sum(one.kind is Kind.CHANGED for one in batch)
            tells = bool(comparison.source.touched) or self.revert == "all"
        left_alone = case.states.get(table, {}).get("conflict", 0) if case else 0
        wrong = missing + (changed if tells else 0)
        return f"{count(wrong, 'row')} of {table} still differ, {left_alone} of them left alone." if wrong > left_alone else ""

    async def _wrong(self, world: World, tables: Sequence[str]) -> list[str]:
        async with Asker(world.database(self.database), max(world.local(self.timeout), 120.0), gentle=True) as asker:
            results = await Suite(asker, str(self.database), world.progress, only=tables, serves=True).run()
        return [f"{one.name} {one.object}: {one.says}" for one in results if one.verdict is CheckVerdict.FAILED][:12]


async def look_at(world: World, step: OfCase) -> Facts:
    """The case's state, and whose tables they are. Raises `Unreachable`."""
    case, rights = await read_case(world, step.database, step.case), await read_rights(world, step.database, step.tables)
    tables = list(case.tables) if case else list(rights.tables)  # parents first, as they were listed
    return {
        "state": case.state if case else "",
        "says": case.says if case else "",
        "owner": rights.owner,
        "tables": tables,
        "refusal": rights.refusal,
    }


async def prepare(connection: psycopg.AsyncConnection[Any], facts: Facts) -> tuple[list[Shape], list[Any]]:
    """Lock the tables against writers, switch the application's triggers off, and return shapes and triggers."""
    await act_as(connection, facts["owner"])
    tables = facts["tables"]
    await connection.execute(
        f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL search_path = ''; {AS_TEXT}; {BY_KEY}".encode()
    )
    await connection.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE".encode())
    triggers = await (await connection.execute(TRIGGERS.encode(), [tables, tables])).fetchall()
    for one in triggers:
        await connection.execute(f"ALTER TABLE {one['table']} DISABLE TRIGGER {quoted(one['name'])}".encode())
    await connection.execute("SET CONSTRAINTS ALL DEFERRED")
    return [await read_shape(connection, table) for table in tables], triggers


async def restore_triggers(connection: psycopg.AsyncConnection[Any], triggers: Sequence[Any]) -> None:
    """Switch the triggers on again, each as it was."""
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # pending events would forbid ALTER TABLE
    for one in triggers:
        await connection.execute(f"ALTER TABLE {one['table']} {ENABLED[one['state']]} TRIGGER {quoted(one['name'])}".encode())


async def run(connection: psycopg.AsyncConnection[Any], statement: str, case: str, shape: Shape) -> list[Any]:
    """Run one statement of repair_sql.py; returns its rows, if it has any."""
    cursor = await connection.execute(statement.encode(), {"case": case, "table": shape.table})
    return await cursor.fetchall() if cursor.description else []


async def proof(world: World, step: OfCase, wanted: str) -> Proof:
    """Whether the transaction was committed, by the state that it left."""
    try:
        under_way = await commits_now(world.database(step.database))
        case = await read_case(world, step.database, step.case)
    except Unreachable as error:
        return Proof(verdict=Verdict.UNKNOWN, says=str(error))
    if case is not None and case.state == wanted:
        return Proof(verdict=Verdict.DONE, says=case.says)
    if under_way:
        return Proof(verdict=Verdict.UNKNOWN, says=under_way)
    return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: repair {step.case} is {case.state if case else 'not there'}.")


async def _read(world: World, step: OfCase) -> Case | None:
    try:
        return await read_case(world, step.database, step.case)
    except Unreachable:
        return None


async def _move_sequences(connection: psycopg.AsyncConnection[Any], shape: Shape) -> None:
    """Move the table's sequences beyond its greatest value, and never backwards."""
    for one in await (await connection.execute(SEQUENCES.encode(), [shape.table])).fetchall():
        if one["step"] > 0:
            move = (
                f"SELECT setval('{one['sequence'].replace(chr(39), chr(39) * 2)}', edge) FROM {one['sequence']},"
                f" (SELECT max({quoted(one['column'])}) AS edge FROM {shape.source}) AS rows WHERE edge > last_value"
            )
            await connection.execute(move.encode())
