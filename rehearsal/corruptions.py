"""What goes wrong in a table of production, at a recorded moment: rows are lost or wrong, or the whole table is."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehearsal.injuries import INJURIES, Injury, Patient, Wound
from rehearsal.migrations.project import Project
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import OWNER, SUPERUSER

Row = tuple[str, str, str, str, Callable[[], Awaitable[Any]]]
# Everything that belongs to a table, as one text.
DEFINITION = """
SELECT string_agg(told, E'\n' ORDER BY told) FROM (
  SELECT pg_get_constraintdef(oid) AS told FROM pg_constraint WHERE conrelid = %(table)s::regclass
  UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %(table)s::regclass
  UNION ALL SELECT coalesce(relacl::text, '') || pg_get_userbyid(relowner) FROM pg_class WHERE oid = %(table)s::regclass
  UNION ALL SELECT attname || attnotnull || format_type(atttypid, atttypmod)
    FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
) AS parts
"""
NOW = "SELECT clock_timestamp(), pg_current_xact_id()::text"


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """What went wrong in a table and when; `before` has the rows as texts that were deleted or changed, by their keys.

    If the whole table was `lost` ("dropped" or "emptied"), `definition` has all that belonged to it.
    """

    table: str
    began_at: datetime
    committed_at: datetime
    deleted: tuple[int, ...]
    changed: tuple[int, ...]
    before: dict[int, str]
    lost: str = ""
    definition: str = ""


async def corrupt_table(patient: Patient, dice: random.Random) -> Corruption:
    """Delete many rows of `records` and change others, in one transaction; what the application writes meanwhile is right."""
    keys = await patient.value("SELECT array_agg(id ORDER BY id) FROM records WHERE id < 0")
    hit = tuple(dice.sample(keys, dice.randint(300, 900)))
    deleted, changed = hit[: len(hit) * 2 // 3], hit[len(hit) * 2 // 3 :]
    async with patient.session() as connection, connection.transaction():
        row = await (await connection.execute(NOW)).fetchone()
        found = await connection.execute("SELECT id, t::text FROM records AS t WHERE id = ANY(%s)", [list(hit)])
        before = {int(key): str(text) for key, text in await found.fetchall()}
        await connection.execute("DELETE FROM records WHERE id = ANY(%s)", [list(deleted)])
        await connection.execute("UPDATE records SET body = reverse(body) WHERE id = ANY(%s)", [list(changed)])
    assert row is not None
    committed = await patient.value("SELECT pg_xact_commit_timestamp(%s::xid)", row[1])
    return Corruption(table="records", began_at=row[0], committed_at=committed, deleted=deleted, changed=changed, before=before)


async def lose_table(patient: Patient, dice: random.Random) -> Corruption:
    """Drop `records`, which customers then miss, or empty `users`, which nobody notices; the lock waits for those who write."""
    table, lost = dice.choice((("records", "dropped"), ("users", "emptied")))
    definition = await definition_of(patient, table)
    async with patient.session() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table}".encode())  # whoever wrote to it has committed before the moment
        row = await (await connection.execute(NOW)).fetchone()
        found = await connection.execute(f"SELECT id, t::text FROM {table} AS t".encode())
        before = {int(key): str(text) for key, text in await found.fetchall()}
        await connection.execute(f"{'DROP TABLE' if lost == 'dropped' else 'TRUNCATE'} {table}".encode())
    assert row is not None
    committed = await patient.value("SELECT pg_xact_commit_timestamp(%s::xid)", row[1])
    return Corruption(
        table=table,
        began_at=row[0],
        committed_at=committed,
        deleted=tuple(before),
        changed=(),
        before=before,
        lost=lost,
        definition=definition,
    )


async def definition_of(patient: Patient, table: str) -> str:
    """All that belongs to a table, as one text."""
    async with patient.session() as connection:
        row = await (await connection.execute(DEFINITION.encode(), {"table": table})).fetchone()
    assert row is not None
    return str(row[0])


async def bring_table_back(patient: Patient, lost: Corruption) -> None:
    """Make a table again that was dropped, as the project's migrations make it, and put the rows in that it lacks."""
    if await patient.value("SELECT to_regclass(%s) IS NULL", lost.table):
        of_table = re.compile(rf'(CREATE TABLE|ALTER TABLE) "{lost.table}"|CREATE (UNIQUE )?INDEX "\w+" ON "{lost.table}"')
        statements = [one for migration in Project().migrations() for one in migration.statements if of_table.match(one)]
        await patient.run(*(f"SET ROLE {OWNER}; {statement}" for statement in statements))
    async with patient.session() as connection:
        rows = f"SELECT (kept::{lost.table}).* FROM unnest(%s::text[]) AS kept"
        insert = f"INSERT INTO {lost.table} {rows} ON CONFLICT (id) DO NOTHING"
        await connection.execute(insert.encode(), [list(lost.before.values())])


class InjuryFaults:
    """The injuries as faults of production, and the record of what they did."""

    def __init__(self, database: ServerPair, dice: random.Random) -> None:
        self.wounds: list[Wound] = []
        self.corruptions: list[Corruption] = []
        self._database = database
        self._dice = dice

    def rows(self) -> list[Row]:
        """Name, title, explanation, kind and cause of each."""
        says = "Writers go on. It stays until it is repaired."
        table = ("table-corruption", "Rows of a table are lost and wrong", says, "injury", self._corrupt)
        lost = (
            "table-dropped",
            "A table is dropped, or emptied",
            "Customers miss the one that is dropped. It stays until it is brought back.",
            "injury",
            self._lose,
        )
        return [
            table,
            lost,
            *((f"injury-{one.name}", one.title, one.says, "injury", self._hurt(one)) for one in INJURIES.values()),
        ]

    def _patient(self) -> Patient:
        primary = self._database.primary
        return Patient(port=primary.port, password=self._database.password(SUPERUSER), data=primary.data)

    async def _corrupt(self) -> None:
        self.corruptions.append(await corrupt_table(self._patient(), self._dice))

    async def _lose(self) -> None:
        self.corruptions.append(await lose_table(self._patient(), self._dice))

    async def bring_back(self) -> None:
        """Tables that were dropped or emptied are there again."""
        for lost in [one for one in self.corruptions if one.lost]:
            await bring_table_back(self._patient(), lost)

    def _hurt(self, injury: Injury) -> Callable[[], Awaitable[None]]:
        async def cause() -> None:
            self.wounds.append(await injury.inflict(self._patient(), self._dice))

        return cause
