"""Which region failover fits which facts, what it costs, and that no plan needs what is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.aws.deployments import Service
from actions.aws.promotion import ReplicaSeen
from actions.aws.route53 import Record, UpsertRecord
from actions.base import Action, Hold, Level, Step
from actions.db.diagnosis import State
from actions.db.fence import Fence, ReopenUnless
from actions.db.heartbeat import Beat
from actions.db.replica import ReplayedAll
from actions.db.replication import Replica
from actions.db.rhythm import Rhythm
from actions.kept import Kept
from actions.site import Aws, DatabaseSection, Dns, ServiceSection, Site
from actions.terraform.steps import AgreeToPlan, ApplyPlan
from actions.world import World
from commands import region
from commands.facts import Fact
from commands.plan import Plan, changes
from commands.region.loss import loss_of, round_up
from commands.region.meant import Meant
from commands.region.rehearsed import as_if_gone, judge
from commands.region.seen import Name, Seen, User, _twice
from commands.region.stability import Need, dead_needs, needs, whole
from commands.scenario import BadCommand

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
WEB = ServiceSection(
    cluster="c", service="web", log_group="/web", health_url="https://app.example/health",
    region_health_url="https://west.example/health", dr_health_url="https://east.example/health", terraform_dir="/srv/stack",
)  # fmt: skip
DNS = Dns(zone="example.dev", name="app.example.dev", primary="west.example", dr="east.example")
SITE = Site(
    aws=Aws(region="us-west-2", dr_region="us-east-1"),
    services={"web": WEB},
    databases={
        "primary": DatabaseSection(instance="prod", replica="replica", heartbeat_table="dr_heartbeat"),
        "replica": DatabaseSection(instance="prod-east", region="us-east-1", dsn_env="DR_DATABASE_URL"),
    },
    dns=DNS,
)
WORLD = World(SITE)
WEST, EAST = whole("us-west-2"), whole("us-east-1")
DEAD: Fact[Any] = Fact(source="The source", at=NOW, error="It did not answer.")


def fact(value: Any) -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def instance(**other: Any) -> ReplicaSeen:
    facts: dict[str, Any] = {"status": "available", "source": "", "arn": "arn", "resource_id": "db-1", "replicas": ("arn",)}
    return ReplicaSeen(**(facts | {"retention": 7, "multi_az": True, "settings": {}, "tags": {}} | other))


def position(**other: Any) -> Replica:
    facts: dict[str, Any] = {"now": NOW, "in_recovery": True, "received": 9000, "replayed": 9000, "replayed_at": ago(30)}
    return Replica(**(facts | {"heard_at": ago(29)} | other))


def state(**other: Any) -> State:
    facts: dict[str, Any] = {"in_recovery": False, "read_only": False, "started_at": NOW, "slots": 9, "kept": 0, "used": 1}
    return State(**(facts | {"oldest_transaction": 0.0} | other))


def service(desired: int = 2) -> Service:
    facts: dict[str, Any] = {"arn": "arn", "status": "ACTIVE", "revision": "web:7", "running": desired, "pending": 0}
    facts |= {"breaker": True, "rolls_back": True, "deployments": (), "events": (), "at": NOW}
    return Service(desired=desired, **facts)


def rhythm(*, failing: float | None = 27.0) -> Rhythm:
    """A beat every 5 s until 32 s ago, with 40 rows a second."""
    beats = tuple(Beat(at=ago(32 + 5 * n), flushed=9000 - n, rows=10_000 - 200 * n) for n in reversed(range(5)))
    return Rhythm(beats=beats, failing_since=ago(failing) if failing is not None else None)


def seen(*, alive: bool = False, **other: Any) -> Seen:
    """What is seen when the primary region is dead; or alive, and then nothing is wrong."""
    there = fact(service()) if alive else DEAD
    health = fact(200) if alive else DEAD
    user = User(site=WEB, service=there, dr_service=DEAD, health=health, region_health=health, dr_leads=None)
    facts: dict[str, Any] = {
        "meant": Meant.of(SITE, SITE.database()),
        "now": NOW,
        "instance": fact(instance()) if alive else DEAD,
        "server": fact(state()) if alive else DEAD,
        "replica": fact(instance(source="arn:prod", multi_az=False, retention=0)),
        "position": fact(position()),
        "users": (user,),
        "name": fact(Name(settings=DNS, zone="Z1", records=(Record(values=("west.example",), ttl=60),))),
        "rhythm": rhythm(failing=None if alive else 27.0),
        "kept": Kept(name="region of primary", at=NOW, facts={"tasks": {"web": 2}, "rows": {"public.organizations": 40}}),
    }
    return Seen(**(facts | other))


def plan(found: Seen | None = None, **arguments: str) -> Plan:
    return region.plan_for(WORLD, found or seen(), arguments)


def kinds(found: Plan) -> list[str]:
    return [step.kind for _, step in found.steps()]


def of(found: Plan, kind: type[Step]) -> Iterator[Any]:
    return (step for _, step in found.steps() if isinstance(step, kind))


# --- which plan ---------------------------------------------------------------------------------------------------


def test_without_the_primary_the_plan_is_unfenced_and_says_the_loss_in_its_button() -> None:
    found = plan()
    assert found.title == "Fail over to us-east-1 UNFENCED, losing up to 3 s (about 120 rows)"
    assert found.approve == "Promote and lose up to 3 s (about 120 rows)"
    assert any(finding.says.startswith("UNFENCED: prod can't be reached") for finding in found.findings)
    assert found.confirm == "prod-east"
    assert not found.forbidden
    assert kinds(found) == [
        "postgresql.replayed_all",
        "rds.promote_replica",
        "postgresql.unfence",
        "postgresql.takes_writes",
        "terraform.agree_to_plan",
        "terraform.apply_plan",
        "http.health_answers",
        "postgresql.counts_hold",
        "postgresql.integrity_holds",
        "route53.upsert_record",
        "dns.authoritative_agree",
        "dns.resolvers_agree",
        "http.health_answers",
        "rds.unprotected",
    ]


def test_with_the_primary_it_is_fenced_first_and_nothing_is_lost() -> None:
    found = plan(seen(alive=True))
    assert found.title == "Switch over to us-east-1, losing nothing"
    assert (found.approve, found.interrupts) == ("", "the service in us-west-2")
    assert kinds(found)[:6] == [
        "terraform.agree_to_plan",
        "ecs.set_desired_count",
        "postgresql.fence",
        "postgresql.caught_up",
        "rds.promote_replica",
        "postgresql.unfence",
    ]
    assert not found.forbidden
    (fence,), (reopen,) = of(found, Fence), of(found, ReopenUnless)
    assert (fence.database.instance, reopen.database.instance, reopen.replica.instance) == ("prod", "prod", "prod-east")
    assert found.is_cleanup(next(i for i, step in found.steps() if step is reopen))


def test_a_replica_that_was_promoted_before_is_not_promoted_again() -> None:
    found = plan(seen(position=fact(position(in_recovery=False))))
    assert found.title == "Finish the failover to us-east-1"
    assert "rds.promote_replica" not in kinds(found)
    assert "terraform.apply_plan" in kinds(found)


def test_the_name_moves_only_after_health_and_data_were_seen() -> None:
    order = kinds(plan())
    assert order.index("route53.upsert_record") > order.index("postgresql.counts_hold") > order.index("http.health_answers")


def test_a_failover_pair_is_watched_and_not_changed() -> None:
    pair = tuple(Record(values=(f"{w}.example",), ttl=60, failover=f) for w, f in (("west", "PRIMARY"), ("east", "SECONDARY")))
    found = plan(seen(name=fact(Name(settings=DNS, zone="Z1", records=pair))))
    assert not list(of(found, UpsertRecord))
    assert "dns.authoritative_agree" in kinds(found)
    assert any("need no control plane" in finding.says for finding in found.findings)


def test_without_terraform_the_service_gets_the_tasks_that_it_had_at_home() -> None:
    bare = WEB.model_copy(update={"terraform_dir": ""})
    (user,) = seen().users
    found = plan(seen(users=(replace(user, site=bare),)))
    assert not list(of(found, AgreeToPlan))
    (start,) = [step for _, step in found.steps() if step.kind == "ecs.set_desired_count"]
    assert (start.region, start.arguments["count"]) == ("us-east-1", 2)


def test_a_database_without_a_replica_elsewhere_can_not_be_moved() -> None:
    with pytest.raises(BadCommand, match="names no replica"):
        Meant.of(SITE, SITE.database("replica"))


# --- what stands in the way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"position": fact(position(heard_at=ago(1)))}, "The replica heard its primary 1 s ago"),
        ({"position": DEAD}, "prod-east does not answer"),
        ({"position": fact(position(replayed_at=None))}, "Nobody can say what a promotion of prod-east would lose"),
        ({"replica": DEAD}, "RDS in us-east-1 could not be read"),
    ],
)
def test_what_makes_a_promotion_wrong_or_impossible_forbids_it(other: dict[str, Any], says: str) -> None:
    assert any(says in finding.says for finding in plan(seen(**other)).forbidden)


def test_a_plan_whose_loss_nobody_knows_has_no_button_that_names_one() -> None:
    found = plan(seen(position=DEAD))
    assert (found.title, found.approve, found.stages) == ("Fail over to us-east-1 UNFENCED", "", ())


def test_customers_who_are_served_forbid_it_unless_a_person_knows_better() -> None:
    (user,) = seen().users
    served = seen(users=(replace(user, health=fact(200)),))
    assert "A promotion now would make two primaries" in plan(served).forbidden[0].says
    assert not plan(served, anyway="yes").forbidden


def test_a_region_that_answers_is_no_lost_region_and_the_plan_says_so() -> None:
    found = plan(seen(instance=fact(instance(status="failed"))))
    assert any("If only the database is gone, `/dr database failover` loses nothing" in f.says for f in found.findings)
    assert any(f.says.startswith("us-west-2 is silent from 3 of 4 points, the database for 27 s") for f in found.findings)


# --- the loss -------------------------------------------------------------------------------------------------------


def test_the_loss_is_from_the_replica_s_last_commit_to_the_first_heartbeat_that_failed() -> None:
    loss = loss_of(position(), rhythm())
    assert loss
    assert (loss.seconds, loss.rows, loss.silent_since) == (3, 120, ago(27))


def test_without_heartbeats_the_figure_is_coarse_and_stays_the_same_for_a_while() -> None:
    first, later = (loss_of(position(now=NOW + timedelta(seconds=s)), None) for s in (0, 200))
    assert first
    assert later
    assert first.seconds == later.seconds == 300
    assert (first.rows, first.silent_since) == (None, None)


def test_a_replica_that_has_all_loses_a_second_at_most() -> None:
    loss = loss_of(position(replayed_at=ago(26.5)), rhythm())
    assert loss
    assert loss.figure == "up to 1 s (about 0 rows)"


def test_a_heartbeat_that_failed_before_the_replica_s_last_commit_is_no_silence() -> None:
    loss = loss_of(position(replayed_at=ago(20)), rhythm(failing=27))
    assert loss
    assert (loss.silent_since, loss.seconds) == (None, 300)
    assert "failed although the primary took commits after it, so the figure counts until now" in loss.evidence


@pytest.mark.parametrize(("seconds", "rounded"), [(0, 1), (2.1, 3), (10, 10), (11, 11), (61, 90), (601, 900)])
def test_a_figure_is_rounded_up(seconds: float, rounded: int) -> None:
    assert round_up(seconds) == rounded


def test_a_loss_that_grew_needs_a_new_approval_and_the_same_one_does_not() -> None:
    grown = seen(position=fact(position(replayed_at=ago(34))))
    assert changes(plan(), plan()) == ()
    assert any("at most 7 s of commits may be lost" in change for change in changes(plan(), plan(grown)))
    (check,) = of(plan(), ReplayedAll)
    assert (check.at_most, check.silent_since) == (3, ago(27).isoformat())


def test_a_rhythm_comes_back_from_its_json_and_knows_its_failure() -> None:
    beat = Beat(at=NOW, flushed=1, rows=2)
    began = Rhythm().beaten(beat, NOW - timedelta(seconds=1))
    missed = began.missed(NOW + timedelta(seconds=4)).missed(NOW + timedelta(seconds=9))
    assert missed.failing_since == NOW + timedelta(seconds=5), "the first failure counts, by the primary's clock"
    assert Rhythm.from_json(missed.to_json()) == missed
    assert missed.beaten(beat, NOW).failing_since is None


# --- static stability -----------------------------------------------------------------------------------------------


def test_the_ungraceful_plan_needs_nothing_of_the_dead_region() -> None:
    assert list(dead_needs(plan(), SITE, [WEST])) == []
    needed = {need.region for _, step in plan().steps() for need in needs(step, SITE)}
    assert needed == {"us-east-1"}


def test_a_plan_that_needs_the_dead_region_is_told_by_step_and_plane() -> None:
    found = [finding.says for finding in dead_needs(plan(seen(alive=True)), SITE, [WEST])]
    assert "Step 3.1 (Fence prod: no more writes) needs the database in us-west-2 (data plane), which doesn't answer." in found
    assert any(says.startswith("Step 2.1 (Stop service web) needs ecs in us-west-2 (control plane)") for says in found)


@pytest.mark.parametrize("service", ["rds", "postgresql", "http", "terraform", "route53"])
def test_each_service_of_the_dr_region_is_needed_by_some_step(service: str) -> None:
    assert list(dead_needs(plan(), SITE, [Need(region="us-east-1", service=service)]))
    assert not list(dead_needs(plan(), SITE, [Need(region="us-west-2", service=service)]))


def test_a_lost_region_is_judged_while_all_is_well() -> None:
    (well,) = judge(WORLD, as_if_gone(seen(alive=True)))
    assert (well.level, well.says) == (
        Level.OK,
        "If us-west-2 were gone, `/dr region failover` would need nothing of it, only us-east-1.",
    )
    wrong = judge(WORLD, as_if_gone(seen(alive=True, replica=DEAD)))
    assert wrong[0].says.startswith("If us-west-2 were gone: RDS in us-east-1 could not be read")


def test_every_step_of_every_region_plan_says_what_it_needs() -> None:
    for found in (plan(), plan(seen(alive=True))):
        for _, step in found.steps():
            assert needs(step, SITE) or step.permissions[0].startswith(("dns:", "http:")), step.kind


def test_what_people_approve_is_what_is_applied() -> None:
    agree, apply = (next(of(plan(), kind)) for kind in (AgreeToPlan, ApplyPlan))
    assert isinstance(agree, Hold)
    assert isinstance(apply, Action)
    assert agree.item == apply.item
    assert agree.stack.plan_file == apply.stack.plan_file


async def test_a_connection_that_hangs_does_not_make_a_living_primary_a_lost_one() -> None:
    tries: list[int] = []

    async def ask() -> str:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(60)
        return "alive"

    assert await _twice(ask) == "alive"
    assert len(tries) == 2
    assert await _twice(ask) == "alive"
    assert len(tries) == 3, "an answer in time needs no second question"
