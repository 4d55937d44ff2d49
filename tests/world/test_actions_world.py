"""Plans made and carried out by hand against the rehearsal: real HTTP, real PostgreSQL, AWS's own protocols."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from actions.aws.ecs import ForceNewDeployment
from actions.aws.gateway import Gateway
from actions.db.connect import Connections
from actions.errors import Refused, Uncertain
from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site
from actions.step import Action, Check, Step
from actions.values import Facts, Verdict
from actions.world import World
from commands.plan import Plan
from commands.scenario import SCENARIOS, BadCommand
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal

SPEED = 200.0
WEST = "us-west-2"


@pytest.fixture(scope="module")
async def shared(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    options = Options(work_dir=work_dirs / "actions", cache=cache, port=0, speed=SPEED, with_bot=False)
    async with Rehearsal(options) as rehearsal:
        yield rehearsal


@pytest.fixture
async def rehearsal(shared: Rehearsal) -> AsyncIterator[Rehearsal]:
    """The one rehearsal of these tests, healthy before and after."""
    shared.journal.clear()
    yield shared
    await shared.restore()


@pytest.fixture
async def world(rehearsal: Rehearsal) -> AsyncIterator[World]:
    os.environ["DATABASE_URL"] = rehearsal.database.url("dr_bot")
    made = World(site_of(rehearsal))
    yield made
    await made.close()
    del os.environ["DATABASE_URL"]


def site_of(rehearsal: Rehearsal) -> Site:
    return Site(
        aws=Aws(region=WEST, dr_region="us-east-1", endpoints=rehearsal.endpoints, speed=SPEED),
        services={
            "control-plane": ServiceSection(
                cluster="shielda",
                service="control-plane",
                log_group="/ecs/shielda-control-plane",
                health_url=f"{rehearsal.balancer.url}/api/health",
            )
        },
        databases={"primary": DatabaseSection(instance="shielda-prod", alarm="shielda-rds-cpu-high")},
    )


async def plan(world: World, name: str, **arguments: str) -> Plan:
    return await SCENARIOS[name].make(world, arguments)


async def carry_out(world: World, made: Plan) -> list[str]:
    """What each step said at its end; a stand-in for the engine, which does the same durably."""
    return [await one(world, step) for _, step in made.steps()]


async def one(world: World, step: Step) -> str:
    if isinstance(step, Check):
        outcome = await step.look(world)
    else:
        assert isinstance(step, Action)
        facts = await step.observe(world)
        assert step.precheck(facts).level != "stop"
        outcome = await step.verify(world, facts, await step.apply(world, facts))
    assert outcome.ok, outcome.says
    return outcome.says


async def proof(world: World, step: Action, facts: Facts) -> Verdict:
    """The verdict once it is `DONE`, or at the end of the settle time."""
    verdict = Verdict.UNKNOWN
    async for _ in world.ticks(timeout=step.settle, every=1):
        verdict = (await step.applied(world, facts)).verdict
        if verdict is Verdict.DONE:
            break
    return verdict


# --- control plane ----------------------------------------------------------------------------------------------


async def test_a_hanging_control_plane_is_restarted(rehearsal: Rehearsal, world: World) -> None:
    await rehearsal.ecs.hang()
    made = await plan(world, "control-plane restart")
    assert made.scenario == "control-plane restart"
    assert made.fallback == "control-plane rollback"
    assert not made.forbidden
    said = await carry_out(world, made)
    assert "control-plane:7" in said[0]
    assert rehearsal.journal.effects(source="bot") == [
        {"service": "ecs", "operation": "UpdateService", "region": WEST, "count": 1}
    ]


async def test_a_bad_deploy_is_rolled_back_and_not_restarted(rehearsal: Rehearsal, world: World) -> None:
    await rehearsal.ecs.deploy_badly()
    await until(lambda: rehearsal.ecs.scheduler.primary.failed_tasks > 0)
    made = await plan(world, "control-plane restart")
    assert made.scenario == "control-plane rollback"
    assert made.digest == (await plan(world, "control-plane rollback")).digest
    assert "--task-definition control-plane:7" in made.actions()[0].command()
    await carry_out(world, made)
    assert rehearsal.ecs.scheduler.primary.revision.number == 7


async def test_a_lost_answer_is_uncertain_and_read_back_as_done(rehearsal: Rehearsal, world: World) -> None:
    step = ForceNewDeployment(cluster="shielda", service="control-plane", region=WEST)
    rehearsal.aws_faults.put("after_drop", operation="UpdateService")
    facts = await step.observe(world)
    with pytest.raises(Uncertain):
        await step.apply(world, facts)
    assert await proof(world, step, facts) is Verdict.DONE
    assert len(rehearsal.journal.calls(operation="UpdateService")) == 1


async def test_a_request_cut_before_its_effect_is_read_back_as_not_done(rehearsal: Rehearsal, world: World) -> None:
    step = ForceNewDeployment(cluster="shielda", service="control-plane", region=WEST)
    rehearsal.aws_faults.put("drop", operation="UpdateService")
    facts = await step.observe(world)
    with pytest.raises(Uncertain):
        await step.apply(world, facts)
    assert await proof(world, step, facts) is Verdict.NOT_DONE


async def test_a_throttled_change_is_sent_again_and_a_refused_one_is_not(rehearsal: Rehearsal, world: World) -> None:
    step = ForceNewDeployment(cluster="shielda", service="control-plane", region=WEST)
    facts = await step.observe(world)
    rehearsal.aws_faults.put("throttle", operation="UpdateService", times=2)
    await step.apply(world, facts)
    assert rehearsal.journal.effects(source="bot")[0]["count"] == 1
    rehearsal.aws_faults.put("access_denied", operation="UpdateService")
    with pytest.raises(Refused, match="AccessDenied"):
        await step.apply(world, facts)


async def test_a_plan_comes_out_of_a_region_that_is_down(rehearsal: Rehearsal, world: World) -> None:
    rehearsal.aws_faults.put("region_down", region=WEST)
    for name in ("control-plane restart", "database failover"):
        made = await plan(world, name)
        assert any("`/dr region failover`" in finding.says for finding in made.forbidden)


async def test_a_region_whose_port_is_closed_refuses_the_change_as_not_sent(rehearsal: Rehearsal) -> None:
    gateway = Gateway(Aws(region=WEST, endpoints={WEST: "http://127.0.0.1:1"}, speed=SPEED))
    step = ForceNewDeployment(cluster="shielda", service="control-plane", region=WEST)
    with pytest.raises(Refused, match="not sent"):
        await gateway.change(step.call)
    await gateway.close()


# --- database ---------------------------------------------------------------------------------------------------


async def test_a_hung_database_is_failed_over(rehearsal: Rehearsal, world: World) -> None:
    zone = rehearsal.database.zone
    await rehearsal.database.hang_primary()
    made = await plan(world, "database failover")
    assert not made.forbidden
    assert made.digest == (await plan(world, "database failover")).digest
    said = await carry_out(world, made)
    assert f"from {zone}" in said[0]
    assert rehearsal.journal.effects(source="bot")[0]["count"] == 1


async def test_the_control_plane_plan_names_the_database_as_the_cause(rehearsal: Rehearsal, world: World) -> None:
    await rehearsal.database.kill_primary()
    made = await plan(world, "control-plane restart")
    assert any("/dr database failover" in finding.says for finding in made.forbidden)
    assert not (await plan(world, "control-plane restart", anyway="yes")).forbidden


async def test_a_lost_answer_to_a_failover_is_proven_done(rehearsal: Rehearsal, world: World) -> None:
    (step,) = (await plan(world, "database failover")).actions()
    rehearsal.aws_faults.put("after_drop", operation="RebootDBInstance")
    facts = await step.observe(world)
    with pytest.raises(Uncertain):
        await step.apply(world, facts)
    assert await proof(world, step, facts) is Verdict.DONE
    watching = await plan(world, "database failover")
    assert watching.basis == {"rule": "watch"}
    assert not watching.actions()
    await carry_out(world, watching)


async def test_a_failover_that_was_never_sent_is_not_done(rehearsal: Rehearsal, world: World) -> None:
    (step,) = (await plan(world, "database failover")).actions()
    facts = await step.observe(world)
    assert (await step.applied(world, facts)).verdict is Verdict.NOT_DONE


async def test_used_up_slots_are_freed_by_ending_idle_sessions(rehearsal: Rehearsal, world: World) -> None:
    await rehearsal.database.fill_connections()
    waiting = await plan(world, "database failover", idle_for="300")
    assert any("idle_for=" in finding.says for finding in waiting.forbidden), waiting.findings
    await asyncio.sleep(1.1)
    made = await plan(world, "database failover", idle_for="1")
    assert made.basis == {"rule": "end idle sessions"}
    assert made.digest == (await plan(world, "database failover", idle_for="1")).digest
    said = await carry_out(world, made)
    assert re.fullmatch(r"(\d\d) of \1 sessions have ended\.", said[0])
    assert rehearsal.journal.effects(source="bot") == []


async def test_a_plan_for_a_second_database_means_that_one_in_every_step(rehearsal: Rehearsal) -> None:
    second = DatabaseSection(instance="billing-prod", dsn_env="BILLING_URL")
    site = site_of(rehearsal)
    world = World(site.model_copy(update={"databases": {**site.databases, "billing": second}}))
    made = await plan(world, "database failover", database="billing")
    await world.close()
    assert (made.target, made.command) == ("database billing-prod", "/dr database failover database=billing")
    assert {step.arguments["database"]["dsn_env"] for _, step in made.steps()} == {"BILLING_URL"}
    assert any("BILLING_URL is not set" in finding.evidence for finding in made.findings)


async def test_a_database_that_dr_toml_lacks_is_refused_with_its_names(world: World) -> None:
    with pytest.raises(BadCommand, match=r"database=billing can't be used: .* one of primary is expected"):
        await plan(world, "database failover", database="billing")


async def test_single_az_forbids_a_failover(rehearsal: Rehearsal, world: World) -> None:
    rehearsal.rds.single_az()
    made = await plan(world, "database failover")
    assert any("not Multi-AZ" in finding.says for finding in made.forbidden)


# --- diagnosis --------------------------------------------------------------------------------------------------


async def diagnosis(dsn: str) -> str:
    os.environ["TEST_DSN"] = dsn
    try:
        return (
            await Connections(DatabaseRef(name="primary", instance="x", region="us-west-2", dsn_env="TEST_DSN")).diagnose()
        ).kind
    finally:
        del os.environ["TEST_DSN"]


async def test_failures_to_connect_are_told_apart(rehearsal: Rehearsal) -> None:
    good = rehearsal.database.url("dr_bot")
    host = f"{rehearsal.database.host}:{rehearsal.database.port}"
    assert await diagnosis(good) == "answers"
    assert await diagnosis(good.replace(host, "127.0.0.1:1")) == "refused"
    assert await diagnosis(good.replace(host, "no-such-host.invalid:5432")) == "dns"
    assert await diagnosis(good.replace("dr_bot:", "dr_bot:wrong")) == "auth"
    assert await diagnosis(good.replace(rehearsal.database.password("dr_bot"), "wrong")) == "auth"
    assert await diagnosis(good + "?sslmode=require") == "tls"
    assert await diagnosis(good + "?options=-c%20default_transaction_read_only%3Don") == "read-only"
    await rehearsal.database.hang_primary()
    assert await diagnosis(good) == "timeout"


async def test_used_up_slots_are_seen_from_inside_and_from_outside(rehearsal: Rehearsal) -> None:
    await rehearsal.database.fill_connections()
    assert await diagnosis(rehearsal.database.url("dr_bot")) == "slots used up"
    assert await diagnosis(rehearsal.database.url("shielda")) == "slots used up"


async def every_slot(url: str) -> list[psycopg.AsyncConnection[tuple[object, ...]]]:
    """Connections in every slot that this role may use; those that others leave within a second are taken, too."""
    held = []
    refused = 0
    while refused < 10:
        try:
            held.append(await psycopg.AsyncConnection.connect(url))
        except psycopg.OperationalError:
            refused += 1
            await asyncio.sleep(0.1)
    return held


async def test_a_change_waits_a_moment_for_the_slots_that_a_killed_bots_connections_still_hold(
    rehearsal: Rehearsal, world: World
) -> None:
    await rehearsal.database.fill_connections()
    held = await every_slot(rehearsal.database.url("dr_bot"))
    database = world.database(world.site.database())
    changing = asyncio.create_task(database.change("SELECT 'let through' AS said"))
    await asyncio.sleep(0.5)
    assert not changing.done()
    await held.pop().close()
    assert await changing == [{"said": "let through"}]
    while held:
        await held.pop().close()
