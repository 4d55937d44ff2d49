"""Drizzle's migrations: what a project holds, what of it a database lacks, and which statements take something away.

drizzle-kit has no command that lists what is pending, so the list is read from the two places that `migrate` itself reads. It
goes by time alone: a migration runs if its `when` is later than the newest `created_at` in the database. docs/why/migrations.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actions.errors import Unreachable
from actions.values import Finding, count, ok, warn

if TYPE_CHECKING:
    from actions.db.connect import Connections

BREAK = "--> statement-breakpoint"
MOST_SHOWN = 1500  # characters of a migration's statements
APPLIED = "SELECT CASE WHEN to_regclass('drizzle.__drizzle_migrations') IS NULL THEN NULL ELSE 1 END AS there"
NEWEST = "SELECT coalesce(max(created_at), 0)::int8 AS newest FROM drizzle.__drizzle_migrations"
TAKES_AWAY = re.compile(r"\b(TRUNCATE|DROP|DELETE\s+FROM)\b", re.IGNORECASE)
COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One migration: its name, its SQL, and when it was made, in milliseconds since 1970."""

    tag: str
    sql: str
    made_at: int

    @property
    def statements(self) -> list[str]:
        """The SQL without comments, one statement each."""
        found = (COMMENTS.sub(" ", part).strip() for part in self.sql.split(BREAK))
        return [" ".join(statement.split()) for statement in found if statement]

    @property
    def takes_away(self) -> list[str]:
        """The statements that truncate, drop or delete."""
        return [statement for statement in self.statements if TAKES_AWAY.search(statement)]


class UnknownProject(Unreachable):
    """The folder of [migrations] dir isn't a drizzle project that can be read. The message says what is wrong."""


def project(folder: str) -> tuple[Migration, ...]:
    """All migrations of the project in this folder, oldest first. Raises `UnknownProject`."""
    root = Path(folder) / "drizzle"
    try:
        entries = json.loads((root / "meta" / "_journal.json").read_text())["entries"]
        found = [
            Migration(tag=str(one["tag"]), sql=(root / f"{one['tag']}.sql").read_text(), made_at=int(one["when"]))
            for one in entries
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownProject(f"The migrations in {folder} can't be read: {type(error).__name__}: {error}.") from error
    return tuple(sorted(found, key=lambda one: one.made_at))


def fingerprint(migrations: Sequence[Migration]) -> str:
    """What changes if any migration of a project does."""
    told = json.dumps([[one.tag, one.made_at, one.sql] for one in migrations])
    return hashlib.sha256(told.encode()).hexdigest()


def decides_itself(command: str) -> bool:
    """Whether a command goes by the newest schema and not by the list of migrations, or answers its own questions."""
    words = shlex.split(command)
    return any(word == "push" or word.startswith(("push:", "--force")) for word in words)


async def pending(connections: Connections, migrations: Sequence[Migration]) -> list[Migration]:
    """What `migrate` would run on this database, in its order. Raises `Unreachable`."""
    (row,) = await connections.ask(APPLIED)
    if row["there"] is None:
        return list(migrations)
    (row,) = await connections.ask(NEWEST)
    return [one for one in migrations if one.made_at > row["newest"]]


def what_is_missing(folder: str, command: str) -> list[str]:
    """What of this machine the command would lack in the project's folder, as sentences; empty if it can run."""
    root = Path(folder)
    if not root.is_dir():
        return [f"The folder {folder} of [migrations] dir isn't there. Put the project on this machine, or set dir."]
    missing = []
    try:
        project(folder)
    except UnknownProject as error:
        missing.append(str(error))
    try:
        words = shlex.split(command)
    except ValueError as error:
        return [*missing, f"[migrations] command = {command!r} can't be read: {error}."]
    for program in ("npx", "node") if words[:1] == ["npx"] else words[:1]:
        if not shutil.which(program if os.sep not in program else str(root / program)):
            missing.append(f"{program} isn't on this machine, so `{command}` can't run. Install {_package(program)}.")
    tool = next((word for word in words[1:] if not word.startswith("-")), "") if words[:1] == ["npx"] else ""
    if tool and not (root / "node_modules" / ".bin" / tool).exists():
        missing.append(f"{tool} isn't installed in {folder}, so npx would fetch it from the internet. Run `npm ci` there.")
    return missing


def _package(program: str) -> str:
    return "Node.js" if program in ("npx", "node") else "it"


async def about_migrations(connections: Connections, folder: str, command: str) -> tuple[Finding, ...]:
    """What a Yes would run on a restored copy, the statements in the evidence, and first what takes something away."""
    if decides_itself(command):
        says = (
            f"After a Yes, `{command}` decides by itself what to change in the copy. Nobody can list it before. It may truncate."
        )
        return (warn(says, "Tables that it empties are noticed before any service is led to the copy."),)
    try:
        found = await pending(connections, project(folder))
    except Unreachable as error:
        return (warn("Which migrations are pending in the copy could not be read.", str(error)),)
    if not found:
        return (ok("No migration is pending in the copy."),)
    return tuple(sorted(_told(found, command), key=lambda one: one.level == "ok"))


def _told(found: Sequence[Migration], command: str) -> Iterator[Finding]:
    listed = count(len(found), "migration is", "migrations are")
    yield ok(f"{listed} pending in the copy. After a Yes `{command}` runs {'it' if len(found) == 1 else 'them'}.")
    for one in found:
        text = "; ".join(one.statements)
        shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ... ({len(text) - MOST_SHOWN} characters more)"
        if one.takes_away:
            yield warn(f"Pending migration {one.tag} takes something away: {one.takes_away[0][:200]}", shown)
        else:
            yield ok(f"Pending migration {one.tag}: {count(len(one.statements), 'statement')}.", shown)
