"""Copy a table that is gone, or empty, from a restored copy: its definition by pg_dump, then its rows, all in one transaction.

`pg_dump --table | psql` into a table that has rows repairs nothing and ends with 0, so a table with rows is refused. The rows
don't pass through pg_dump: they are streamed from one server to the other, with no file between them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
from psycopg.rows import dict_row

from actions.db.diff import AS_TEXT
from actions.db.diff_shape import Shape, quoted, read_shape
from actions.db.pg_dump import PgDump
from actions.db.reach import reach
from actions.db.repair import LOCK_SECONDS, RIGHTS, prepare, restore_triggers
from actions.db.repair_case import COPIED, act_as, read_case
from actions.db.repair_collect import OfCase, make_room
from actions.db.transact import commits_now, transaction
from actions.errors import Refused, Unreachable
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

TABLE = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name, pg_get_userbyid(c.relowner)::text AS owner, c.relkind::text AS kind,
  c.relispartition AS is_partition, c.relhasrules AS rules
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""
MAY = "SELECT pg_has_role(rolname, 'MEMBER') AS may, current_user::text AS ours FROM pg_roles WHERE rolname = %s"
SEQUENCES = """
SELECT s.seqrelid::regclass::text AS name FROM pg_sequence s JOIN pg_depend d ON d.objid = s.seqrelid
  AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
WHERE d.refobjid = %s::regclass
"""


@dataclass(frozen=True, kw_only=True)
class CopyTable(OfCase, Action, kind="postgresql.copy_table"):
    """Make a table that is gone again from a copy, with its rows, indexes and constraints, or fill an empty one, at once or not.

    All in one transaction, in which dr_repair.cases is told, too. A table with rows is refused.
    """

    copy: DatabaseRef
    at: str

    timeout: ClassVar[float] = 7200.0
    settle: ClassVar[float] = 30.0
    permissions: ClassVar[tuple[str, ...]] = (*RIGHTS, "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Copy {', '.join(self.tables)} from {self.copy.instance}, with all rows"

    def command(self) -> str:
        named = " ".join(f"--table={table}" for table in self.tables)
        into = f'psql "${self.database.dsn_env}" --single-transaction --set=ON_ERROR_STOP=1'
        return f"pg_dump {named} --dbname=... | {into}  # from {self.copy.instance}; only if it has no rows here"

    async def observe(self, world: World) -> Facts:
        case = await read_case(world, self.database, self.case)
        if case is not None:
            return {"done": case.state == COPIED, "refusal": f"Repair {self.case} is there already. Plan again."}
        return {"done": False, **await compare_both(world, self.database, self.copy, self.tables)}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["done"]:
            return already_done(f"{', '.join(self.tables)} was copied already, as {self.case}.")
        if facts["refusal"]:
            return stop(facts["refusal"])
        state = "is empty" if facts["there"] else "isn't there"
        return ok(f"{facts['name']} {state}, and the copy has it. It belongs to {facts['owner']}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        source, seconds = await reach(world, self.copy), max(world.local(self.timeout), 120.0)
        dump = None if facts["there"] else await PgDump.of(source.dsn, facts["name"])
        async with (
            source.session("read", timeout=seconds) as past,
            transaction(world, world.database(self.database), seconds=seconds) as connection,
        ):
            await past.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {AS_TEXT}; SET LOCAL search_path = ''".encode())
            await past.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}".encode())
            rows = await (self._made(connection, past, facts, dump) if dump else self._filled(connection, past, facts))
            await make_room(connection)
            told = "INSERT INTO dr_repair.cases (case_id, tables, reference_at, state, counts) VALUES (%s, %s, %s, %s, %s)"
            counts = json.dumps({facts["name"]: {"missing": rows}})
            await connection.execute(told.encode(), [self.case, [facts["name"]], self.at, COPIED, counts])
        return {"rows": rows}

    async def _made(self, connection: Any, past: Any, facts: Facts, dump: PgDump) -> int:
        """Definition, rows, sequences, then indexes and constraints."""
        await act_as(connection, facts["owner"])
        await _run(connection, dump.before)
        shape = await read_shape(connection, facts["name"])
        rows = await _copied(past, connection, shape)
        for row in await (await past.execute(SEQUENCES.encode(), [shape.table])).fetchall():
            await _set_sequence(past, connection, row["name"])
        await _run(connection, dump.after)
        return rows

    async def _filled(self, connection: Any, past: Any, facts: Facts) -> int:
        """The rows, while nobody else writes, if there is none yet; sequences stay, as they are beyond all that was given."""
        (shape,), triggers = await prepare(connection, {**facts, "tables": [facts["name"]]})
        if not await _is_empty(connection, shape):
            raise Refused(
                f"Nothing was changed: {shape.table} has rows by now. `/dr corruption repair` puts the missing ones back."
            )
        rows = await _copied(past, connection, shape)
        await restore_triggers(connection, triggers)
        return rows

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            under_way = await commits_now(world.database(self.database))
            case = await read_case(world, self.database, self.case)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if under_way and case is None:
            return Proof(verdict=Verdict.UNKNOWN, says=under_way)
        if case is None or case.state != COPIED:
            return Proof(verdict=Verdict.NOT_DONE, says="Nothing changed: no table was copied.")
        return Proof(verdict=Verdict.DONE, says=f"{case.tables[0]} was copied.", receipt={"rows": case.total("missing")})

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        try:
            there = await reach(world, self.copy)
            sql = f"SELECT count(*) AS rows FROM ONLY {facts['name']}"
            now, then = [(await one.ask(sql, timeout=self.timeout))[0]["rows"] for one in (world.database(self.database), there)]
        except Unreachable as error:
            return failed(f"The copied table can't be read: {error} Retry to look again.")
        if receipt["rows"] != then or now < then:
            return failed(
                f"{facts['name']} has {count(now, 'row')}, and the copy {count(then, 'row')}. Look at it before you go on."
            )
        more = f", and {count(now - then, 'newer row')}" if now > then else ""
        return done(f"{facts['name']} has all {count(then, 'row')} of the copy{more}. The way back: {way_back(facts)}")


async def compare_both(world: World, database: DatabaseRef, copied: DatabaseRef, tables: Sequence[str]) -> Facts:
    """The table's full `name`, its `owner`, whether it is `there`, and why it can't be copied ("" if it can). For one table."""
    (table,) = tables
    here, copy = world.database(database), await reach(world, copied)
    present, past = await here.ask(TABLE, [table]), await copy.ask(TABLE, [table])
    facts: Facts = {"refusal": "", "there": bool(present), "name": "", "owner": ""}
    if not past:
        return facts | {"refusal": f"{copied.instance} has no table {table} either. Take another time or name."}
    found = past[0]
    rights = await here.ask(MAY, [found["owner"]])
    facts |= {"name": found["name"], "owner": found["owner"]}
    return facts | {"refusal": await _refusal(here, found, rights, there=bool(present))}


def way_back(facts: Facts) -> str:
    """How a person takes the copy back, by hand."""
    back = "TRUNCATE" if facts["there"] else "DROP TABLE"
    return f"`{back} {facts['name']}`, by hand. It takes newer rows along, and is refused as long as other tables refer to it."


async def _refusal(here: Connections, found: dict[str, Any], rights: Sequence[dict[str, Any]], *, there: bool) -> str:
    """Why the table can't be copied; "" if it can."""
    name, owner = found["name"], found["owner"]
    if found["kind"] != "r" or found["is_partition"] or found["rules"]:
        return f"{name} is not a plain table (it has partitions, is one, has rules, or is a view). Copy it by hand."
    if not rights:
        return f"{name} belongs to {owner}, and there is no such role any more."
    if not rights[0]["may"]:
        ours = quoted(rights[0]["ours"])
        return f"A copy acts as the table's owner. Run GRANT {quoted(owner)} TO {ours} WITH INHERIT FALSE."
    if there and (await here.ask(f"SELECT EXISTS (SELECT FROM {name}) AS rows"))[0]["rows"]:
        return f"{name} has rows. `/dr corruption repair` puts missing ones back; a copy would fail at the first that is there."
    return ""


