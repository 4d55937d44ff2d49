"""Damage planted in a restored copy, of kinds that different checks find; the original is never touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rehearsal.postgres.copies import Copy
from rehearsal.postgres.template import superuser

PAGE = 8192
# A backend keeps what it knows of an index for as long as it lives, so each of these runs in a session of its own.
LOSE_INDEX_ENTRY = (
    "UPDATE pg_index SET indisready = false WHERE indexrelid = 'users_email_unique'::regclass",
    "INSERT INTO users (organization_id, email) VALUES (1, 'nobody-finds-me@example.com')",
    "UPDATE pg_index SET indisready = true WHERE indexrelid = 'users_email_unique'::regclass",
)
ORPHAN = "SET session_replication_role = replica; DELETE FROM organizations WHERE id = 7"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One kind of damage, and the way to do it to a copy that takes writes. `found_at` is where a check must find it."""

    name: str
    says: str
    found_at: str
    strike: Callable[[Copy], Awaitable[None]]


async def overwrite_page(copy: Copy) -> None:
    """A page in the middle of the table `records` holds garbage, as after a failing disk."""
    async with superuser(copy.server.port, copy.password) as connection:
        row = await (await connection.execute("SELECT pg_relation_filepath('records')")).fetchone()
    assert row is not None
    file = copy.server.data / str(row[0])
    await copy.server.stop()  # Its memory holds the page as it was.
    with file.open("r+b") as table:
        table.seek((file.stat().st_size // PAGE // 2) * PAGE + 2048)
        table.write(b"\xde\xad\xbe\xef" * 256)
    await copy.server.start()


async def lose_index_entry(copy: Copy) -> None:
    """A row of `users` is missing in the index of its unique e-mail address."""
    await _each(copy, *LOSE_INDEX_ENTRY)


async def leave_orphans(copy: Copy) -> None:
    """Users, agents and records of an organization that is gone."""
    await _each(copy, ORPHAN)


DAMAGE = {
    one.name: one
    for one in (
        Damage(
            name="heap-page",
            says="A page of the table records is garbage.",
            found_at="table public.records",
            strike=overwrite_page,
        ),
        Damage(
            name="index-entry",
            says="A user is missing in an index.",
            found_at="index public.users_email_unique",
            strike=lose_index_entry,
        ),
        Damage(
            name="orphans",
            says="Rows belong to an organization that is gone.",
            found_at="foreign key public.users",
            strike=leave_orphans,
        ),
    )
}


async def _each(copy: Copy, *statements: str) -> None:
    for statement in statements:
        async with superuser(copy.server.port, copy.password) as connection:
            await connection.execute(statement)
