"""What a restored copy holds beside the database that it is a copy of: rows of each table, and how old its newest commit is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from actions.db.heartbeat import CANARY, is_table
from actions.db.reach import reach
from actions.errors import Unreachable
from actions.scrub import scrub
from actions.site import DatabaseRef
from actions.step import Check
from actions.values import Outcome, count, done, failed

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

MOST_TABLES = 200
PRESENT = 15.0, 60.0  # seconds for one table of production, which has other things to do, and for all of them
COPY = 900.0, 1500.0  # the same of a copy, whose pages may still have to be fetched
ASKING, ASKING_LEAST = 300.0, 20.0  # seconds for which a database that gives no answer is asked again; of our own clock at least
FEW = 20  # rows by which a table may always differ: of a small one, a percentage is less than a row
SHOWN = 12
COUNTED = "counted"  # the state of the item that holds the counts
# relpages and not the size, which waits for whoever has locked a table.
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, CASE WHEN c.relkind = 'r' THEN c.reltuples
    ELSE (SELECT CASE WHEN min(part.reltuples) < 0 THEN -1 ELSE sum(part.reltuples) END
      FROM pg_partition_tree(c.oid) AS tree JOIN pg_class part ON part.oid = tree.relid WHERE tree.isleaf) END::bigint AS about
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relpages DESC, 1
"""
TRACKED = "SELECT current_setting('track_commit_timestamp') = 'on' AS tracked, pg_postmaster_start_time() AS started"
LAST_COMMIT = "SELECT timestamp AS at FROM pg_last_committed_xact()"
LAST_REPLAYED = "SELECT pg_last_xact_replay_timestamp() AS at"


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The newest commit of a copy; `at` is None if it's unknown. `source` says where it comes from."""

    at: datetime | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How many rows a table holds. `counted` is False if PostgreSQL's own estimate stands for a count that took too long."""

    number: int
    counted: bool = True

    def __str__(self) -> str:
        return f"{'' if self.counted else 'about '}{self.number}"


NONE = Rows(number=0)
Held = Mapping[str, Rows | None]  # by table; None: unknown
Canaries = Mapping[str, datetime] | None  # when each canary row was written; None: there is no table for them


@dataclass(frozen=True, kw_only=True)
class HoldsEnough(Check, kind="postgresql.holds_enough"):
    """Compare a restored copy with its original: the rows of each table within bounds, and how old its newest commit is.

    `at` is the moment that the copy stands for. A table may differ by `percent` of its rows, and by 20 rows, and may not have
    lost more since the last verification; if `tables` names some, the others may differ as they like. Heartbeat rows in
    `heartbeat_table` ("": none) must be no older at that moment than `rpo_minutes`; without them the age is only reported. Its
    canary rows must all be there.
    """

    database: DatabaseRef
    original: DatabaseRef
    at: str
    percent: int
    rpo_minutes: int
    heartbeat_table: str = ""
    tables: tuple[str, ...] = ()

    timeout: ClassVar[float] = 3600.0
    plane: ClassVar[str] = "control"  # RDS gives the addresses
    permissions: ClassVar[tuple[str, ...]] = ("rds:DescribeDBInstances", "postgresql:pg_read_all_data")

    @property
    def region(self) -> str:
        """The region of both instances."""
        return self.database.region

    @property
    def title(self) -> str:
        what = f"rows within {self.percent} %, age of the newest commit"
        return f"Compare {self.database.instance} with {self.original.instance}: {what}"

    @property
    def target(self) -> str:
        return str(self.database)

    def command(self) -> str:
        return f"# on {self.database.instance} and {self.original.instance}: SELECT count(*) FROM every table; the newest commit"

    async def look(self, world: World) -> Outcome:
        from actions.db.connect import DatabaseUnreachable  # psycopg is heavy

        said = "Nothing answered."
        async for _ in world.ticks(timeout=ASKING, at_least=ASKING_LEAST):
            try:
                return await self._compare(world)
            except DatabaseUnreachable as error:  # it may only be busy
                said = str(error)
            except Unreachable as error:
                said = str(error)
                break
        return failed(f"The copy could not be compared with {self.original.instance}. {said}")

    async def _compare(self, world: World) -> Outcome:
        """Read both, and judge. Raises `Unreachable`."""
        copy, present = await reach(world, self.database), await reach(world, self.original)
        newest = await _newest(copy, self.heartbeat_table)
        held, now = await asyncio.gather(_rows(copy, *COPY), _rows(present, *PRESENT))
        canaries = await asyncio.gather(*(_canaries(one, self.heartbeat_table) for one in (copy, present)))
        last = await world.last_rows(str(self.original), self.at)
        await self._keep(world, held)
        return judge_evidence(self, newest, held, now, last=last, canary=judge_canaries(self, *canaries))

    async def _keep(self, world: World, held: Held) -> None:
        """Put the counts on record, for the next verification to compare with."""
        rows = {name: one.number for name, one in held.items() if one is not None}
        name = f"rows in {self.database.instance}"[:100]
        await world.items.intend(name, {"original": str(self.original), "at": self.at, "rows": rows})
        await world.items.end(name, COUNTED)


