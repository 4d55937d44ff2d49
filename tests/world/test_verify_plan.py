"""What a plan to verify a backup reads of AWS: which snapshot, which name, and what earlier verifications have left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.aws import backups
from actions.site import DatabaseSection
from actions.values import Level
from commands.plan import Plan
from commands.scenario import SCENARIOS
from rehearsal.aws.rds.registry import Snapshot
from tests.world.action_examples import create_snapshot
from tests.world.aws_world import WEST
from tests.world.fast_aws import PROD, Rig, fast_aws


@pytest.fixture(scope="module")
async def shared(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "verify.sqlite", tasks=False) as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    await shared.ready()
    return shared


async def plan(rig: Rig, **arguments: str) -> Plan:
    return await SCENARIOS["backup verify"].make(rig.world, arguments)


def automated(rig: Rig) -> Snapshot:
    (found,) = [one for one in rig.rds.registry.snapshots.values() if one.kind == "automated"]
    return found


def name_of(made: Plan) -> str:
    return str(made.actions()[0].arguments["instance"])


async def test_the_newest_automated_snapshot_is_taken_and_no_manual_one(rig: Rig) -> None:
    await rig.carry_out(await create_snapshot(rig))
    made, oldest = await plan(rig), automated(rig)
    assert made.arguments == {"snapshot": oldest.name, "point": made.arguments["point"]}
    assert name_of(made) == f"{PROD}-verify-{oldest.created_at:%Y%m%d}-1"
    assert made.digest == (await plan(rig, **made.arguments)).digest, "it names the snapshot that it found"


async def test_a_snapshot_that_is_named_is_taken_even_if_people_made_it(rig: Rig) -> None:
    await rig.carry_out(await create_snapshot(rig))
    made = await plan(rig, snapshot="shielda-prod-before-restore")
    assert made.stages[0][0].arguments["snapshot"] == "shielda-prod-before-restore"
    missing = await plan(rig, snapshot="nothing")
    assert [finding.says for finding in missing.forbidden] == [
        "shielda-prod has no snapshot nothing. `/dr backup status` shows what there is."
    ]


async def test_the_name_is_numbered_past_what_is_there_and_that_is_told(rig: Rig) -> None:
    day = f"{automated(rig).created_at:%Y%m%d}"
    rig.add_instance(f"{PROD}-verify-{day}-1", tag=f"dr-verify={PROD}-verify-{day}-1")
    rig.add_instance(f"{PROD}-verify-{day}-2", tag="owner=ann")
    rig.add_instance("shielda-prod-restored", tag="dr-run=shielda-prod-restored")
    made = await plan(rig)
    assert name_of(made) == f"{PROD}-verify-{day}-3"
    left = [finding.evidence for finding in made.findings if "from another verification" in finding.says]
    assert left == [
        f"aws rds delete-db-instance --db-instance-identifier {PROD}-verify-{day}-1 --skip-final-snapshot --region {WEST}"
    ]
    rig.add_instance(f"{PROD}-verify-{day}-3-point", tag="owner=ann")
    assert name_of(await plan(rig)) == f"{PROD}-verify-{day}-4", "neither of its instances may be there"
    found = await backups.left_over(rig.world, WEST, "dr-verify")
    assert [(one.name, one.status) for one in found] == [(f"{PROD}-verify-{day}-1", "available")]


async def test_the_prefix_comes_from_the_settings_and_a_long_one_is_cut(rig: Rig) -> None:
    site = rig.world.site
    long = DatabaseSection(instance=PROD, verify_prefix="shielda-check-" + "x" * 60)
    rig.world.site = site.model_copy(update={"databases": {"primary": long}})
    made = await plan(rig)
    rig.world.site = site
    assert name_of(made).startswith("shielda-check-x")
    assert len(name_of(made)) <= 63


async def test_a_database_that_does_not_answer_is_said_and_stops_nothing(rig: Rig) -> None:
    made = await plan(rig)
    assert not made.forbidden
    (warning,) = [finding for finding in made.findings if finding.level is Level.WARN]
    assert "shielda-prod can't be read, so its rows can't be compared unless it answers by then." in warning.says


async def test_a_region_that_is_down_makes_a_plan_without_steps(rig: Rig) -> None:
    rig.rehearsal.faults.put("region_down", region=WEST)
    made = await plan(rig)
    assert len(made.forbidden) == 2
    assert not made.stages


async def test_the_drop_refuses_an_instance_of_the_name_that_is_not_ours(rig: Rig) -> None:
    made = await plan(rig)
    ((drop, _),) = made.cleanup
    for tag in ("dr-run=test", f"dr-run={name_of(made)}", "dr-verify=another"):
        rig.add_instance(name_of(made), tag=tag)
        outcome = await rig.carry_out(replace(drop))  # type: ignore[type-var]
        assert f"does not carry the tag dr-verify={name_of(made)}" in outcome.says
    assert rig.effects("DeleteDBInstance") == 0
