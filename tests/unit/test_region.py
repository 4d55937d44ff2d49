"""Which region failover fits which facts, what it costs, and that no plan needs what is dead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actions.aws.route53 import Record, UpsertRecord
from actions.db.fence import Fence, ReopenUnless
from actions.terraform.steps import AgreeToPlan
from commands.region.meant import Meant
from commands.region.seen import Name
from commands.scenario import BadCommand
from tests.unit.region_facts import (
    DEAD,
    DNS,
    SITE,
    WEB,
    ago,
    fact,
    instance,
    kinds,
    of,
    plan,
    position,
    seen,
)

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
        ({"position": fact(position(replayed_at=None))}, "We can't tell what a promotion of prod-east would lose"),
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
