"""The question before a whole table is brought back: what the copy has, what is there now, what is made, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from actions.db.reach import reach
from actions.db.repair_collect import OfCase
from actions.db.table_copy import compare_both, way_back
from actions.errors import Unreachable
from actions.scrub import scrub
from actions.site import DatabaseRef
from actions.step import Hold
from actions.values import Facts, Finding, count, ok, stop, warn

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

SAMPLES, LONGEST, MOST_NAMED = 3, 200, 12
COUNTING_SECONDS = 120.0  # a large table, read from S3 for the first time; then its estimate must do
SIZE = """
SELECT pg_size_pretty(pg_total_relation_size(c.oid)) AS size, greatest(c.reltuples, 0)::int8 AS about
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
# What belongs to the table in the copy, and what only refers to it there, so that it does not come back with it.
BELONGS = """
WITH this AS (SELECT %s::regclass AS id)
SELECT 'column' AS kind, quote_ident(attname) AS name FROM pg_attribute, this
  WHERE attrelid = id AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'index', indexrelid::regclass::text FROM pg_index, this WHERE indrelid = id
UNION ALL SELECT 'constraint', quote_ident(conname) FROM pg_constraint, this WHERE conrelid = id AND contype <> 'n'
UNION ALL SELECT 'trigger', quote_ident(tgname) FROM pg_trigger, this WHERE tgrelid = id AND NOT tgisinternal
UNION ALL SELECT 'sequence', objid::regclass::text FROM pg_depend, this
  WHERE refobjid = id AND deptype IN ('a', 'i') AND objid IN (SELECT seqrelid FROM pg_sequence)
  AND classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
UNION ALL SELECT 'stranger', format('%%s of %%s', quote_ident(conname), conrelid::regclass) FROM pg_constraint, this
  WHERE contype = 'f' AND conparentid = 0 AND confrelid = id AND conrelid <> confrelid
UNION ALL SELECT DISTINCT 'stranger', format('view %%s', ev_class::regclass)
  FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid, this
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = id AND ev_class <> id
"""


@dataclass(frozen=True, kw_only=True)
class ChooseCopy(OfCase, Hold, kind="postgresql.choose_copy"):
    """Show how many rows a table has in a restored copy, samples, what is there now and what would be made, and ask.

    Yes isn't offered if the table has rows, if it is empty in both, or if the bot may not act as its owner.
    """

    copy: DatabaseRef
    at: str

    timeout: ClassVar[float] = 300.0
    looks_again: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_read_all_data", "rds:DescribeDBInstances")

    @property
    def question(self) -> str:
        return f"Shall {', '.join(self.tables)} be brought back from {self.copy.instance}, with all rows?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        facts = await compare_both(world, self.database, self.copy, self.tables)
        if facts["refusal"]:
            return (stop(facts["refusal"]),)
        there = await reach(world, self.copy)
        rows, size = await _count(there, facts["name"])
        if rows == 0 and facts["there"]:
            return (stop(f"{facts['name']} has no row in {self.copy.instance}, either. Take an earlier time."),)
        held = await there.ask(f"SELECT t::text AS row FROM ONLY {facts['name']} AS t LIMIT {SAMPLES}")
        belongs = await there.ask(BELONGS, [facts["name"]])
        return (*self._told(facts, rows, size, held), *_made(facts, belongs), *self._warnings(facts))

    def _told(self, facts: Facts, rows: int | None, size: Mapping[str, Any], held: list[Any]) -> Iterator[Finding]:
        """What is there now, and what the copy has."""
        name, many = facts["name"], f"about {count(size['about'], 'row')}" if rows is None else count(rows, "row")
        if facts["there"]:
            yield warn(f"{name} is there and empty. A Yes fills it with {many}.")
        else:
            yield warn(f"There is no table {name} now. A Yes makes it again, with {many}.")
        says = f"In {self.copy.instance}, as of {_utc(self.at)}, it has {many}, {size['size']} with its indexes."
        samples = " | ".join(scrub(_short(row["row"])) for row in held)
        if rows is None:
            yield warn(f"{says} They could not be counted within {COUNTING_SECONDS:g} s, so this is an estimate.", samples)
        else:
            yield (ok if rows else warn)(says, samples)

    def _warnings(self, facts: Facts) -> Iterator[Finding]:
        yield warn(
            f"What was written to it after {_utc(self.at)} is not in the copy. I don't stop what "
            f"{'emptied' if facts['there'] else 'dropped'} it: make sure that it's stopped."
        )
        yield ok(f"The way back: {way_back(facts)}")


def _made(facts: Facts, belongs: list[Any]) -> Iterator[Finding]:
    """What is made with the table, and what isn't."""
    if facts["there"]:
        yield ok(f"Only rows are added. It stays as it is defined now, and its sequences stay; it belongs to {facts['owner']}.")
        return
    kinds: dict[str, list[str]] = {}
    for row in belongs:
        kinds.setdefault(row["kind"], []).append(row["name"])
    strangers = kinds.pop("stranger", [])
    several = {"index": "indexes"}
    parts = [count(len(names), kind, several.get(kind, "")) for kind, names in kinds.items()]
    named = "; ".join(f"{kind}: {_list(names)}" for kind, names in kinds.items())
    yield ok(f"It's made for {facts['owner']}, with its grants and {', '.join(parts)}.", named)
    if strangers:
        says = f"{count(len(strangers), 'view or foreign key', 'views and foreign keys')} that the copy has on it"
        yield warn(f"{says} {'is' if len(strangers) == 1 else 'are'} not made again: do that by hand.", _list(strangers))


async def _count(there: Connections, name: str) -> tuple[int | None, Mapping[str, Any]]:
    """The rows (None if they can't be counted in time), and the table's size with its estimate of them."""
    (size,) = await there.ask(SIZE, [name])
    try:
        async with there.session("read", timeout=COUNTING_SECONDS + 5) as connection:
            await connection.execute(f"SET statement_timeout = {int(COUNTING_SECONDS * 1000)}; SET row_security = off".encode())
            row = await (await connection.execute(f"SELECT count(*) AS rows FROM ONLY {name}".encode())).fetchone()
    except Unreachable:
        return None, size
    return (int(row["rows"]) if row else None), size


def _list(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _utc(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
