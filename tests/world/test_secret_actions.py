"""A secret is pointed to another database: a new version, the stage moved by compare-and-swap, and its value seen by nobody."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actions.aws.secrets import MoveStage, PutVersion, leads_to, versions_of
from actions.values import Result
from rehearsal.aws.secretsmanager import Version
from tests.world.action_examples import move_stage, put_version
from tests.world.fast_aws import DATABASE_SECRET, DSN, Rig, fast_aws

WEST = "us-west-2"
PASSWORD = "not-a-secret"


@pytest.fixture(scope="module")
async def shared(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "secrets.sqlite", tasks=False) as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    await shared.ready()
    return shared


def changes(rig: Rig) -> list[str]:
    return [call["operation"] for call in rig.rehearsal.journal.calls(changing=True, source="bot")]


def somebody_else_puts(rig: Rig, text: str = DSN) -> str:
    """Another person's new version, which is current at once."""
    version = Version(id=str(uuid.uuid4()), text=text, created_at=datetime.now(UTC))
    rig.secret.versions[version.id] = version
    rig.secret.move("AWSCURRENT", version)
    return version.id


# --- a new version ----------------------------------------------------------------------------------------------


async def test_a_new_version_has_another_address_and_is_not_current(rig: Rig) -> None:
    action, before = await put_version(rig), rig.current
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.DONE
    assert f"Version {action.version} leads to 127.0.0.1:6432 and differs from {before} in nothing else." in outcome.says
    assert rig.secret.versions[action.version].text == DSN.replace("5432", "6432")
    assert rig.current == before


async def test_the_value_of_a_secret_is_nowhere_but_in_the_request(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.INFO)  # botocore's own debug log has all bodies; the bot never turns it on
    action = await put_version(rig)
    facts, _ = await rig.runner.observe(action)
    receipt = await action.apply(rig.world, facts)
    outcome = await action.verify(rig.world, facts, receipt)
    assert rig.secret.versions[action.version].text.count(PASSWORD) == 1
    seen = [action.command(), repr(action), repr(action.call), action.arguments, facts, receipt, outcome, caplog.text]
    assert PASSWORD not in json.dumps([str(one) for one in seen])
    assert "<the value of version" in action.command()
    assert "with host and port of shielda-prod-restored>" in action.command()


async def test_a_json_secret_keeps_all_but_its_address(rig: Rig) -> None:
    held = {"username": "shielda", "password": PASSWORD, "host": "127.0.0.1", "port": 5432, "url": DSN, "engine": "postgres"}
    version = somebody_else_puts(rig, json.dumps(held))
    action = replace(await put_version(rig), current=version)
    assert (await rig.carry_out(action)).result is Result.DONE
    assert json.loads(rig.secret.versions[action.version].text) == {**held, "port": 6432, "url": DSN.replace("5432", "6432")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a password", "neither a DSN"),
        ('{"user": "x"}', "leads to 0 addresses"),
        ("postgresql://u:p@a:1,b:2/d", "one host is expected"),
        ("postgresql://u:p@a:1/d?host=b", "among the parameters"),
    ],
)
async def test_a_secret_of_an_unknown_form_is_not_touched(rig: Rig, text: str, says: str) -> None:
    action = replace(await put_version(rig), current=somebody_else_puts(rig, text))
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.FAILED
    assert says in outcome.says
    assert text not in outcome.says
    assert changes(rig) == []


async def test_no_version_is_written_if_another_became_current(rig: Rig) -> None:
    action, before = await put_version(rig), rig.current
    other = somebody_else_puts(rig)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.FAILED
    assert f"AWSCURRENT of {DATABASE_SECRET} is on {other}, and this plan saw it on {before}. Plan again." in outcome.says
    assert changes(rig) == []


async def test_no_version_is_written_for_a_database_without_an_address(rig: Rig) -> None:
    action = await put_version(rig)
    rig.rds.registry.instance(WEST, action.instance).publish("creating")
    assert "shielda-prod-restored is creating, so there is no address to write" in (await rig.carry_out(action)).says
    assert "nobody is missing" in (await rig.carry_out(replace(action, instance="nobody"))).says
    assert changes(rig) == []


