"""The negative control on a real restored copy: each kind of damage is found by its own check, and nothing sound is rejected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from actions.db import negative_control
from actions.db.damages import KINDS, SOUND, Damage, chosen
from actions.db.evidence import HoldsEnough
from actions.db.integrity import integrity
from actions.db.negative_control import SCRATCH, DamageIsFound, PlantDamage
from actions.errors import Uncertain
from actions.site import DatabaseRef
from actions.values import Facts, Finding, Level, Outcome, Result, Verdict
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import AMCHECK, superuser
from tests.world.rds_account import WEST
from tests.world.restored_copies import Copies, restored_copies

TAG = "dr-verify=shielda-verify-1"
TAGS = [{"Key": "dr-verify", "Value": "shielda-verify-1"}]
PROD = DatabaseRef(name="primary", instance="shielda-prod", region=WEST, dsn_env="DR_TEST_COPY")


@pytest.fixture(scope="module")
async def copies(servers: ServerPair) -> AsyncIterator[Copies]:
    async with restored_copies(servers) as copies:
        yield copies


@pytest.fixture(scope="module")
async def temporary(copies: Copies) -> DatabaseRef:
    """A temporary instance that a verification made."""
    made = await copies.restore("shielda-verify-1", Tags=TAGS)
    await copies.account.recovered(await copies.account.described(made.instance))
    return made


@pytest.fixture
async def copy(copies: Copies, temporary: DatabaseRef) -> DatabaseRef:
    """The same without anything planted."""
    await copies.run(temporary, f"DROP DATABASE IF EXISTS {SCRATCH} WITH (FORCE)")
    return temporary


def seed_of(damage: Damage) -> str:
    """A seed that stands for this kind."""
    return next(seed for seed in map(str, range(1000)) if chosen(seed, amcheck=True) is damage)


def plant(copy: DatabaseRef, damage: Damage = KINDS[0]) -> PlantDamage:
    return PlantDamage(database=copy, seed=seed_of(damage), tag=TAG)


async def carried_out(copies: Copies, step: PlantDamage) -> Facts:
    facts = await step.observe(copies.world)
    assert getattr(step.precheck(facts), "level", "ok") == "ok", step.precheck(facts)
    return await step.apply(copies.world, facts)


@pytest.mark.parametrize("damage", KINDS, ids=[one.name for one in KINDS])
async def test_each_kind_of_damage_is_rejected_by_its_own_check(copies: Copies, copy: DatabaseRef, damage: Damage) -> None:
    step = plant(copy, damage)
    assert await carried_out(copies, step) == {"planted": damage.name}
    assert (await step.verify(copies.world, {}, {})).result is Result.DONE
    outcome = await DamageIsFound(database=copy, seed=step.seed).look(copies.world)
    assert outcome.result is Result.DONE, outcome.says
    assert f"found {damage.name}. {damage.check} {damage.object}: " in outcome.says


async def test_the_same_copy_without_damage_is_accepted_and_the_control_fails(copies: Copies, copy: DatabaseRef) -> None:
    sound = replace(KINDS[0], sql="SELECT 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negative_control, "chosen", lambda seed, amcheck: sound)
        await carried_out(copies, plant(copy))
        results = await integrity(copies.world, copy, name=SCRATCH)
        outcome = await DamageIsFound(database=copy, seed="any").look(copies.world)
    assert [one for one in results if one.verdict != "ok"] == []
    assert outcome.result is Result.FAILED
    assert outcome.says.startswith(
        f"The integrity suite was to find {sound.name} (foreign key control.orders (of_a_customer)), and"
    )
    assert "what it calls whole may be damaged." in outcome.says


async def test_without_amcheck_a_kind_is_taken_that_is_found_without_it(copies: Copies, copy: DatabaseRef) -> None:
    step = plant(copy, next(one for one in KINDS if one.by_amcheck))
    other = chosen(step.seed, amcheck=False)
    assert f"(without amcheck: {other.name})" in step.title
    await in_template(copies, copy, "DROP EXTENSION amcheck")
    try:
        assert await carried_out(copies, step) == {"planted": other.name}
        outcome = await DamageIsFound(database=copy, seed=step.seed).look(copies.world)
        assert outcome.result is Result.DONE, outcome.says
    finally:
        await in_template(copies, copy, AMCHECK)


async def in_template(copies: Copies, copy: DatabaseRef, statement: str) -> None:
    async with superuser(copies.behind(copy).server.port, copies.behind(copy).password, "template1") as connection:
        await connection.execute(statement.encode())


# --- where damage is planted ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["dr-verify=another", "dr-run=shielda-verify-1"])
async def test_an_instance_without_the_run_s_tag_is_refused(copies: Copies, copy: DatabaseRef, tag: str) -> None:
    refused = [replace(plant(copy), tag=tag), replace(plant(copy), database=PROD)]
    for step in refused:
        finding = step.precheck(await step.observe(copies.world))
        assert isinstance(finding, Finding)
        assert finding.level is Level.STOP
        assert "so this run did not make it. It is left alone" in finding.says


async def test_a_role_that_may_not_create_databases_is_told_so(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(copy, "ALTER ROLE dr_bot NOCREATEDB")
    step = plant(copy)
    finding = step.precheck(await step.observe(copies.world))
    await copies.run(copy, "ALTER ROLE dr_bot CREATEDB")
    assert isinstance(finding, Finding)
    assert "Run ALTER ROLE dr_bot CREATEDB in the database that it is a copy of" in finding.says


# --- killed, and answers lost -----------------------------------------------------------------------------------


async def test_nothing_sent_is_read_back_as_nothing_planted(copies: Copies, copy: DatabaseRef) -> None:
    step = plant(copy)
    facts = await step.observe(copies.world)
    assert (await step.applied(copies.world, facts)).verdict is Verdict.NOT_DONE
    assert (await DamageIsFound(database=copy, seed=step.seed).look(copies.world)).result is Result.FAILED


async def test_a_control_killed_between_its_two_statements_is_finished_later(copies: Copies, copy: DatabaseRef) -> None:
    step = plant(copy)
    facts = await step.observe(copies.world)
    await copies.run(copy, f"CREATE DATABASE {SCRATCH} OWNER dr_bot")
    assert (await step.applied(copies.world, facts)).verdict is Verdict.NOT_DONE
    assert await carried_out(copies, step) == {"planted": KINDS[0].name}
    assert (await DamageIsFound(database=copy, seed=step.seed).look(copies.world)).result is Result.DONE


async def test_a_control_whose_answer_was_lost_is_done_and_not_repeated(copies: Copies, copy: DatabaseRef) -> None:
    step = plant(copy)
    facts = await step.observe(copies.world)
    await step.apply(copies.world, facts)
    proof = await step.applied(copies.world, facts)
    assert (proof.verdict, proof.receipt) == (Verdict.DONE, {"planted": KINDS[0].name})
    again = step.precheck(await step.observe(copies.world))
    assert isinstance(again, Outcome)
    assert again.result is Result.ALREADY_DONE
    with pytest.raises(Uncertain):  # two at once: the second finds the name taken, and is read back
        await step.apply(copies.world, facts)


async def test_a_filling_that_breaks_leaves_nothing_half_planted(copies: Copies, copy: DatabaseRef) -> None:
    step = plant(copy)
    facts = await step.observe(copies.world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negative_control, "SOUND", f"{SOUND} SELECT 1 / 0;")
        with pytest.raises(Uncertain):
            await step.apply(copies.world, facts)
    assert (await step.applied(copies.world, facts)).verdict is Verdict.NOT_DONE
    assert await carried_out(copies, step) == {"planted": KINDS[0].name}


async def test_a_server_that_is_away_leaves_it_unknown(copies: Copies, copy: DatabaseRef) -> None:
    step, gone = plant(copy), replace(copy, instance="shielda-nobody")
    assert (await replace(step, database=gone).applied(copies.world, {})).verdict is Verdict.UNKNOWN
    outcome = await DamageIsFound(database=gone, seed=step.seed).look(copies.world)
    assert outcome.result is Result.FAILED
    assert outcome.says.startswith("The negative control could not be made: RDS in us-west-2 gives no address")


# --- what the copy holds beside production ----------------------------------------------------------------------


def compare(copy: DatabaseRef, **other: object) -> HoldsEnough:
    facts: dict[str, object] = {"original": PROD, "at": "2099-01-01T00:00:00Z", "percent": 20, "rpo_minutes": 5}
    return HoldsEnough(database=copy, **(facts | other))  # type: ignore[arg-type]


async def test_a_copy_within_bounds_is_told_with_its_rows_and_newest_commit(copies: Copies, copy: DatabaseRef) -> None:
    outcome = await compare(copy).look(copies.world)
    assert outcome.result is Result.DONE, outcome.says
    assert "public.records 4000 (now 4" in outcome.says
    assert "Its newest commit is from 20" in outcome.says


async def test_a_table_that_cannot_be_counted_is_compared_by_its_estimate(
    copies: Copies, copy: DatabaseRef, servers: ServerPair
) -> None:
    async with await psycopg.AsyncConnection.connect(servers.dsn("postgres")) as other:
        await other.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
        outcome = await compare(copy).look(copies.world)
    assert outcome.result is Result.DONE, outcome.says
    assert "public.agents 80 (now about 80)" in outcome.says


async def test_a_table_that_was_emptied_in_the_copy_is_beyond_the_bounds(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(copy, "CREATE TABLE kept AS SELECT * FROM agents; TRUNCATE agents")
    outcome = await compare(copy).look(copies.world)
    await copies.run(copy, "INSERT INTO agents SELECT * FROM kept; DROP TABLE kept")
    assert outcome.result is Result.FAILED
    assert "differ too much (bound: 20 % or 20 rows): " in outcome.says
    assert "public.agents 0 (now 80)" in outcome.says
    assert "public.kept 80 (now gone)" in outcome.says


async def test_heartbeats_older_than_promised_fail_the_comparison(copies: Copies, copy: DatabaseRef) -> None:
    beat = (
        "CREATE TABLE beats (writer text, at timestamptz); GRANT SELECT ON beats TO dr_bot; INSERT INTO beats VALUES ('b', '{}')"
    )
    for at, good in (("2026-01-15T10:26:00Z", True), ("2026-01-15T10:24:00Z", False)):
        await copies.run(copy, beat.format(at))
        outcome = await compare(copy, at="2026-01-15T10:30:00Z", heartbeat_table="beats").look(copies.world)
        await copies.run(copy, "DROP TABLE beats")
        assert (outcome.result is Result.DONE) == good, outcome.says
        assert f"(heartbeat rows in beats), {4 if good else 6} min before the moment that it stands for" in outcome.says


async def test_a_copy_that_gives_no_connection_for_a_moment_is_asked_again(copies: Copies, copy: DatabaseRef) -> None:
    await copies.behind(copy).server.hang()
    comparing = asyncio.create_task(compare(copy).look(copies.world))
    await asyncio.sleep(7)  # longer than a connection is waited for
    await copies.behind(copy).server.resume()
    outcome = await comparing
    assert outcome.result is Result.DONE, outcome.says


async def test_a_production_that_cannot_be_read_is_not_compared(copies: Copies, copy: DatabaseRef) -> None:
    outcome = await compare(copy, original=replace(PROD, instance="shielda-nobody")).look(copies.world)
    assert outcome.result is Result.FAILED
    assert outcome.says.startswith("The copy could not be compared with shielda-nobody.")
