"""What a repair would put back: the differences of tables, listed in the database itself, and the question about them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from actions.db.diff import Comparison, Difference, Kind, Side
from actions.db.reach import reach
from actions.db.repair_case import COLLECTED, IS_MADE, MAKE, Case, act_as, parents_first, read_case, read_rights
from actions.db.transact import commits_now, transaction
from actions.errors import Refused, Unreachable
from actions.scrub import scrub
from actions.site import DatabaseRef
from actions.step import Action, Hold
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop, warn

if TYPE_CHECKING:
    from actions.world import World

UNTOLD = "untold"  # a changed row of a table that can't say when it was changed
MOST_ROWS = 500_000  # missing and changed ones
MOST_LISTED = 1_000  # of those that are only shown
SAMPLES, LONGEST = 3, 200
ALL = "all"
WORDS = {
    "missing": "missing: the copy has them, and the table doesn't. They would be inserted",
    "changed": "changed, and not touched by the application since. They would get the copy's values again",
    "touched": "changed since by the application's own account. They stay as they are",
    "untold": "changed, and nothing tells whether by the damage or since. They stay as they are; `revert=all` would revert them",
    "extra": "only in the table, such as newer ones. They stay as they are",
    "twice": "there more than once under one key. They stay as they are; a person must decide",
}
MOST_ATTACHED, LONGEST_ATTACHED = 20_000, 500
LISTED = """
SELECT table_name, kind, key, found, wanted FROM dr_repair.rows WHERE case_id = %s
ORDER BY array_position(%s, kind), table_name, key LIMIT %s
"""
SAMPLE = "SELECT key, found, wanted FROM dr_repair.rows WHERE case_id = %s AND kind = %s ORDER BY table_name, key LIMIT 3"


@dataclass(frozen=True, kw_only=True)
class OfCase:
    """What every step of a repair says: which case, in which database, on which tables."""

    database: DatabaseRef
    case: str
    tables: tuple[str, ...]

    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""

    @property
    def target(self) -> str:
        """The tables."""
        return f"{', '.join(self.tables)} of {self.database}"


@dataclass(frozen=True, kw_only=True)
class CollectDifferences(OfCase, Action, kind="postgresql.collect_differences"):
    """Compare tables with a restored copy, row by row, and list the differences in the schema dr_repair; no table is touched.

    `at` is the moment that the copy stands for, `touched` the column that says when a row was changed ("": one that is called
    updated_at or the like). `revert` is "all" if rows shall be reverted that don't tell when they were changed.
    """

    copy: DatabaseRef
    at: str
    touched: str = ""
    revert: str = ""

    timeout: ClassVar[float] = 7200.0
    settle: ClassVar[float] = 20.0
    permissions: ClassVar[tuple[str, ...]] = (
        "postgresql:pg_read_all_data",
        "postgresql:SET ROLE to the owner",
        "rds:DescribeDBInstances",
    )

    @property
    def title(self) -> str:
        return f"Compare {', '.join(self.tables)} with {self.copy.instance}, row by row"

    def command(self) -> str:
        return (
            f"# rows of {', '.join(self.tables)} that differ in {self.copy.instance} are listed in dr_repair.rows as {self.case}"
        )

    async def observe(self, world: World) -> Facts:
        case, rights = await read_case(world, self.database, self.case), await read_rights(world, self.database, self.tables)
        return {"there": case is not None, "owner": rights.owner, "tables": list(rights.tables), "refusal": rights.refusal}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["there"]:
            return already_done(f"The differences are listed already, as {self.case}.")
        return (
            stop(facts["refusal"]) if facts["refusal"] else ok(f"The tables belong to {facts['owner']}, and we may act as that.")
        )

    async def apply(self, world: World, facts: Facts) -> Facts:
        connections = world.database(self.database)
        seconds = max(world.local(self.timeout), 120.0)
        async with transaction(world, connections, seconds=seconds) as connection:
            await act_as(connection, facts["owner"])
            await make_room(connection)
            insert = "INSERT INTO dr_repair.cases (case_id, tables, reference_at, state) VALUES (%s, %s, %s, %s)"
            tables = await parents_first(connection, facts["tables"])
            await connection.execute(insert.encode(), [self.case, tables, self.at, COLLECTED])
            counts = {table: dict(await self._collect(world, connection, table, seconds)) for table in tables}
            update = "UPDATE dr_repair.cases SET counts = %s WHERE case_id = %s"
            await connection.execute(update.encode(), [json.dumps(counts), self.case])
            await connection.execute("ANALYZE dr_repair.rows")
        return {"counts": counts}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            under_way = await commits_now(world.database(self.database))
            case = await read_case(world, self.database, self.case)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if case is None and under_way:
            return Proof(verdict=Verdict.UNKNOWN, says=under_way)
        if case is None:
            return Proof(verdict=Verdict.NOT_DONE, says="Nothing changed: no differences are listed.")
        return Proof(verdict=Verdict.DONE, says=_told(case), receipt={"counts": dict(case.counts)})

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        try:
            case = await read_case(world, self.database, self.case)
        except Unreachable as error:
            return failed(f"The list of differences can't be read: {error} Retry.")
        return done(_told(case)) if case else failed(f"No differences are listed as {self.case}. Retry.")

    async def _collect(self, world: World, writing: psycopg.AsyncConnection[Any], table: str, seconds: float) -> Counter[str]:
        """List one table's differences; returns how many there are of each kind. Raises `Refused` if there are too many."""
        ours = Side(connections=world.database(self.database), table=table)
        theirs = Side(connections=await reach(world, self.copy), table=table)
        since, counts = datetime.fromisoformat(self.at), Counter[str]()
        async with Comparison(ours, theirs, since=since, touched=self.touched, rows=True, seconds=seconds) as comparison:
            if not comparison.source.key:
                raise Refused(
                    f"{table} has no primary key, so no row of it can be put back. Restore the database or copy by hand."
                )
            tells = bool(comparison.source.touched) or self.revert == ALL
            into = "COPY dr_repair.rows (case_id, table_name, kind, key, found, wanted) FROM STDIN"
            async with writing.cursor().copy(into) as copy:
                async for batch in comparison.differences():
                    for one in batch:
                        kind = _kind(one, tells)
                        counts[kind] += 1
                        if kind in ("missing", "changed") or counts[kind] <= MOST_LISTED:
                            await copy.write_row((self.case, table, kind, list(one.key), one.found, one.wanted))
                    world.progress(f"{sum(counts.values())} rows of {table} differ so far.")
                    if counts["missing"] + counts["changed"] > MOST_ROWS:
                        raise Refused(
                            f"More than {MOST_ROWS} rows of {table} are missing or wrong. Restore the whole database instead."
                        )
        return counts


