"""What must be true after a repair of a table, asked of the database and of AWS and not of the bot."""

from __future__ import annotations

import psycopg

from rehearsal.injuries import Corruption
from rehearsal.world import Rehearsal

ROWS = "SELECT id, t::text FROM {} AS t WHERE id = ANY(%s)"
ORPHANS = "SELECT count(*) FROM records AS r WHERE NOT EXISTS (SELECT FROM organizations AS o WHERE o.id = r.organization_id)"


async def wrong_after_repair(world: Rehearsal, corruption: Corruption) -> list[str]:
    """Everything that's wrong, as sentences."""
    keys = [*corruption.deleted, *corruption.changed]
    async with await psycopg.AsyncConnection.connect(world.database.dsn("postgres"), connect_timeout=5) as connection:
        rows = await connection.execute(ROWS.format(corruption.table).encode(), [keys])
        found: dict[int, str] = dict(await rows.fetchall())
        (orphans,) = await (await connection.execute(ORPHANS)).fetchone() or (0,)
    missing = [key for key in keys if key not in found]
    other = [key for key, row in found.items() if row != corruption.before[key]]
    wrong = [f"{len(missing)} of {len(corruption.deleted)} deleted rows are not back."] if missing else []
    wrong += [f"{len(other)} rows are not as they were before."] if other else []
    wrong += [f"{orphans} rows of records belong to no organization."] if orphans else []
    production = world.rds.production
    left = [one.name for one in world.rds.registry.instances.values() if one is not production]
    return [*wrong, *(f"The temporary instance {name} is still there." for name in left)]
