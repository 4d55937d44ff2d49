"""Which migrations a project holds, which of their statements take something away, and which commands decide by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from actions.aws.secret_value import UnknownForm, dsn_of
from actions.db.migrations import BREAK, Migration, UnknownProject, decides_itself, fingerprint, project, what_is_missing
from rehearsal.migrations.project import FILES, HARMLESS, TRUNCATING, Project

DSN = "postgresql://app:s%3Acret@old.example:5432/shielda"


def migration(sql: str) -> Migration:
    return Migration(tag="0001", sql=sql, made_at=1)


def test_the_projects_migrations_come_in_the_order_in_which_they_run() -> None:
    assert [one.tag for one in project(str(FILES))] == [one.tag for one in Project().migrations()]


def test_what_a_release_brings_changes_the_fingerprint(tmp_path: Path) -> None:
    mine = Project(tmp_path / "app")
    mine.renew()
    before = fingerprint(project(str(mine.folder)))
    mine.release(HARMLESS)
    found = project(str(mine.folder))
    assert (found[-1].tag, found[-1].takes_away) == (HARMLESS.tag, [])
    assert fingerprint(found) != before


def test_statements_that_take_something_away_are_found_in_a_release(tmp_path: Path) -> None:
    mine = Project(tmp_path / "app")
    mine.renew()
    mine.release(TRUNCATING)
    assert project(str(mine.folder))[-1].takes_away == ['TRUNCATE TABLE "organizations" CASCADE;']


def program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_what_a_machine_lacks_for_migrations_is_said_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder, command = tmp_path / "app", "npx drizzle-kit migrate"
    (gone,) = what_is_missing(str(folder), command)
    assert gone.startswith(f"The folder {folder} of [migrations] dir isn't there.")
    folder.mkdir()
    unread, npx, node, kit = what_is_missing(str(folder), command)
    assert unread.startswith(f"The migrations in {folder} can't be read: FileNotFoundError")
    assert npx == "npx isn't on this machine, so `npx drizzle-kit migrate` can't run. Install Node.js."
    assert node.startswith("node isn't on this machine")
    assert kit.endswith("so npx would fetch it from the internet. Run `npm ci` there.")
    Project(folder).renew()
    for name in ("bin/npx", "bin/node", "app/node_modules/.bin/drizzle-kit"):
        program(tmp_path / name)
    assert what_is_missing(str(folder), command) == []
    assert what_is_missing(str(folder), "./migrate.sh now")[0].startswith("./migrate.sh isn't on this machine")
    program(folder / "migrate.sh")
    assert what_is_missing(str(folder), "./migrate.sh now") == []


@pytest.mark.parametrize(
    ("sql", "takes_away"),
    [
        ("truncate\n orders", True),
        ("ALTER TABLE a DROP COLUMN b", True),
        ("delete  from a", True),
        ("-- drop nothing\nALTER TABLE a ADD b text", False),
        ("/* truncate\nlater */ SELECT 1", False),
        ("CREATE INDEX dropped_at_idx ON a (dropped_at)", False),
        (f"SELECT 1;{BREAK}\nDROP TABLE a", True),
    ],
)
def test_only_what_runs_counts_as_taking_away(sql: str, takes_away: bool) -> None:
    assert bool(migration(sql).takes_away) is takes_away


@pytest.mark.parametrize(
    ("command", "decides"),
    [
        ("npx drizzle-kit migrate", False),
        ("npx drizzle-kit push", True),
        ("npx drizzle-kit push:pg --verbose", True),
        ("npm run migrate -- --force", True),
        ("npm run pushover", False),
    ],
)
def test_push_and_force_decide_by_themselves(command: str, decides: bool) -> None:
    assert decides_itself(command) is decides


@pytest.mark.parametrize("journal", [None, "", "{}", '{"entries": [{"tag": "0001"}]}', '{"entries": [{"tag": "no", "when": 1}]}'])
def test_a_folder_that_is_no_project_says_so(tmp_path: Path, journal: str | None) -> None:
    if journal is not None:
        (tmp_path / "drizzle" / "meta").mkdir(parents=True)
        (tmp_path / "drizzle" / "meta" / "_journal.json").write_text(journal)
    with pytest.raises(UnknownProject, match="can't be read"):
        project(str(tmp_path))


@pytest.mark.parametrize(
    "secret",
    [
        DSN,
        f'{{"url": "{DSN}"}}',
        '{"username": "app", "password": "s:cret", "host": "old.example", "port": 5432, "dbname": "shielda"}',
    ],
)
def test_a_secret_gives_the_dsn_that_a_migration_needs(secret: str) -> None:
    assert dsn_of(secret) == DSN


@pytest.mark.parametrize("secret", ['{"host": "old.example"}', "nothing", "{}"])
def test_a_secret_without_one_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(UnknownForm) as error:
        dsn_of(secret)
    assert "example" not in str(error.value)