def judge_canaries(step: HoldsEnough, held: Canaries, now: Canaries) -> tuple[str, bool]:
    """What the canary rows say of the copy, and whether one is wrong: each that was written before its moment must be in it."""
    if held is None or now is None:
        return "", False
    due = {name: at for name, at in now.items() if at < datetime.fromisoformat(step.at)}
    wrong = sorted(name for name, at in due.items() if held.get(name) != at)
    if wrong:
        return f"{count(len(wrong), 'canary row')} of {len(due)} missing or changed: {_listed(wrong)}.", True
    if not due:
        return "No canary row is old enough to be in it.", False
    return f"{count(len(due), 'canary row is', 'canary rows are')} in it, as many as must be.", False


def judge_evidence(
    step: HoldsEnough,
    newest: Newest,
    held: Held,
    now: Held,
    *,
    last: Mapping[str, int] | None = None,
    canary: tuple[str, bool] = ("", False),
) -> Outcome:
    """Done if every table that is known on both sides is within the bounds, and so is the newest commit, if it is known.

    `last` are the rows of the last verification, if there was one; `canary` is what the canary rows say.
    """
    age, is_old = _age(step, newest)
    wrong = [
        f"{name} {held.get(name, 'not there')} (now {now.get(name, 'gone')})"
        for name in {**now, **held}
        if _is_beyond(step, name, held.get(name, NONE), now.get(name, NONE))
    ]
    uncounted = sorted(name for name in {*held, *now} if held.get(name, NONE) is None or now.get(name, NONE) is None)
    compared = sorted(name for name in now if name in held and name not in uncounted)
    more = f" Not counted in time, so not compared: {_listed(uncounted)}." if uncounted else ""
    wrong += [f"{name} (there is none)" for name in step.tables if name not in held and name not in now]
    wrong += [f"{name} (not counted in time)" for name in step.tables if name in uncounted]
    more = f"{more} {canary[0]}".rstrip()
    shrunk = [f"{name} {held.get(name, 'not there')} (then {rows})" for name, rows in (last or {}).items()
              if _is_shrunk(step, name, held.get(name, NONE), now.get(name, NONE), rows)]  # fmt: skip
    if wrong or is_old or not compared or shrunk or canary[1]:
        beyond = f"{count(len(wrong), 'table differs', 'tables differ')} too much (bound: {step.percent} % or {FEW} rows): "
        said = [f"{beyond}{_listed(wrong)}."] if wrong else []
        said += ["No table could be compared."] if not compared else []
        less = f"{count(len(shrunk), 'table has', 'tables have')} lost more since the last verification than that: "
        said += [f"{less}{_listed(shrunk)}."] if shrunk else []
        return failed(f"{' '.join(said)} {age}{more}".strip())
    rows = ", ".join(f"{name} {held[name]} (now {now[name]})" for name in compared[:SHOWN])
    rest = f" and {len(compared) - SHOWN} more" if len(compared) > SHOWN else ""
    fit = f"{count(len(compared), 'table holds', 'tables hold')} as many rows as in {step.original.instance}"
    since = "none has lost more since the last verification" if last else "no earlier verification has counts to compare with"
    return done(f"{fit}, within {step.percent} % or {FEW} rows; {since}: {scrub(rows)}{rest}. {age}{more}")


