"""`python -m rehearsal.migrations.stand_in` in a project's folder: what `drizzle-kit migrate` does, without npm.

It runs what is later than the newest migration of the database that `DATABASE_URL` names, in one transaction, and notes it there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg

from rehearsal.migrations.project import Project

NEWEST = "SELECT coalesce(max(created_at), 0)::int8 FROM drizzle.__drizzle_migrations"
NOTE = "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES (%s, %s)"


def main() -> None:
    """Run the pending migrations. psycopg's error and exit code 1 if one fails; then none is applied."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute(NEWEST).fetchone()
        assert row is not None
        for migration in Project(Path.cwd()).migrations():
            if migration.made_at > row[0]:
                for statement in migration.statements:
                    connection.execute(statement.encode())
                connection.execute(NOTE, [migration.hash, migration.made_at])
    sys.stdout.write("migrations applied successfully!\n")


if __name__ == "__main__":
    main()
