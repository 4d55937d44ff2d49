"""A production that was fenced once another database had taken over: does it let anybody in, and how it does so again."""

from __future__ import annotations

import asyncio

from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import DATABASE, SUPERUSER, superuser

LETS_IN = "SELECT datallowconn FROM pg_database WHERE datname = %s"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"


async def lets_in(database: ServerPair) -> bool:
    """Whether production's primary lets anybody connect to the application's database, or somebody still is."""
    async with superuser(database.primary.port, database.password(SUPERUSER), "postgres") as connection:
        allowed, sessions = [await (await connection.execute(sql, [DATABASE])).fetchone() for sql in (LETS_IN, SESSIONS)]
    return allowed != (False,) or sessions != (0,)


async def unfence(database: ServerPair) -> None:
    """Let everybody in again, and archive that: a copy of a moment with the fence would have it, too."""
    async with superuser(database.primary.port, database.password(SUPERUSER), "postgres") as connection:
        if await (await connection.execute(LETS_IN, [DATABASE])).fetchone() == (True,):
            return
        await connection.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true".encode())
    await asyncio.sleep(1.0)  # plans name the latest moment in whole seconds
    await database.ship()