def _age(step: HoldsEnough, newest: Newest) -> tuple[str, bool]:
    """How old the newest commit was at the moment that the copy stands for, and whether that is more than promised."""
    if newest.at is None:
        return f"How old its newest commit is, is not known: {newest.source}", False
    seconds = (datetime.fromisoformat(step.at) - newest.at).total_seconds()
    when = f"Its newest commit is from {newest.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({newest.source})"
    how_old = (
        f"{_span(seconds)} before the moment that it stands for"
        if seconds >= 0
        else f"{_span(-seconds)} after the moment that it stands for"
    )
    if step.heartbeat_table and newest.source == _beats(step.heartbeat_table) and seconds > step.rpo_minutes * 60:
        return f"{when}, {how_old}, and {step.rpo_minutes} min were promised.", True
    return f"{when}, {how_old}.", False


def _is_beyond(step: HoldsEnough, name: str, held: Rows | None, now: Rows | None) -> bool:
    if held is None or now is None or (step.tables and name not in step.tables):
        return False
    return abs(held.number - now.number) > max(step.percent / 100 * max(held.number, now.number), FEW)


def _is_shrunk(step: HoldsEnough, name: str, held: Rows | None, now: Rows | None, last: int) -> bool:
    """Whether a table has lost too much since the last verification, or all of it; a queue may be empty in production, too."""
    if held is None or (step.tables and name not in step.tables):
        return False
    is_emptied = held.number == 0 and last > 0 and (now is None or now.number > 0)
    return is_emptied or last - held.number > max(step.percent / 100 * last, FEW)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{scrub(', '.join(names[:SHOWN]))}{rest}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _beats(table: str) -> str:
    return f"heartbeat rows in {table}"


async def _newest(copy: Connections, table: str) -> Newest:
    """By heartbeat rows if there are any, else by PostgreSQL's own record, unless the copy itself has committed since."""
    if table and is_table(table):
        try:
            beat = (await copy.ask(f"SELECT max(at) AS at FROM {table}"))[0]["at"]
        except Unreachable:  # a snapshot from before the table was made
            beat = None
        if beat is not None:
            return Newest(at=beat, source=_beats(table))
    (row,) = await copy.ask(TRACKED)
    known = {"pg_last_committed_xact()": LAST_COMMIT} if row["tracked"] else {}
    for source, sql in {**known, "pg_last_xact_replay_timestamp()": LAST_REPLAYED}.items():
        at = (await copy.ask(sql))[0]["at"]
        if at is not None and at < row["started"]:
            return Newest(at=at, source=source)
    if row["tracked"]:
        return Newest(at=None, source="commits of the copy's own came after it. Set heartbeat_table in dr.toml.")
    return Newest(at=None, source="set heartbeat_table in dr.toml, or track_commit_timestamp in the parameter group.")


async def _canaries(connections: Connections, table: str) -> Canaries:
    """The canary rows with their moments; None if there are none to ask for."""
    if not table or not is_table(table):
        return None
    try:
        rows = await connections.ask(
            f"SELECT writer, at FROM {table} WHERE writer LIKE '{CANARY}%%' ORDER BY at DESC LIMIT 60", []
        )
    except Unreachable:  # a snapshot from before the table was made
        return {}
    return {row["writer"]: row["at"] for row in rows}


async def _rows(connections: Connections, seconds: float, all_seconds: float) -> Held:
    """The rows of each table, the smallest first, with so much time for each and for all."""
    rows = (await connections.ask(TABLES))[:MOST_TABLES]
    ends, held = time.monotonic() + all_seconds, dict[str, Rows | None]()
    for row in reversed(rows):
        counted = await _count(connections, row["name"], min(ends - time.monotonic(), seconds))
        is_known = row["about"] is not None and row["about"] >= 0  # -1: never vacuumed nor analyzed
        held[row["name"]] = counted or (Rows(number=row["about"], counted=False) if is_known else None)
    return held


async def _count(connections: Connections, table: str, seconds: float) -> Rows | None:
    if seconds <= 0:
        return None
    try:
        async with connections.session("read", timeout=seconds) as connection:
            await connection.execute(f"SET statement_timeout = {int(seconds * 1000)}".encode())
            row = await (await connection.execute(f"SELECT count(*) AS rows FROM {table}".encode())).fetchone()
    except Unreachable:
        return None
    return Rows(number=row["rows"]) if row else None
