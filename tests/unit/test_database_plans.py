"""Which plan fits which facts of a database: the rules, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from actions.aws.rds import Event
from actions.db.diagnosis import State as ServerState
from actions.db.diagnosis import judge_handshake, judge_state
from actions.db.handshake import Handshake
from actions.values import Level
from actions.world import World
from commands import database
from commands.facts import Fact, read, unanswered
from tests.unit.plan_facts import NOW, SITE, WORLD, fact, idle, instance, looked, missing


@pytest.mark.parametrize(
    ("used", "says"),
    [
        (10, "10 of 24 connections are used"),
        (24, "24 of 24 connections are used"),
        (25, "24 of 24 connections are used, and 1 of 6 reserved ones"),
    ],
)
def test_no_more_connections_are_used_than_there_are(used: int, says: str) -> None:
    assert state_with(used=used).usage == says
    assert says in judge_state(state_with(used=used)).evidence


def state_with(**other: Any) -> ServerState:
    facts = {"in_recovery": False, "read_only": False, "started_at": NOW, "slots": 30, "kept": 6, "used": 10}
    return ServerState(**({"oldest_transaction": 0.0} | facts | other))


@pytest.mark.parametrize("kind", ["refused", "timeout", "starting", "read-only", "other"])
def test_a_database_that_does_not_serve_is_failed_over(kind: str) -> None:
    plan = database.plan_for(WORLD, looked(kind), 60)
    assert [step.kind for step in plan.actions()] == ["rds.fail_over"]
    assert not plan.forbidden


@pytest.mark.parametrize("kind", ["dns", "tls", "auth"])
def test_what_a_failover_does_not_cure_forbids_it(kind: str) -> None:
    assert any("A failover changes no" in f.says for f in database.plan_for(WORLD, looked(kind), 60).forbidden)


def test_failing_over_a_database_that_answers_warns() -> None:
    findings = database.plan_for(WORLD, looked("answers"), 60).findings
    assert any(f.level is Level.WARN and "60 to 120 s" in f.says for f in findings)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"instance": fact(instance(multi_az=False))}, "not Multi-AZ"),
        ({"instance": fact(instance(status="storage-full"))}, "storage-full"),
        ({"instance": missing()}, "plan `/dr region failover`"),
    ],
)
def test_an_instance_that_cannot_fail_over_forbids_it(facts: dict[str, Any], says: str) -> None:
    assert says in database.plan_for(WORLD, looked(**facts), 60).forbidden[0].says


@pytest.mark.parametrize(
    "facts",
    [
        {"instance": fact(instance(status="rebooting"))},
        {"events": fact([Event(at=NOW, message="Multi-AZ instance failover started.")])},
    ],
)
def test_a_failover_under_way_is_only_watched(facts: dict[str, Any]) -> None:
    plan = database.plan_for(WORLD, looked(**facts), 60)
    assert not plan.actions()
    assert next(plan.steps())[1].kind == "rds.failover_finished"


def test_a_failover_that_has_completed_is_not_under_way() -> None:
    done = [
        Event(at=NOW, message="Multi-AZ instance failover started."),
        Event(at=NOW, message="Multi-AZ instance failover completed"),
    ]
    assert database.plan_for(WORLD, looked(events=fact(done)), 60).actions()


def test_used_up_slots_end_idle_sessions_and_never_fail_over() -> None:
    plan = database.plan_for(WORLD, looked("slots used up", idle=fact([idle(90)] * 12 + [idle(5, "web")])), 60)
    (step,) = plan.actions()
    database_meant = {"name": "primary", "instance": "prod", "region": "us-west-2", "dsn_env": "DATABASE_URL"}
    narrowed = {"applications": ["report"], "idle_for_seconds": 60, "at_most": 20}
    assert step.arguments == {"database": database_meant, **narrowed}
    assert "12 of report" in plan.findings[1].says


def test_one_more_idle_session_is_the_same_plan() -> None:
    few, more = (database.plan_for(WORLD, looked("slots used up", idle=fact([idle(90)] * n)), 60) for n in (12, 13))
    assert few.digest == more.digest


@pytest.mark.parametrize(
    ("sessions", "says"),
    [(fact([]), "No session is idle"), (fact([idle(20)]), "idle_for=10"), (missing(), "pg_use_reserved_connections")],
)
def test_no_session_to_end_forbids_the_plan_and_says_what_next(sessions: Fact[Any], says: str) -> None:
    plan = database.plan_for(WORLD, looked("slots used up", idle=sessions), 60)
    assert says in plan.forbidden[0].says
    assert not plan.actions()


@pytest.mark.parametrize(
    ("handshake", "said", "kind"),
    [
        (Handshake(reached="refused"), "", "refused"),
        (Handshake(reached="closed"), "", "refused"),
        (Handshake(reached="dns"), "", "dns"),
        (Handshake(reached="timeout"), "", "timeout"),
        (Handshake(reached="error", sqlstate="53300"), "", "slots used up"),
        (Handshake(reached="error", sqlstate="57P03"), "", "starting"),
        (Handshake(reached="error", sqlstate="28000"), "", "auth"),
        (Handshake(reached="error", sqlstate="XX000"), "", "other"),
        (Handshake(reached="alive"), "remaining connection slots are reserved", "slots used up"),
        (Handshake(reached="alive"), "password authentication failed", "auth"),
        (Handshake(reached="alive"), "server certificate does not match host name", "tls"),
        (Handshake(reached="alive"), "etwas anderes", "other"),
    ],
)
def test_a_failure_to_connect_is_told_by_the_handshake(handshake: Handshake, said: str, kind: str) -> None:
    assert judge_handshake(handshake, said).kind == kind


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({}, "answers"),
        ({"used": 94}, "slots used up"),
        ({"in_recovery": True}, "read-only"),
        ({"read_only": True}, "read-only"),
    ],
)
def test_a_server_that_lets_us_in_may_still_be_of_no_use(facts: dict[str, Any], kind: str) -> None:
    state = {
        "in_recovery": False,
        "read_only": False,
        "started_at": NOW,
        "slots": 100,
        "kept": 6,
        "used": 10,
        "oldest_transaction": 0.0,
    }
    assert judge_state(ServerState(**(state | facts))).kind == kind


async def test_an_answer_that_nobody_understands_is_a_fact() -> None:
    async def garbled() -> str:
        return str({}["status"])

    answer = await read("The source", garbled())
    assert answer.error == "Unexpected error: KeyError: 'status'."
    assert "The source could not be read" in unanswered({"source": answer})[0].says


async def test_a_source_that_does_not_answer_is_a_fact() -> None:
    answer = await read("The database", World(SITE).database(SITE.database()).state())
    assert "DATABASE_URL" in answer.error
    assert unanswered({"database": answer})[0].level is Level.WARN


def test_a_failover_falls_back_to_a_restore_of_the_same_database() -> None:
    assert database.plan_for(WORLD, looked(), 60).fallback == "database restore time=latest"
    assert database.plan_for(WORLD, looked(), 60, "billing").fallback == "database restore time=latest database=billing"
    assert database.plan_for(WORLD, looked("slots used up", idle=fact([idle(90)])), 60).fallback == ""
