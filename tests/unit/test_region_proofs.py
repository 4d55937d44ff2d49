"""What reading back says about the effects of a region failover, and the sentences that people get, as pure functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actions.aws.promotion import PromoteReplica, judge_promotion
from actions.aws.route53 import UpsertRecord, judge_upsert
from actions.db.counts import judge_counts
from actions.db.fence import Fence, Unfence, judge_fence
from actions.dns.checks import behind, stale
from actions.dns.client import Reply
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.terraform.changes import Changes, changes_of
from actions.terraform.program import Ran, environment, meaning
from actions.terraform.steps import AgreeToPlan, ApplyPlan, findings, judge_apply
from actions.values import Finding, Level, Outcome, Result, Verdict
from bot.slack.attachments import MOST_REPLIES, snippets
from commands.plan import Plan

EAST = DatabaseRef(name="replica", instance="prod-east", region="us-east-1", dsn_env="DR_DATABASE_URL")
STACK = {"folder": "/srv/stack", "workspace": "dr", "region": "us-east-1"}
FOLDER = Path("/srv/stack")


@pytest.mark.parametrize(
    ("status", "source", "verdict"),
    [
        ("available", "", Verdict.DONE),
        ("modifying", "arn:prod", Verdict.DONE),
        ("rebooting", "arn:prod", Verdict.DONE),
        ("available", "arn:prod", Verdict.NOT_DONE),
        ("backing-up", "arn:prod", Verdict.NOT_DONE),
        ("failed", "arn:prod", Verdict.UNKNOWN),
    ],
)
def test_a_promotion_is_read_back(status: str, source: str, verdict: Verdict) -> None:
    assert judge_promotion("prod-east", status, source).verdict is verdict


@pytest.mark.parametrize(
    ("status", "source", "says"),
    [
        ("available", "arn:prod", "available and replicates arn:prod"),
        ("backing-up", "arn:prod", "RDS refuses a promotion meanwhile. Wait until it's available, then retry."),
        ("storage-full", "arn:prod", "only an available replica can be promoted"),
        ("creating", "", "there is nothing to promote"),
    ],
)
def test_only_an_available_replica_is_promoted(status: str, source: str, says: str) -> None:
    found = PromoteReplica(database=EAST, retention=35).precheck({"status": status, "source": source})
    assert isinstance(found, Finding)
    assert says in found.says
    assert (found.level is Level.OK) == (status == "available")


def test_a_promoted_replica_is_never_promoted_again() -> None:
    found = PromoteReplica(database=EAST, retention=35).precheck({"status": "available", "source": ""})
    assert isinstance(found, Outcome)
    assert found.result is Result.ALREADY_DONE


UPSERT = UpsertRecord(zone_id="Z1", name="app.example.dev", type="CNAME", value="east.example", was="west.example")


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(["east.example"], Verdict.DONE), (["west.example"], Verdict.NOT_DONE), (["elsewhere.example"], Verdict.UNKNOWN)],
)
def test_an_upsert_is_read_back(now: list[str], verdict: Verdict) -> None:
    assert judge_upsert("app.example.dev", "east.example", ["west.example"], now).verdict is verdict


def test_a_name_that_somebody_changed_is_not_overwritten() -> None:
    found = UPSERT.precheck({"values": ["elsewhere.example"], "simple": True})
    assert isinstance(found, Finding)
    assert found.says == (
        "app.example.dev points to elsewhere.example, and this plan saw west.example: somebody changed it. Plan again."
    )
    assert '"Value": "west.example"' in UPSERT.undo.command()


SESSIONS: list[dict[str, Any]] = [{"pid": 7, "began": "1.5"}]


@pytest.mark.parametrize(
    ("fenced", "sessions", "verdict"),
    [
        (True, [], Verdict.DONE),
        (True, [{"pid": 7, "began": "9.5"}], Verdict.DONE),
        (True, SESSIONS, Verdict.NOT_DONE),
        (False, [], Verdict.NOT_DONE),
    ],
)
def test_a_fence_stands_if_the_setting_does_and_older_sessions_are_gone(
    fenced: bool, sessions: list[dict[str, Any]], verdict: Verdict
) -> None:
    assert judge_fence({"sessions": SESSIONS}, {"fenced": fenced, "sessions": sessions}).verdict is verdict


def test_a_role_that_may_not_fence_is_told_which_one_may() -> None:
    facts = {"in_recovery": False, "may": False, "owner": "shielda", "sessions": [], "fenced": True}
    for action in (Fence(database=EAST), Unfence(database=EAST)):
        found = action.precheck(facts)
        assert isinstance(found, Finding)
        assert found.says == "The bot's role isn't a member of shielda, who owns the database. See docs/database-role.md."


def test_rows_are_compared_with_the_last_known_figures() -> None:
    before = {"public.organizations": 40, "public.users": 1000}
    good = judge_counts(before, {"public.organizations": 40, "public.users": 990}, 240, 20)
    assert good.ok
    assert "Fewer than before: public.users 10." in good.says
    bad = judge_counts(before, {"public.organizations": 0, "public.users": 1000}, 240, 20)
    assert bad.says.startswith("Rows are missing, as they were counted 4 min before: public.organizations has 0 rows and had 40.")
    assert judge_counts({"t": 2}, {"t": 1}, 240, 20).ok, "one of two rows is no disaster"
    assert judge_counts({}, {"t": 1}, 0, 20).says == "There are no earlier figures to compare with. Rows now: t 1."


# --- DNS ------------------------------------------------------------------------------------------------------------


def reply(value: str, *, server: str = "10.0.0.1:53", ttl: int = 37, authoritative: bool = True) -> Reply:
    return Reply(server=server, values=(value,), ttl=ttl, authoritative=authoritative)


def test_no_success_is_said_before_every_authoritative_server_has_the_value() -> None:
    assert behind([reply("east.example"), reply("east.example", server="10.0.0.2:53")], "East.example") == ""
    late = behind([reply("east.example"), reply("west.example", server="10.0.0.2:53")], "east.example")
    assert late == "DNS server 10.0.0.2:53 still answers west.example."
    assert behind([reply("east.example", authoritative=False)], "east.example").endswith("its answer isn't authoritative.")
    assert behind([Unreachable("DNS server 10.0.0.2:53 does not answer (Timeout).")], "x") != ""
    assert behind([], "east.example") == "The zone has no name server."


def test_a_resolver_with_the_old_value_is_named_with_its_time() -> None:
    assert stale([reply("west.example")], "east.example") == (
        "Resolver 10.0.0.1:53 still has west.example, for 37 s more at most."
    )
    assert stale([reply("east.example")], "east.example") == ""


# --- terraform ------------------------------------------------------------------------------------------------------


def ran(code: int, errors: str = "") -> Ran:
    return Ran(code=code, out="", errors=errors)


BEFORE, AFTER = {"lineage": "a", "serial": 3}, {"lineage": "a", "serial": 5}


@pytest.mark.parametrize(
    ("left", "now", "verdict", "says"),
    [
        (ran(0), AFTER, Verdict.DONE, "nothing left to do"),
        (ran(2), BEFORE, Verdict.NOT_DONE, "Nothing changed: the state is still at serial 3"),
        (ran(2), AFTER, Verdict.NOT_DONE, "A part of it was applied: the state moved from serial 3 to 5"),
        (ran(1, "Error acquiring the state lock"), BEFORE, Verdict.UNKNOWN, "why"),
    ],
)
def test_an_apply_is_read_back(left: Ran, now: dict[str, Any], verdict: Verdict, says: str) -> None:
    proof = judge_apply(left, BEFORE, now, "why")
    assert proof.verdict is verdict
    assert says in proof.says


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        (
            "Error: Error acquiring the state lock\n  Who:  eve@laptop",
            "The state is locked by eve@laptop: somebody else works on",
        ),
        ("Error: Saved plan is stale", "The plan is stale: the state has changed since it was made. Nothing was applied"),
        ("state lineage\nError: different state lineage", "The plan is of another workspace or stack. Nothing was applied"),
        ("Error: Backend initialization required", "Run `terraform -chdir=/srv/stack init`, then retry."),
        ("Error: local-exec provisioner error\n  with x", "terraform says: Error: local-exec provisioner error."),
    ],
)
def test_what_terraform_says_becomes_a_sentence_with_what_to_do(errors: str, says: str) -> None:
    assert says in meaning(ran(1, errors), FOLDER)


def test_a_plan_is_read_by_what_it_does_to_each_resource() -> None:
    def change(address: str, *actions: str) -> dict[str, Any]:
        return {"address": address, "change": {"actions": [*actions]}}

    shown = {
        "resource_changes": [change("a", "create"), change("b", "delete", "create"), change("c", "no-op"), change("d", "update")]
    }
    assert changes_of(shown) == Changes(added=("a", "b"), changed=("d",), destroyed=("b",))
    assert str(changes_of(shown)) == "2 to add, 1 to change, 1 to destroy"


def test_a_yes_that_destroys_something_takes_a_typed_word() -> None:
    hold = AgreeToPlan(**STACK)
    assert hold.destroys(findings(Changes(added=("a",), destroyed=("b",)), "f00d"))
    assert not hold.destroys(findings(Changes(added=("a",)), "f00d"))
    assert "f00d. This file is applied, and no other." in findings(Changes(added=("a",)), "f00d")[0].evidence


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"approved": ""}, "No plan of workspace dr was shown in this run"),
        ({"file": ""}, "The plan's file is gone"),
        ({"file": "beef"}, "The plan's file is not the one that was approved: its SHA-256 is beef, and f00d was approved"),
        ({"state": AFTER}, "The plan is stale: the state has moved from serial 3 to 5"),
        ({"state": {"lineage": "b", "serial": 3}}, "The plan is stale"),
    ],
)
def test_no_plan_is_applied_that_is_not_the_approved_one(other: dict[str, Any], says: str) -> None:
    facts = {"approved": "f00d", "file": "f00d", "planned_for": {"sha256": "f00d", **BEFORE}, "state": BEFORE}
    action = ApplyPlan(**STACK)
    assert action.precheck(facts).level is Level.OK
    found = action.precheck(facts | other)
    assert found.level is Level.STOP
    assert says in found.says


def test_terraform_gets_no_workspace_and_no_missing_settings_file_from_us() -> None:
    given = environment({"TF_WORKSPACE": "prod", "TF_CLI_CONFIG_FILE": "/nowhere/rc", "AWS_REGION": "us-east-1"})
    assert given == {"AWS_REGION": "us-east-1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


# --- texts and targets ----------------------------------------------------------------------------------------------


def test_a_text_stands_whole_in_the_thread_and_a_very_long_one_says_where_the_rest_is() -> None:
    lines = [f"line {n} <x>" for n in range(400)]
    parts = list(snippets("abc", "terraform plan", "\n".join(lines)))
    assert all(line in "\n".join(parts) for line in lines)
    assert all(part.startswith("*terraform plan") and part.count("```") == 2 for part in parts)
    endless = list(snippets("abc", "terraform plan", "x" * 200_000))
    assert len(endless) == MOST_REPLIES + 1
    assert "`dr show abc` prints the rest" in endless[-1]


def test_a_plan_holds_all_its_targets_and_its_digest_binds_them() -> None:
    def made(*locks: str) -> Plan:
        return Plan(scenario="s", arguments={}, why="", target="a", stages=(), basis={}, locks=locks)

    assert made("b", "a").targets == ("a", "b")
    assert made("b").digest != made().digest
    assert Plan.from_json(made("b").to_json()).targets == ("a", "b")