async def _run(connection: psycopg.AsyncConnection[Any], script: str) -> None:
    """Run a script of pg_dump."""
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; {AS_TEXT}; SET LOCAL search_path = ''".encode())
    await connection.execute(script.encode())


async def _copied(past: Any, connection: Any, shape: Shape) -> int:
    """Stream all rows; returns how many they are. Values of generated columns come by themselves."""
    columns = ", ".join(column.quoted for column in shape.columns if not column.generated)
    rows = f"COPY {shape.table} ({columns})"
    async with connection.cursor() as into:
        async with past.cursor().copy(f"{rows} TO STDOUT") as reading, into.copy(f"{rows} FROM STDIN") as writing:
            async for block in reading:
                await writing.write(block)
        return int(into.rowcount)


async def _is_empty(connection: psycopg.AsyncConnection[Any], shape: Shape) -> bool:
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(f"SELECT EXISTS (SELECT FROM {shape.source}) AS rows".encode())).fetchone()
    return row is not None and not row["rows"]


async def _set_sequence(past: Any, connection: Any, name: str) -> None:
    """Let a sequence that was made again continue from where it was."""
    row = await (await past.execute(f"SELECT last_value, is_called FROM {name}".encode())).fetchone()
    await connection.execute("SELECT setval(%s, %s, %s)", [name, row["last_value"], row["is_called"]])