@dataclass(frozen=True, kw_only=True)
class ChooseRepair(OfCase, Hold, kind="postgresql.choose_repair"):
    """Show how many rows would be inserted and reverted, which are left alone, and samples of each, and ask whether to do it."""

    timeout: ClassVar[float] = 60.0
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_read_all_data",)

    @property
    def question(self) -> str:
        return f"Shall the missing and changed rows of {', '.join(self.tables)} be put back as listed?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        case = await read_case(world, self.database, self.case)
        if case is None:
            return (stop(f"No differences are listed as {self.case}."),)
        found = [finding for kind in WORDS if case.total(kind) for finding in [await self._finding(world, case, kind)]]
        if not case.total("missing", "changed"):
            found.insert(0, stop("There is nothing to put back: no row is missing, and none was changed that may be reverted."))
        await self._attach(world, sum(case.total(kind) for kind in WORDS))
        rows = f"SELECT * FROM dr_repair.rows WHERE case_id = '{self.case}'"
        return (*found, ok(f"Every row as a file: \\copy ({rows}) TO 'differences.csv' CSV HEADER, in psql."))

    async def _attach(self, world: World, total: int) -> None:
        """All rows that differ as a text, one a line; of very many the first."""
        wanted = [self.case, list(WORDS), MOST_ATTACHED]
        rows = await world.database(self.database).ask(LISTED, wanted, timeout=self.timeout)
        lines = [f"{row['kind']:8} {row['table_name']} {_sample(row, LONGEST_ATTACHED)}" for row in rows]
        lines += [f"{total - len(rows)} more, which dr_repair.rows has or only counts."] if total > len(rows) else []
        await world.attach(f"Rows that differ, {total} in all", "\n".join(lines))

    async def _finding(self, world: World, case: Case, kind: str) -> Finding:
        per_table = {table: counts.get(kind, 0) for table, counts in case.counts.items()}
        named = ", ".join(f"{table} {number}" for table, number in per_table.items() if number)
        rows = await world.database(self.database).ask(SAMPLE, [self.case, kind])
        samples = " | ".join(_sample(row) for row in rows)
        says = f"{count(case.total(kind), 'row')} {WORDS[kind]}. By table: {named}."
        return (warn if kind in ("missing", "changed", "twice") else ok)(says, samples)


async def make_room(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make the schema of repairs, if this is the first one."""
    row = await (await connection.execute(IS_MADE.encode())).fetchone()
    if row and not row["made"]:
        await connection.execute(MAKE.encode())


def _kind(one: Difference, tells: bool) -> str:
    return UNTOLD if one.kind is Kind.CHANGED and not tells else one.kind.value


def _told(case: Case) -> str:
    kinds = [(kind, case.total(kind)) for kind in WORDS]
    told = ", ".join(f"{number} {kind}" for kind, number in kinds if number) or "none"
    return f"The rows of {', '.join(case.tables)} that differ from the copy: {told}. They are listed in dr_repair.rows."


def _sample(row: Mapping[str, Any], longest: int = LONGEST) -> str:
    key = ", ".join(str(part) for part in row["key"])
    versions = [
        f"{name} {_short(row[column], longest)}" for name, column in (("now", "found"), ("then", "wanted")) if row[column]
    ]
    return scrub(f"key {key}: {', '.join(versions)}" if versions else f"key {key}")


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
