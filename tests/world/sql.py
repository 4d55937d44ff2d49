"""Queries that tests ask the rehearsal's database."""

from __future__ import annotations

from typing import Any

import psycopg

from rehearsal.postgres.pair import ServerPair


async def query(dsn: str, statement: str, arguments: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows of one statement, on a connection of its own."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=3) as connection:
        cursor = await connection.execute(statement, arguments)
        return await cursor.fetchall() if cursor.description else []


async def start_time(database: ServerPair) -> Any:
    """When the primary was started."""
    return (await query(database.dsn("postgres"), "SELECT pg_postmaster_start_time()"))[0][0]
