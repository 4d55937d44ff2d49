"""The migrations that a restored copy may lack: which project, which command, and what an approver must know of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from actions.db.migrations import decides_itself, fingerprint, project
from actions.errors import Unreachable
from actions.site import Migrations
from actions.values import Finding, ok, warn


@dataclass(frozen=True, kw_only=True)
class Migrated:
    """The project of migrations: its folder, its command, its fingerprint (`known`), or why it can't be read. All "" for none."""

    folder: str = ""
    run: str = ""
    known: str = ""
    error: str = ""

    @classmethod
    def of(cls, site: Migrations) -> Self:
        """As the project's folder is now."""
        if not site.dir:
            return cls()
        try:
            return cls(folder=site.dir, run=site.command, known=fingerprint(project(site.dir)))
        except Unreachable as error:
            return cls(folder=site.dir, run=site.command, error=str(error))

    @property
    def risky(self) -> bool:
        """Whether the command may do what no list shows."""
        return bool(self.known) and decides_itself(self.run)


def migration_findings(found: Migrated) -> Iterator[Finding]:
    """What the approver should know about the migrations; nothing if there are none."""
    if found.error:
        yield warn(
            "Migrations that were run after that moment are missing in the copy, and I can't list them, so I don't run them. "
            f"Before you answer Yes, run `{found.run}` against the copy by hand, in {found.folder}.",
            found.error,
        )
    elif found.risky:
        yield warn(
            f"`{found.run}` goes by the newest schema, not by the list of migrations, or answers its own questions. On an older "
            "copy it may truncate tables or drop columns, and its exit code is 0 whatever it did. So the approver types the "
            "command, too. `drizzle-kit migrate` does only what is listed."
        )
    elif found.known:
        yield ok(f"Migrations that the copy lacks are listed before the question; a Yes runs them by `{found.run}`.")
