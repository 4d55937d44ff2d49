"""What the bot plans for what it sees, and whether a tired person can misread it: told through Slack."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rehearsal.aws.ecs.scheduler import Rules
from rehearsal.world import Rehearsal
from tests.story.conftest import RESTART, Incident, Json, until

ROLLBACK, FAILOVER = "control-plane rollback", "database failover"
ONCE = [("UpdateService", 1)]
ODD = '"' * 50  # what the shell's quotes make twice as long


@contextlib.contextmanager
def bad_gateway(world: Rehearsal) -> Iterator[None]:
    """The load balancer answers 502 to everything, and ECS sees nothing wrong."""
    scheduler = world.ecs.scheduler
    reconcile = scheduler.reconcile
    scheduler.reconcile = lambda: world.balancer.set_targets([1])  # type: ignore[method-assign]
    scheduler.reconcile()
    yield
    scheduler.reconcile = reconcile  # type: ignore[method-assign]


@pytest.fixture
async def sessions(incident: Incident) -> AsyncIterator[list[str]]:
    """Every connection slot is held by an idle session, each of another application; returns their names."""
    held: list[psycopg.AsyncConnection[tuple[object, ...]]] = []
    names: list[str] = []
    with contextlib.suppress(psycopg.OperationalError):
        while len(names) < 60:
            name = f"{ODD}{len(names):03d}"
            dsn = make_conninfo(incident.world.database.url("shielda"), application_name=name)
            held.append(await psycopg.AsyncConnection.connect(dsn))
            await held[-1].execute("SELECT 1")
            names.append(name)
    await asyncio.sleep(1.1)
    yield names
    await asyncio.gather(*(connection.close() for connection in held))


async def bad_deploy(incident: Incident) -> None:
    """Somebody ships a revision that answers 500 and exits."""
    await incident.world.ecs.deploy_badly()
    await until(lambda: incident.world.ecs.scheduler.primary.failed_tasks > 0, 20)


def header(incident: Incident, run: str) -> str:
    """The title of a card."""
    return str(incident.card(run)["blocks"][0]["text"]["text"])


def texts_of(reply: Json) -> list[str]:
    """What a reply shows: its blocks, or its text if it has none."""
    texts = [block["text"]["text"] for block in reply.get("blocks", []) if block["type"] == "section"] or [reply["text"]]
    return [html.unescape(text) for text in texts]


# A rollback of the rollback -------------------------------------------------------------------------------------------


async def test_what_the_bot_rolled_back_to_is_restarted_and_not_rolled_back_again(incident: Incident) -> None:
    await bad_deploy(incident)
    run = await incident.approved("alice", "bob")
    assert await incident.ended(run) == "Done"
    heading = "Roll service control-plane back to control-plane:7 (instead of the requested control-plane restart)"
    assert header(incident, run) == f"✅ Done: {heading}"
    assert f"*{run}* {heading} (`/dr {RESTART}`): done" in await incident.type("carol", "runs")
    assert heading in await incident.type("carol", f"show {run}")
    assert heading in (await incident.dr("runs"))[1]
    incident.world.ecs.scheduler.rules = Rules()

    with bad_gateway(incident.world):
        again = await incident.plan("alice")
        assert header(incident, again) == "🔴 Approval needed: Restart service control-plane"
        assert "answered 502 in 3 of 3 tries" in incident.says(again)
        await incident.click("carol", again, "dr_reject")
        incident.world.aws_faults.put("access_denied", operation="ListServiceDeployments", times=None)
        from_memory = await incident.plan("alice")  # the bot knows what it did, also if ECS does not tell
        assert header(incident, from_memory) == "🔴 Approval needed: Restart service control-plane"
    assert incident.effects() == ONCE


# What works is not interrupted by mistake -------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "what"), [(RESTART, "a working control plane"), (FAILOVER, "a working database")])
async def test_a_plan_that_interrupts_what_works_says_so_in_its_button(incident: Incident, command: str, what: str) -> None:
    run = await incident.plan("alice", command)
    button = next(e for b in incident.card(run)["blocks"] if b["type"] == "actions" for e in b["elements"])
    assert (button["action_id"], button["text"]["text"], button["style"]) == (
        "dr_approve",
        f"Approve: interrupt {what}",
        "danger",
    )
    assert button["confirm"]["title"]["text"] == f"Interrupt {what}?"


async def test_a_database_that_came_back_before_the_approval_counted_is_not_interrupted(incident: Incident) -> None:
    await incident.world.database.hang_primary()
    run = await incident.plan("alice", FAILOVER)
    known = set(incident.ids())
    assert "interrupt" not in header(incident, run)
    await incident.world.database.heal()
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Not started"
    assert "This would now interrupt a working database." in incident.thread(run)[-1]
    assert incident.effects() == []
    again = await incident.new_plan(known)
    assert f"Plan {again} takes its place" in incident.thread(run)[-1]
    assert "Approve: interrupt a working database" in incident.says(again)


# Two requests -----------------------------------------------------------------------------------------------------------


async def test_two_people_who_ask_for_the_same_get_one_plan_and_the_second_may_approve_it(incident: Incident) -> None:
    before = set(incident.ids())
    await asyncio.gather(*(incident.slack.command(person, "incident", RESTART) for person in ("alice", "carol")))
    run = await incident.new_plan(before)
    await incident.quiet()
    assert set(incident.ids()) - before == {run}
    first, second = ("alice", "carol") if "asked for by <@U0ALICE>" in incident.says(run) else ("carol", "alice")
    said = incident.slack.ephemerals(second)[-1]["text"]
    assert said.startswith(f"<@U0{first.upper()}> asked for the same plan at ")
    assert f"it is plan {run}, on offer until " in said
    await incident.click(second, run, "dr_approve")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


async def test_a_plan_that_could_not_be_approved_gives_way_to_one_that_can(incident: Incident) -> None:
    incident.world.rds.single_az()
    known = set(incident.ids())
    await incident.type("alice", FAILOVER)
    forbidden = await until(lambda: next((i for i in incident.ids() if i not in known), None))
    assert incident.buttons(forbidden) == []
    await incident.type("alice", FAILOVER)
    newer = await until(lambda: next((i for i in incident.ids() if i not in (*known, forbidden)), None))
    await until(lambda: "superseded by a newer plan" in incident.says(forbidden))
    assert incident.buttons(newer) == []


async def test_an_old_plan_gives_way_to_the_same_with_newer_facts(incident: Incident) -> None:
    async with incident.settings("expiry_minutes = 15.0", "expiry_minutes = 0.1"):
        first = await incident.plan("alice")
        shown, known = incident.photo(first), set(incident.ids())
        await asyncio.sleep(3.2)
        await incident.type("carol", RESTART)
        second = await incident.new_plan(known)
        await until(lambda: incident.buttons(first) == [])
        said = await incident.stale_refused("bob", shown, "dr_approve")
        assert said == f"Plan {second} does the same with newer facts and has taken the place of plan {first}. Nothing was done."
    assert incident.effects() == []


# Whole commands -----------------------------------------------------------------------------------------------------------


async def test_a_command_too_long_for_its_message_is_whole_in_the_thread_before_it_can_be_approved(
    incident: Incident, sessions: list[str]
) -> None:
    known = set(incident.ids())
    incident.slack.faults.slow("chat.postMessage", 1.5, times=2)
    await incident.type("alice", f"{FAILOVER} idle_for=1")
    run = await until(lambda: next((i for i in incident.ids() if i not in known), None), 20)
    assert incident.buttons(run) == ["dr_reject"]
    value = next(e["value"] for b in incident.card(run)["blocks"] if b["type"] == "actions" for e in b["elements"])
    early = incident.photo(run)
    early["blocks"][-2]["elements"].insert(0, {"type": "button", "action_id": "dr_approve", "text": {}, "value": value})
    assert "isn't in the thread yet, so nobody can have read it" in await incident.stale_refused("bob", early, "dr_approve")

    await until(lambda: "dr_approve" in incident.buttons(run), 20)
    command = (await incident.story(run))["steps"][0]["command"]
    assert all(name.replace('"', r"\"") in command for name in sessions)
    shown = "\n".join(text for reply in incident.had_no_room(run) for text in texts_of(reply))
    parts = re.findall(r"\*Command of step 1\.1\*[^\n]*\n(`+)(.*?)\1(?!`)", shown, flags=re.DOTALL)
    assert command == "".join(part for _, part in parts)
    assert "(whole in the thread)" in incident.says(run)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    heading = f"End up to 50 idle sessions of {len(sessions)} applications (instead of the requested database failover)"
    assert header(incident, run) == f"✅ Done: {heading}"


# Authority ----------------------------------------------------------------------------------------------------------------

OVERRIDE = '\n[authority.scenario."control-plane rollback"]\nrequesters = ["U0BOB"]\napprovers = ["U0CAROL"]'


async def test_people_need_the_right_to_what_is_planned_as_well_as_to_what_was_asked(incident: Incident) -> None:
    async with incident.settings("expiry_minutes = 15.0", f"expiry_minutes = 15.0{OVERRIDE}"):
        await bad_deploy(incident)
        before = incident.ids()
        async with incident.told("alice", 2) as sentences:
            await incident.type("alice", RESTART)
        assert "The plan for `/dr control-plane restart` would be: Roll service control-plane back" in sentences[-1]
        assert "You can't ask for `/dr control-plane rollback`" in sentences[-1]
        assert incident.ids() == before
        run = await incident.plan("bob")
        assert "You're not an approver of `/dr control-plane rollback`. Ask <@U0CAROL>." in await incident.refused(
            "alice", run, "dr_approve"
        )
        assert incident.effects() == []
        await incident.click("carol", run, "dr_approve")
        assert await incident.ended(run) == "Done"
    incident.world.ecs.scheduler.rules = Rules()


async def test_who_may_not_ask_for_the_fallback_cannot_choose_it(incident: Incident) -> None:
    async with incident.settings("expiry_minutes = 15.0", f"expiry_minutes = 15.0{OVERRIDE}"):
        run = await incident.plan("alice")
        incident.world.aws_faults.put("access_denied", operation="UpdateService")
        await incident.click("carol", run, "dr_approve")
        await incident.waiting(run)
        assert "You can't ask for `/dr control-plane rollback`" in await incident.refused("alice", run, "dr_fallback")
        known = set(incident.ids())
        await incident.click("bob", run, "dr_fallback")
        fallback = await incident.new_plan(known)
        assert await incident.ended(run) == "Failed"
        assert f"needs its own approval: Plan {fallback}." in incident.thread(run)[-1]
