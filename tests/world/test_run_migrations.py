"""Migrations of a restored copy: listed, run by the command, and believed only if none is pending and no table was emptied."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from actions.aws.instances import find_instance
from actions.aws.restores import RestoreToTime
from actions.aws.secrets import PutVersion
from actions.aws.settings import copied, restorable
from actions.db.migrations import about_migrations, fingerprint, project
from actions.db.reach import reach
from actions.db.restored import Recovered
from actions.db.run_migrations import RunMigrations
from actions.site import DatabaseRef
from actions.values import Level, Result
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.state.database import open_engine
from bot.state.store import Store
from rehearsal.aws.cloud import DATABASE_SECRET
from rehearsal.aws.secretsmanager import Secret
from rehearsal.migrations.project import HARMLESS, TRUNCATING, Project
from rehearsal.postgres.pair import ServerPair
from tests.world.aws_world import WEST, LocalAws
from tests.world.drizzle import drizzle_modules
from tests.world.fast_aws import PROD, TAG, Rig, site_of
from tests.world.sql import query

NAME = "shielda-prod-restored"
COPY = DatabaseRef(name="primary", instance=NAME, region=WEST, dsn_env="DATABASE_URL")
SQL = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute({statement!r})
print("Changes applied")
"""


class Migrating:
    """A restored copy of the session's database servers, a drizzle project, and the secret's version that leads to the copy."""

    def __init__(self, rig: Rig, folder: Path, secret: Secret, version: str) -> None:
        self.rig, self.project, self.secret, self.version = rig, Project(folder), secret, version

    def step(self, run: str = "npx drizzle-kit migrate") -> RunMigrations:
        folder = str(self.project.folder)
        known = fingerprint(project(folder))
        return RunMigrations(database=COPY, folder=folder, run=run, known=known, secret_id=DATABASE_SECRET, version=self.version)

    def script(self, statement: str) -> str:
        """A command that carries out a statement, and says as `push` does that it changed something."""
        (self.project.folder / "apply.py").write_text(SQL.format(statement=statement))
        return f"{sys.executable} apply.py"

    def releasing(self, tag: str, statement: str) -> str:
        """A command that carries out a pending migration and records it, as `migrate` does: in one transaction."""
        self.project.release(replace(HARMLESS, tag=tag, sql=statement))
        newest = project(str(self.project.folder))[-1].made_at
        return self.script(f"{statement}; INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('h', {newest})")

    async def forget(self, table: str) -> None:
        """The copy is as it was restored."""
        await query(self.dsn, f"DROP TABLE {table}")
        await query(self.dsn, "DELETE FROM drizzle.__drizzle_migrations WHERE hash = 'h'")

    @property
    def dsn(self) -> str:
        return self.secret.versions[self.version].text

    async def told(self, run: str = "npx drizzle-kit migrate") -> list[tuple[Level, str, str]]:
        copy = await reach(self.rig.world, COPY)
        return [(one.level, one.says, one.evidence) for one in await about_migrations(copy, str(self.project.folder), run)]


@pytest.fixture(scope="module")
async def shared(work_dirs: Path, servers: ServerPair) -> AsyncIterator[Migrating]:
    rehearsal = LocalAws(2000)
    rds = rehearsal.add_database(servers)
    async with rehearsal:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DATABASE_URL", servers.url("dr_bot"))
            world = World(site_of(rehearsal, speed=2000))
            store = Store(open_engine(f"sqlite:///{work_dirs / 'migrated.sqlite'}"))
            rig = Rig(rehearsal, rds, StepRunner(store, world))
            secret = rehearsal.secrets.create(DATABASE_SECRET, servers.url("shielda"))
            await servers.ship()
            source = await find_instance(world, PROD, WEST)
            assert source
            assert source.restorable_to
            settings = {**restorable(source.settings), "DeletionProtection": False}
            at = source.restorable_to.astimezone(UTC).isoformat()
            restore = RestoreToTime(
                source=PROD, instance=NAME, region=WEST, at=at, settings=settings, tags=copied(source.tags), tag=TAG
            )
            version = str(uuid.uuid4())
            put = PutVersion(
                secret_id=DATABASE_SECRET, region=WEST, version=version, current=next(iter(secret.versions)), instance=NAME
            )
            for action in (restore, put):
                outcome = await rig.carry_out(action)
                assert outcome.result is Result.DONE, outcome.says
            assert (await Recovered(database=COPY).look(world)).ok
            yield Migrating(rig, work_dirs / "app", secret, version)
            store.close()
            await world.close()
            for copy in list(servers.backups.copies):
                await servers.backups.drop(copy)


@pytest.fixture
async def copy(shared: Migrating) -> Migrating:
    shared.project.renew()
    return shared


