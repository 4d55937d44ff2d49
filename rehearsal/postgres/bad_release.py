"""A release that writes nonsense: committed, replicated and acknowledged as everything else, at a moment that's recorded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg

from rehearsal.migrations.project import HARMLESS, Migration
from rehearsal.migrations.stand_in import NOTE
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import OWNER, PLAN, RECORDS

CUSTOMERS = (3, 11, 27)
DELETE = "DELETE FROM records WHERE organization_id = ANY(%s)"
OVERWRITE = "UPDATE organizations SET plan = 'free' WHERE id = ANY(%s) AND plan <> 'free'"

BRING_BACK = f"""
{RECORDS} ON CONFLICT (id) DO NOTHING;
UPDATE organizations SET plan = {PLAN.format("id")} WHERE plan <> {PLAN.format("id")};
"""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What a bad release did, and when: a restore to any moment before `committed_at` has the rows again."""

    fault: str
    began_at: datetime
    committed_at: datetime
    customers: tuple[int, ...]
    deleted: int
    overwritten: int
    migration: str = ""  # what the release had applied: its name, and what drizzle notes of it
    hash: str = ""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        times = {name: getattr(self, name).isoformat() for name in ("began_at", "committed_at")}
        return {**asdict(self), **times}


async def delete_records(database: ServerPair, migration: Migration | None = None) -> Incident:
    """Delete all records of three customers and overwrite what they pay for, in one transaction of the application.

    A `migration` that the release brings is applied in it, too: a restore to the moment before lacks it.
    """
    connect = psycopg.AsyncConnection.connect
    async with await connect(database.dsn(OWNER), connect_timeout=5, application_name="control-plane") as connection:
        row = await (await connection.execute("SELECT clock_timestamp(), pg_current_xact_id()::text")).fetchone()
        deleted = (await connection.execute(DELETE, [list(CUSTOMERS)])).rowcount
        if migration:
            await _apply(connection, migration)
        overwritten = (await connection.execute(OVERWRITE, [list(CUSTOMERS)])).rowcount
    assert row is not None
    async with await connect(database.dsn("postgres"), connect_timeout=5) as connection:
        committed = await (await connection.execute("SELECT pg_xact_commit_timestamp(%s::xid)", [row[1]])).fetchone()
    assert committed is not None
    return Incident(
        fault="migrated-release" if migration else "bad-release",
        began_at=row[0],
        committed_at=committed[0],
        customers=CUSTOMERS,
        deleted=deleted,
        overwritten=overwritten,
        migration=migration.tag if migration else "",
        hash=migration.hash if migration else "",
    )


async def _apply(connection: psycopg.AsyncConnection[Any], migration: Migration) -> None:
    """Apply it unless an earlier release has."""
    noted = await connection.execute("SELECT 1 FROM drizzle.__drizzle_migrations WHERE hash = %s", [migration.hash])
    if await noted.fetchone():
        return
    for statement in migration.statements:
        await connection.execute(statement.encode())
    await connection.execute(NOTE, [migration.hash, migration.made_at])


async def bring_back_records(database: ServerPair) -> None:
    """Undo all that bad releases did to the records and plans of the first day, and to the schema."""
    async with await psycopg.AsyncConnection.connect(database.dsn(OWNER), connect_timeout=5) as connection:
        await connection.execute(BRING_BACK)
        await connection.execute(f"ALTER TABLE agents DROP COLUMN IF EXISTS {HARMLESS.adds}".encode())
        await connection.execute("DELETE FROM drizzle.__drizzle_migrations WHERE hash = %s", [HARMLESS.hash])
