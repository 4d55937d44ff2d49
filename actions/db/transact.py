"""One transaction with an effect. Afterwards it is known whether all of it happened or nothing, or that we must read back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import DictRow

from actions.db.connect import Connections
from actions.errors import ActionError, Refused, Uncertain, Unreachable
from actions.scrub import plain, scrub

if TYPE_CHECKING:
    from actions.world import World

# Classes of errors that PostgreSQL raises at COMMIT before anything is committed: deferred constraints, triggers, serialization.
# Others prove nothing: a session that is ended while it waits for a standby has committed already.
ROLLED_BACK = ("22", "23", "25", "40", "42", "P0")
COMMIT_SECONDS = 15.0
LOOKS = (0.0, 0.2, 0.5, 1.0)  # seconds before each: a session that was just ended is listed for a moment
COMMITS = """
SELECT count(*)::int8 AS sessions FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user
  AND application_name = 'dr-bot' AND pid <> pg_backend_pid() AND state = 'active' AND query = 'COMMIT'
"""


@asynccontextmanager
async def transaction(
    world: World, connections: Connections, *, seconds: float
) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
    """A connection in a transaction that is committed at the end. Raises `Refused` if nothing of it happened, or `Uncertain`."""
    try:
        connection = await connections.connect("change")
    except Unreachable as error:
        raise Refused(f"Nothing was changed: {error}") from error
    async with connection:
        await world.gate.opened()
        try:
            async with asyncio.timeout(seconds):
                await connection.execute("BEGIN")
                milliseconds = f"{int(seconds * 1000)}"
                for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                    await connection.execute(f"SET LOCAL {name} = {milliseconds}".encode())
                yield connection
        except TimeoutError as error:
            raise Refused(f"Nothing was changed: it took longer than {seconds:g} s and was rolled back.") from error
        except Refused:
            raise
        except ActionError as error:  # what else ends it: a source that doesn't answer, tables that can't be compared
            raise Refused(f"Nothing was changed: {error}") from error
        except psycopg.Error as error:
            raise Refused(f"Nothing was changed: the database says: {sentence(error)}") from error
        await world.gate.opened()
        await _commit(connection)


async def _commit(connection: psycopg.AsyncConnection[Any]) -> None:
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            await connection.execute("COMMIT")
    except TimeoutError as error:
        raise Uncertain(f"COMMIT was sent, and no answer came within {COMMIT_SECONDS:g} s.") from error
    except psycopg.Error as error:
        if (error.sqlstate or "").startswith(ROLLED_BACK):
            raise Refused(f"Nothing was changed: the database says: {sentence(error)}") from error
        raise Uncertain(f"COMMIT was sent, and its answer got lost: {sentence(error)}") from error


async def commits_now(connections: Connections) -> str:
    """Why we can't tell yet: a COMMIT of ours is still under way, perhaps one whose connection is gone. "" if none is.

    Ask this before you look for what the transaction left: what is not there then won't come any more. Raises `Unreachable`.
    """
    for pause in LOOKS:
        await asyncio.sleep(pause)
        (row,) = await connections.ask(COMMITS)
        if not row["sessions"]:
            return ""
    return "The database is still busy with a COMMIT of mine. Once that has ended, Retry reads back."


def sentence(error: psycopg.Error) -> str:
    """The error as one line, with the constraint that it is about."""
    said = scrub(error.diag.message_primary or plain(error)).rstrip(".")
    return f"{said}."
