"""What must be true after a repair of a table, asked of the database and of AWS and not of the bot."""

from __future__ import annotations

import psycopg

from rehearsal.corruptions import DEFINITION, Corruption
from rehearsal.world import Rehearsal

ROWS = "SELECT id, t::text FROM {} AS t WHERE id = ANY(%s)"
ORPHANS = "SELECT count(*) FROM records AS r WHERE NOT EXISTS (SELECT FROM organizations AS o WHERE o.id = r.organization_id)"


async def wrong_after_repair(world: Rehearsal, corruption: Corruption) -> list[str]:
    """Everything that's wrong, as sentences."""
    keys = [*corruption.deleted, *corruption.changed]
    async with await psycopg.AsyncConnection.connect(world.database.dsn("postgres"), connect_timeout=5) as connection:
        if (await (await connection.execute("SELECT to_regclass(%s)", [corruption.table])).fetchone()) == (None,):
            return [f"There is no table {corruption.table}."]
        rows = await connection.execute(ROWS.format(corruption.table).encode(), [keys])
        found: dict[int, str] = dict(await rows.fetchall())
        definition = await (await connection.execute(DEFINITION.encode(), {"table": corruption.table})).fetchone()
        (orphans,) = await (await connection.execute(ORPHANS)).fetchone() or (0,)
    missing = [key for key in keys if key not in found]
    other = [key for key, row in found.items() if row != corruption.before[key]]
    wrong = [f"{len(missing)} of {len(corruption.deleted)} deleted rows are not back."] if missing else []
    wrong += [f"{len(other)} rows are not as they were before."] if other else []
    wrong += [f"{orphans} rows of records belong to no organization."] if orphans else []
    if corruption.lost and definition != (corruption.definition,):
        wrong.append(f"{corruption.table} is not defined as before: {definition}, and it was {corruption.definition}.")
    production = world.rds.production
    left = [one.name for one in world.rds.registry.instances.values() if one is not production]
    return [*wrong, *(f"The temporary instance {name} is still there." for name in left)]