async def test_without_a_pending_migration_no_command_is_started(copy: Migrating) -> None:
    outcome = await copy.rig.carry_out(copy.step("no-such-program"))
    assert (outcome.result, outcome.says) == (Result.ALREADY_DONE, f"No migration is pending on {NAME}."), outcome.says
    assert await copy.told() == [(Level.OK, "No migration is pending in the copy.", "")]


async def test_what_a_yes_runs_is_listed_with_what_takes_away_first(copy: Migrating) -> None:
    copy.project.release(TRUNCATING)
    (worst, *_), statements = await copy.told(), project(str(copy.project.folder))[-1].statements
    assert worst[:2] == (
        Level.WARN,
        f'Pending migration {TRUNCATING.tag} takes something away: TRUNCATE TABLE "organizations" CASCADE;',
    )
    assert worst[2] == "; ".join(statements)
    ((level, says, _),) = await copy.told("npx drizzle-kit push")
    assert (level, "decides by itself what to change" in says) == (Level.WARN, True)


async def test_a_project_that_changed_since_the_plan_is_not_run(copy: Migrating) -> None:
    step = copy.step()
    copy.project.release(HARMLESS)
    outcome = await copy.rig.carry_out(step)
    assert (outcome.result, "have changed since the plan was made" in outcome.says) == (Result.FAILED, True)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("no-such-program", "no-such-program could not be started in"),
        (f"{sys.executable} -c 'raise SystemExit(\"no luck\")'", "exited with 1: no luck I read it back. Still pending:"),
        (f"{sys.executable} -c pass", "exited with 0, but these are still pending: 0002_agent_channel"),
    ],
)
async def test_a_command_that_leaves_migrations_pending_is_not_believed(copy: Migrating, run: str, says: str) -> None:
    copy.project.release(HARMLESS)
    outcome = await copy.rig.carry_out(copy.step(run))
    assert (outcome.result, says in outcome.says) == (Result.FAILED, True), outcome.says


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_table_that_a_migration_empties_is_noticed_however_often(copy: Migrating, attempts: int) -> None:
    await query(copy.dsn, "CREATE TABLE planted AS SELECT 1 AS id")
    step = copy.step(copy.releasing(f"0002_empties_{attempts}", "TRUNCATE planted"))
    for attempt in range(1, attempts + 1):
        outcome = await copy.rig.carry_out(step, run=f"empties-{attempts}", attempt=attempt)
        assert outcome.result is Result.FAILED
        assert f"emptied or dropped public.planted on {NAME}. No service was led to it yet" in outcome.says
    await copy.forget("planted")


async def test_a_push_that_empties_a_table_is_noticed_and_never_repeated(copy: Migrating) -> None:
    await query(copy.dsn, "CREATE TABLE planted AS SELECT 1 AS id")
    step = copy.step(copy.script("TRUNCATE planted") + " push")
    first = await copy.rig.carry_out(step, run="push", attempt=1)
    second = await copy.rig.carry_out(step, run="push", attempt=2)
    assert (first.result, "emptied or dropped public.planted" in first.says) == (Result.FAILED, True)
    assert (second.result, "I won't repeat it on my own" in second.says) == (Result.UNKNOWN, True)
    await copy.forget("planted")


async def test_a_push_that_did_nothing_is_no_success(copy: Migrating) -> None:
    outcome = await copy.rig.carry_out(copy.step(f"{sys.executable} -c pass push"))
    assert (outcome.result, "did not say that it applied its changes" in outcome.says) == (Result.FAILED, True)


@pytest.mark.parametrize("sent", [False, True])
async def test_a_killed_bot_runs_the_migrations_exactly_once(copy: Migrating, sent: bool) -> None:
    tag = f"killed_{sent}".lower()
    step = copy.step(copy.releasing(tag, f"CREATE TABLE {tag} ()"))  # which works only once
    await copy.rig.die_after(step, sent=sent, run=tag)
    outcome = await copy.rig.carry_out(step, run=tag)
    assert outcome.ok, outcome.says
    assert ("An earlier try had worked" in outcome.says) is sent
    await copy.forget(tag)


async def test_the_real_drizzle_runs_what_is_pending_and_is_caught_truncating(copy: Migrating) -> None:
    modules = drizzle_modules()
    link = copy.project.folder / "node_modules"
    if not link.exists():
        link.symlink_to(modules)
    copy.project.release(HARMLESS)
    outcome = await copy.rig.carry_out(copy.step())
    assert (outcome.result, outcome.says) == (
        Result.DONE,
        f"Ran {HARMLESS.tag} on {NAME}. Nothing is pending, and no table was emptied.",
    )
    assert await query(copy.dsn, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'channel'") == [(1,)]
    copy.project.release(replace(TRUNCATING, tag="0003_organization_slugs"))
    outcome = await copy.rig.carry_out(copy.step())
    assert outcome.result is Result.FAILED
    assert "emptied or dropped public." in outcome.says
    assert "public.organizations" in outcome.says