async def test_the_same_version_again_is_already_done(rig: Rig) -> None:
    action = await put_version(rig)
    await rig.carry_out(action)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.ALREADY_DONE
    assert changes(rig) == ["PutSecretValue"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DSN, "leads to 127.0.0.1:5432, and shielda-prod-restored listens on 127.0.0.1:6432"),
        (DSN.replace("5432", "6432").replace("shielda:", "other:"), "in more than host and port"),
        ("nonsense", "neither a DSN"),
    ],
)
async def test_a_version_of_our_id_with_another_content_is_told(rig: Rig, text: str, says: str) -> None:
    action = replace(await put_version(rig), version=rig.add_version(text))
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.FAILED
    assert says in outcome.says
    assert PASSWORD not in outcome.says
    assert changes(rig) == []


# --- the stage --------------------------------------------------------------------------------------------------


async def test_the_stage_is_moved_and_the_undo_is_printed(rig: Rig) -> None:
    action, before = await move_stage(rig), rig.current
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.DONE
    assert rig.current == action.version
    undo = f"--move-to-version-id {before} --remove-from-version-id {action.version} --region {WEST}"
    assert outcome.says.endswith(undo)
    assert (await rig.carry_out(action.undo)).result is Result.DONE
    assert rig.current == before


async def test_a_stage_that_somebody_else_moved_is_left_where_it_is(rig: Rig) -> None:
    action, before = await move_stage(rig), rig.current
    other = somebody_else_puts(rig)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.FAILED
    assert f"is on {other}, and this plan saw it on {before}. Plan again. Nothing was done." in outcome.says
    assert rig.current == other
    assert changes(rig) == []


async def test_a_move_between_look_and_send_is_refused_by_aws(rig: Rig) -> None:
    action = await move_stage(rig)
    facts, _ = await rig.runner.observe(action)
    other = somebody_else_puts(rig)
    applied = await rig.runner._send(action, facts)
    assert applied.outcome
    assert applied.outcome.result is Result.FAILED
    assert "Secrets Manager refused UpdateSecretVersionStage: InvalidParameterException" in applied.outcome.says
    assert "Nothing changed" in applied.outcome.says
    assert rig.current == other


async def test_a_lost_answer_and_another_s_move_leave_it_to_a_person(rig: Rig) -> None:
    action = await move_stage(rig)
    facts, _ = await rig.runner.observe(action)
    somebody_else_puts(rig)
    rig.rehearsal.faults.put("drop", operation="UpdateSecretVersionStage")
    applied = await rig.runner._send(action, facts)
    assert applied.outcome
    assert applied.outcome.result is Result.UNKNOWN
    assert "somebody else moved it" in applied.outcome.says


async def test_a_stage_that_is_there_already_is_not_moved(rig: Rig) -> None:
    action = await move_stage(rig)
    await rig.carry_out(action)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.ALREADY_DONE
    assert changes(rig) == ["UpdateSecretVersionStage"]


async def test_a_version_that_does_not_exist_does_not_become_current(rig: Rig) -> None:
    action = replace(await move_stage(rig), version=str(uuid.uuid4()))
    outcome = await rig.carry_out(action)
    assert f"has no version {action.version}" in outcome.says
    assert changes(rig) == []


# --- reading ----------------------------------------------------------------------------------------------------


async def test_a_plan_learns_where_the_secret_leads_and_not_what_it_is(rig: Rig) -> None:
    leads = await leads_to(rig.world, DATABASE_SECRET, WEST)
    assert (leads.version, leads.host, leads.port) == (rig.current, "127.0.0.1", 5432)
    assert PASSWORD not in repr(leads)


async def test_versions_without_a_stage_are_listed_too(rig: Rig) -> None:
    old = rig.add_version()
    assert await versions_of(rig.world, DATABASE_SECRET, WEST) == {rig.current: ("AWSCURRENT",), old: ()}


async def test_the_whole_way_there_and_back(rig: Rig) -> None:
    put = await put_version(rig)
    move = MoveStage(secret_id=put.secret_id, region=WEST, version=put.version, current=put.current)
    assert isinstance(put, PutVersion)
    for action in (put, move):
        assert (await rig.carry_out(action)).result is Result.DONE
    assert (await leads_to(rig.world, DATABASE_SECRET, WEST)).port == 6432
    await rig.carry_out(move.undo)
    assert (await leads_to(rig.world, DATABASE_SECRET, WEST)).port == 5432
