"""Who writes to tables that are to be repaired, and the question whether what damaged them is stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.restored import OTHERS
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Hold
from actions.values import Finding, count, ok, warn

if TYPE_CHECKING:
    from actions.world import World

LOOK_SECONDS = 3.0  # a session tells its counts once a second
WRITTEN = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 AS rows FROM pg_stat_user_tables
WHERE relid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS asked (name))
"""


@dataclass(frozen=True, kw_only=True)
class WritersStopped(Hold, kind="postgresql.writers_stopped"):
    """Show how much is being written to tables and who is connected, and ask whether what damages them is stopped."""

    database: DatabaseRef
    tables: tuple[str, ...]

    timeout: ClassVar[float] = 60.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_monitor",)

    @property
    def target(self) -> str:
        return f"{', '.join(self.tables)} of {self.database}"

    @property
    def question(self) -> str:
        return f"Is whatever damaged {', '.join(self.tables)} stopped?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        connections, wanted = world.database(self.database), [list(self.tables)]
        try:
            before = (await connections.ask(WRITTEN, wanted))[0]["rows"]
            await asyncio.sleep(LOOK_SECONDS)
            written = (await connections.ask(WRITTEN, wanted))[0]["rows"] - before
            others = await connections.ask(OTHERS)
        except Unreachable as error:
            return (warn("We can't tell whether anybody writes: the database could not be asked.", str(error)),)
        names = ", ".join(f"{count(row['sessions'], 'session')} of {row['application']} as {row['role']}" for row in others[:8])
        writes = f"{count(written, 'row was', 'rows were')} written to {', '.join(self.tables)} within {LOOK_SECONDS:g} s"
        return (
            (warn if written else ok)(
                f"{writes}. Writes may go on if they are right: newer rows are kept.", f"Connected: {names or 'nobody else'}."
            ),
            warn("If what did the damage still runs, it will do it again after the repair. I don't stop it: that's up to you."),
        )
