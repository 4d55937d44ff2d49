"""The `dr` program beside a bot that serves: it plans without touching anything, lists, shows and checks."""

from __future__ import annotations

import json

import pytest

from rehearsal.people import told
from tests.story.conftest import RESTART, Incident

PLAN_KEYS = {"scenario", "arguments", "why", "digest", "expires", "basis", "findings", "stages", "fallback"}
STEP_KEYS = {"step", "title", "command", "arguments", "permissions", "region", "plane"}


@pytest.mark.parametrize("words", [RESTART, "control-plane rollback", "database failover"])
async def test_plan_prints_everything_that_others_rely_on_and_touches_nothing(incident: Incident, words: str) -> None:
    before = incident.ids()
    code, out, err = await incident.dr("plan", words, "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert plan.keys() >= PLAN_KEYS
    assert plan["scenario"] == words
    assert all(finding.keys() == {"level", "says", "evidence"} for finding in plan["findings"])
    steps = [step for stage in plan["stages"] for step in stage]
    assert steps
    assert all(step.keys() >= STEP_KEYS for step in steps)
    assert incident.world.journal.calls(changing=True) == []
    assert incident.ids() == before


async def test_the_same_world_gives_the_same_digest_in_the_program_and_in_slack(incident: Incident) -> None:
    run = await incident.plan("alice")
    _, out, _ = await incident.dr("plan", RESTART, "--json")
    assert json.loads(out)["digest"] == (await incident.story(run))["digest"]


async def test_plan_takes_arguments_and_prints_text(incident: Incident) -> None:
    code, out, _ = await incident.dr("plan", RESTART, "anyway=yes")
    assert code == 0
    assert "aws ecs update-service --cluster shielda --service control-plane --force-new-deployment" in out
    _, out, _ = await incident.dr("plan", RESTART, "anyway=yes", "--json")
    assert json.loads(out)["arguments"] == {"anyway": "yes"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "control-plane restrat"], "restart, rollback"),
        (["plan", "databse failover"], "Did you mean `database failover`?"),
        (["plan", "runs"], "takes a scenario"),
        (["plan", RESTART, "anyway=perhaps"], "yes or no is expected"),
        (["plan", RESTART, "anyhow=yes"], "Did you mean `anyway`?"),
        (["show", "aaaaaaaa"], "There is no run 'aaaaaaaa'"),
        (["runs", "--config", "missing.toml"], "missing.toml: cannot be read"),
    ],
)
async def test_bad_words_are_one_line_and_exit_code_2(incident: Incident, words: list[str], said: str) -> None:
    code, out, err = await incident.dr(*words)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err


async def test_a_plan_that_cannot_be_approved_is_printed_with_exit_code_1(incident: Incident) -> None:
    incident.world.rds.single_az()
    code, out, _ = await incident.dr("plan", "database failover", "--json")
    assert code == 1
    assert "stop" in {finding["level"] for finding in json.loads(out)["findings"]}


async def test_runs_and_show_tell_the_same_story_as_slack(incident: Incident) -> None:
    run = await incident.approved("alice", "bob")
    assert await incident.ended(run) == "Done", incident.thread(run)
    code, out, _ = await incident.dr("runs", "--json")
    assert code == 0
    assert {"run": run, "state": "done", "requested_by": "U0ALICE", "approved_by": ["U0BOB"]}.items() <= _of(out, run).items()
    _, text, _ = await incident.dr("runs")
    assert f"{run}  " in text
    story = await incident.story(run)
    assert told(story["timeline"]) == incident.thread(run)
    assert [step["outcome"] for step in story["steps"]] == ["done"] * len(story["steps"])
    _, text, _ = await incident.dr("show", run)
    assert incident.thread(run)[-1] in text


async def test_check_finds_nothing_wrong_with_a_healthy_rehearsal(incident: Incident) -> None:
    code, out, err = await incident.dr("check", "--json")
    findings = json.loads(out)
    assert [f for f in findings if f["level"] == "stop"] == [], err
    assert code == 0
    assert incident.world.journal.calls(changing=True) == []


async def test_check_names_a_permission_that_is_missing(incident: Incident) -> None:
    incident.world.aws_faults.put("access_denied", operation="UpdateService", times=None)
    code, out, _ = await incident.dr("check")
    assert code == 1
    assert "AWS would refuse ecs:UpdateService" in out


async def test_check_goes_on_if_a_part_cannot_be_checked_at_all(incident: Incident) -> None:
    code, out, err = await incident.dr("check", "--json", without=("DATABASE_URL", "SLACK_BOT_TOKEN"))
    assert (code, err) == (1, "")
    wrong = [finding["says"] for finding in json.loads(out) if finding["level"] == "stop"]
    assert any("Database primary could not be checked: Environment variable DATABASE_URL is not set" in says for says in wrong)
    assert any("SLACK_BOT_TOKEN is not set" in says for says in wrong)
    assert any("knows this bot as" in finding["says"] for finding in json.loads(out) if finding["level"] == "ok")


def _of(out: str, run: str) -> dict[str, object]:
    return next(dict(row) for row in json.loads(out) if row["run"] == run)
