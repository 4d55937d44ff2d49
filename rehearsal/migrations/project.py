"""A drizzle project on disk: copied for a world, its statements, and a migration that a release brings along."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
BREAK = "--> statement-breakpoint"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One migration as drizzle knows it: its name, its SQL, and the moment it was made, in milliseconds since 1970."""

    tag: str
    sql: str
    made_at: int

    @property
    def statements(self) -> list[str]:
        """The SQL, one statement each."""
        return [statement.strip() for statement in self.sql.split(BREAK)]

    @property
    def hash(self) -> str:
        """What drizzle writes into `drizzle.__drizzle_migrations` once it is applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Release:
    """A migration that is not applied yet: its SQL, and the column that the release adds to the schema."""

    tag: str
    sql: str
    after: str
    column: str

    @property
    def adds(self) -> str:
        """The name of the column."""
        return self.column.split(":")[0].strip()

    @property
    def hash(self) -> str:
        """What drizzle notes of it once it is applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


HARMLESS = Release(
    tag="0002_agent_channel",
    sql='ALTER TABLE "agents" ADD COLUMN "channel" text;',
    after='    version: text("version").notNull().default("1.0.0"),\n',
    column='    channel: text("channel"),\n',
)
# Nobody can add a NOT NULL column without a default to a table with rows; this author made room first.
TRUNCATING = Release(
    tag="0002_organization_slugs",
    sql=f'TRUNCATE TABLE "organizations" CASCADE;{BREAK}\nALTER TABLE "organizations" ADD COLUMN "slug" text NOT NULL;',
    after='    plan: text("plan").notNull(),\n',
    column='    slug: text("slug").notNull(),\n',
)


class Project:
    """A drizzle project in a folder of its own; `npx drizzle-kit migrate` runs there once npm has installed it."""

    def __init__(self, folder: Path = FILES) -> None:
        self.folder = folder

    def renew(self) -> None:
        """Make it a fresh copy of the control plane's project; what npm installed there before is kept."""
        shutil.rmtree(self.folder / "drizzle", ignore_errors=True)
        shutil.copytree(FILES, self.folder, dirs_exist_ok=True)

    def migrations(self) -> list[Migration]:
        """All migrations of the journal, oldest first."""
        return [
            Migration(tag=entry["tag"], sql=self._sql(entry["tag"]).read_text(), made_at=entry["when"])
            for entry in self._journal()["entries"]
        ]

    def release(self, new: Release) -> None:
        """A release brings a migration: its SQL, its line in the journal, its column in the schema."""
        journal = self._journal()
        newest = journal["entries"][-1]
        entry = {**newest, "idx": newest["idx"] + 1, "when": newest["when"] + 3_600_000, "tag": new.tag}
        journal["entries"].append(entry)
        self._sql(new.tag).write_text(new.sql)
        self._journal_file.write_text(json.dumps(journal, indent=2) + "\n")
        schema = self.folder / "schema.ts"
        schema.write_text(schema.read_text().replace(new.after, new.after + new.column, 1))

    @property
    def _journal_file(self) -> Path:
        return self.folder / "drizzle" / "meta" / "_journal.json"

    def _journal(self) -> dict[str, Any]:
        journal: dict[str, Any] = json.loads(self._journal_file.read_text())
        return journal

    def _sql(self, tag: str) -> Path:
        return self.folder / "drizzle" / f"{tag}.sql"


def schema() -> str:
    """The SQL that makes an empty database one in which every migration of the project is applied."""
    known = Project().migrations()
    statements = [statement.rstrip(";") for migration in known for statement in migration.statements]
    rows = ", ".join(f"('{migration.hash}', {migration.made_at})" for migration in known)
    drizzle = [
        "CREATE SCHEMA drizzle",
        "CREATE TABLE drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint)",
        f"INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES {rows}",
    ]
    return ";\n".join([*statements, *drizzle]) + ";\n"
