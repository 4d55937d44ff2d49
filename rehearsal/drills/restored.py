"""What must be true after a restore to the moment before a bad release, asked of databases and AWS and not of the bot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

from rehearsal.aws.cloud import DATABASE_SECRET
from rehearsal.migrations.project import HARMLESS
from rehearsal.postgres.bad_release import Incident
from rehearsal.postgres.fenced import lets_in
from rehearsal.world import Rehearsal

RECORDS = "SELECT count(*) FROM records WHERE organization_id = ANY(%s) AND (id < 0 OR written_at <= %s)"
PAYING = "SELECT count(*) FROM organizations WHERE id = ANY(%s) AND plan <> 'free'"
NOTED = "SELECT count(*) FROM drizzle.__drizzle_migrations WHERE hash = %s"
COLUMNS = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'agents'::regclass AND attname = %s"
IN_FLIGHT = 1  # the witness writes one row at a time: so many may have been committed between the moment and the deletion


async def wrong_after_restore(world: Rehearsal, incident: Incident) -> list[str]:
    """Everything that's wrong, as sentences; call it once the witness has verified its rows."""
    wrong = [*_lost_rows(world, incident), *await _records(world, incident), *await _old_instance(world)]
    return wrong + (await _migrated(world, incident) if incident.migration else [])


def kept(world: Rehearsal) -> list[dict[str, str]]:
    """What a restore leaves behind on purpose, as RDS has it: the old instance, and the snapshots that were taken by hand."""
    registry, old = world.rds.registry, world.rds.production
    is_there = (old.region, old.name) in registry.instances and old.status == "available"
    instance = {"what": f"instance {old.name}", "state": "kept" if is_there else old.status}
    snapshots = [
        {"what": f"snapshot {one.name}", "state": "kept" if one.status == "available" else one.status}
        for one in registry.snapshots.values()
        if one.kind == "manual"
    ]
    return [instance, *snapshots]


def _lost_rows(world: Rehearsal, incident: Incident) -> Iterator[str]:
    """A restore gives up what was written after its moment, and nothing else."""
    if world.witness.lost_between is None:
        return
    oldest, newest = (datetime.fromtimestamp(at, UTC) for at in world.witness.lost_between)
    if oldest < incident.began_at:
        yield f"A row of {oldest} is lost, although the database was restored to {incident.began_at}."
    if (back := world.witness.healthy_since) is not None and newest.timestamp() >= back:
        yield f"A row of {newest} is lost, although the service has written to the restored database since then."


async def _records(world: Rehearsal, incident: Incident) -> list[str]:
    customers = list(incident.customers)
    records = await _number(world.live_dsn("postgres"), RECORDS, customers, incident.began_at)
    paying = await _number(world.live_dsn("postgres"), PAYING, customers)
    wrong = []
    if not 0 <= incident.deleted - records <= IN_FLIGHT:
        wrong.append(f"The bad release deleted {incident.deleted} records, and {records} are back.")
    if paying != incident.overwritten:
        wrong.append(f"The bad release overwrote {incident.overwritten} plans, and {paying} are back.")
    return wrong


async def _migrated(world: Rehearsal, incident: Incident) -> list[str]:
    """The moment was before the migration: it must have been applied to the restored database since, once."""
    dsn = world.live_dsn("postgres")
    noted, columns = await _number(dsn, NOTED, incident.hash), await _number(dsn, COLUMNS, HARMLESS.adds)
    wrong = [f"Migration {incident.migration} is noted {noted} times in the restored database."] if noted != 1 else []
    return wrong + ([f"The restored database has {columns} columns {HARMLESS.adds}."] if columns != 1 else [])


async def _old_instance(world: Rehearsal) -> list[str]:
    leads, old = world.aws.secrets.address(DATABASE_SECRET), world.rds.production
    addresses = {(one.behind.host, one.behind.port): one for one in world.rds.registry.instances.values() if one.behind}
    wrong = []
    if leads not in addresses or addresses[leads] is old:
        wrong.append(f"The secret leads to {leads[0]}:{leads[1]}, and no restored instance listens there.")
    elif addresses[leads].status != "available":
        wrong.append(f"The secret leads to {addresses[leads].name}, which is {addresses[leads].status}.")
    if await lets_in(world.database):
        wrong.append(f"{old.name} is not fenced: it lets people in, or somebody is still connected.")
    return wrong + [f"The {one['what']} is {one['state']}." for one in kept(world) if one["state"] != "kept"]


async def _number(dsn: str, query: str, *parameters: Any) -> int:
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=5) as connection:
        row = await (await connection.execute(query, parameters)).fetchone()
    assert row is not None
    return int(row[0])
