"""The bot's memory on both databases it may have: what is written once is written once, whoever writes it again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text, update

from actions.aws.ecs import ForceNewDeployment
from actions.values import done, failed, stop
from bot.choices import Question
from bot.settings import BadSettings
from bot.state import approvals
from bot.state.approvals import Click
from bot.state.database import open_engine
from bot.state.plans import add_plan
from bot.state.store import Item, Refusal, Store, record_items
from bot.state.tables import NEW_COLUMNS, outbox, steps
from commands.plan import Plan
from rehearsal.postgres.pair import ServerPair

STEP = ForceNewDeployment(cluster="shielda", service="control-plane", region="us-west-2")
PLAN = Plan(
    scenario="control-plane restart",
    arguments={},
    why="It hangs.",
    target=STEP.target,
    stages=((STEP,),),
    basis={"desired_count": 1},
    fallback="control-plane rollback",
)


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, work_dirs: Path, database: ServerPair) -> AsyncIterator[Store]:
    """A store on either kind of database."""
    urls = {"sqlite": f"sqlite:///{work_dirs / 'state.sqlite'}", "postgresql": database.url("postgres")}
    store = Store(await asyncio.to_thread(open_engine, urls[request.param]))
    yield store
    await asyncio.to_thread(store.close)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> str:
    """An id that no other test uses."""
    return f"{abs(hash(request.node.name)) % 10**8:08d}"


async def offer(store: Store, run: str, *, plan: Plan = PLAN, expires: float | None = None) -> Click:
    """Store a plan as Alice asked for it; returns what its button carries."""
    row = {
        "id": run,
        "scenario": plan.scenario,
        "target": f"{plan.target} {run}",
        "plan": plan.to_json(),
        "digest": plan.digest,
        "nonce": "nonce",
        "requested_by": "U0ALICE",
        "requested_at": time.time(),
        "expires": expires or time.time() + 60,
        "status": "offered",
        "closed_by": "",
        "changes": [],
        "channel": "C0",
    }
    assert await store.do(add_plan, row)
    assert not await store.do(add_plan, row)
    return Click(run_id=run, question="plan", nonce="nonce")


async def test_a_click_that_is_delivered_twice_is_recorded_once(store: Store, run: str) -> None:
    item = Item(id=f"click/{run}", kind="click", person="U0BOB", channel="C0", payload={"value": "x"})
    assert await store.do(record_items, [item, item]) == [True, False]
    assert await store.do(record_items, [item]) == [False]
    assert [i.id for i in await store.unhandled()].count(item.id) == 1
    await store.handled(item)
    assert item.id not in [i.id for i in await store.unhandled()]


async def test_an_attempt_keeps_the_facts_that_it_wrote_first_and_a_step_those_of_its_first_attempt(
    store: Store, run: str
) -> None:
    assert await store.first_facts(run, "1.1") is None
    assert await store.record_intent(run, "1.1", 1, {"deployments": ["a"]}) == {"deployments": ["a"]}
    assert await store.record_intent(run, "1.1", 1, {"deployments": ["b"]}) == {"deployments": ["a"]}
    assert await store.record_intent(run, "1.1", 2, {"deployments": ["c"]}) == {"deployments": ["c"]}
    assert await store.first_facts(run, "1.1") == {"deployments": ["a"]}


async def test_ten_approvals_at_once_begin_one_run(store: Store, run: str) -> None:
    click = await offer(store, run)
    answers = await asyncio.gather(*(store.do(approvals.approve, click, "U0BOB", 1) for _ in range(10)), return_exceptions=True)
    assert answers.count(True) == 1
    refusals = [str(a) for a in answers if isinstance(a, Refusal)]
    assert len(refusals) == 9
    assert all("approved already by <@U0BOB> at " in says for says in refusals)
    story = await store.story(run)
    assert story
    assert story.run
    assert story.run.state == "approved"
    assert story.offer.approved_by == ("U0BOB",)
    assert run in await store.unfinished()
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done")
    assert run not in await store.unfinished()


async def test_the_same_person_counts_once_if_two_approvals_are_needed(store: Store, run: str) -> None:
    click = await offer(store, run)
    assert not await store.do(approvals.approve, click, "U0BOB", 2)
    with pytest.raises(Refusal, match="it still needs another person's approval"):
        await store.do(approvals.approve, click, "U0BOB", 2)
    assert await store.do(approvals.approve, click, "U0CAROL", 2)
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done")


async def test_a_refused_approval_leaves_nothing_behind(store: Store, run: str) -> None:
    click = await offer(store, run, expires=time.time() - 1)
    with pytest.raises(Refusal, match="expired at"):
        await store.do(approvals.approve, click, "U0BOB", 1)
    story = await store.story(run)
    assert story
    assert story.run is None
    assert story.offer.approved_by == ()
    assert story.timeline == ()


async def test_a_plan_with_a_stop_finding_is_never_approved(store: Store, run: str) -> None:
    forbidden = Plan(**{**vars(PLAN), "findings": (stop("There is no standby."),)})
    click = await offer(store, run, plan=forbidden)
    with pytest.raises(Refusal, match="cannot be approved: There is no standby"):
        await store.do(approvals.approve, click, "U0BOB", 1)


async def test_a_line_is_told_once_and_the_timeline_keeps_its_order(store: Store, run: str) -> None:
    click = await offer(store, run)
    await store.do(approvals.approve, click, "U0BOB", 1)
    for _ in range(2):
        assert await store.begin_steps(run, {"1.1": "Restart"}, 1)
    for outcome in (done("It runs."), failed("It runs no more.")):  # the second is what a resumed process might see
        assert await store.end_step(run, "1.1", 1, outcome) == done("It runs.")
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done")
    story = await store.story(run)
    assert story
    lines = [line.text for line in story.timeline]
    assert lines[1:] == ["Step 1.1: Restart.", "Step 1.1 done: It runs.", "Over."]


async def ask(store: Store, run: str) -> Click:
    """Begin the run and let it ask; returns what the buttons of the question carry."""
    await store.do(approvals.approve, await offer(store, run), "U0BOB", 1)
    assert await store.ask(run, question_of(run, "n2"), "What now?") == ""
    return Click(run_id=run, question="stage1-1", nonce="n2")


def question_of(run: str, nonce: str, choices: tuple[str, ...] = ("retry", "abort")) -> Question:
    return Question(run_id=run, name="stage1-1", nonce=nonce, choices=choices, steps=("1.1",))


async def test_a_question_that_is_asked_again_after_a_crash_keeps_its_buttons(store: Store, run: str) -> None:
    asked = await ask(store, run)
    await store.ask(run, question_of(run, "another"), "What now?")
    await store.do(approvals.answer, asked, "U0CAROL", "retry", "")
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done", question=None)


async def test_a_stop_answers_the_open_question_for_good(store: Store, run: str) -> None:
    asked = await ask(store, run)
    assert await store.do(approvals.ask_to_stop, run, "U0CAROL") == "stage1-1"
    with pytest.raises(Refusal, match=r"<@U0CAROL> answered it at .*: abort"):
        await store.do(approvals.answer, asked, "U0BOB", "retry", "")
    await store.set_run(run, "end", "ok", "Over.", release=True, state="aborted", question=None)


async def test_a_stop_after_an_answer_leaves_the_answer_as_it_is(store: Store, run: str) -> None:
    await store.do(approvals.answer, await ask(store, run), "U0BOB", "retry", "")
    assert await store.do(approvals.ask_to_stop, run, "U0CAROL") == ""
    assert await store.ask(run, question_of(run, "n2"), "What now?") == "U0CAROL"
    await store.set_run(run, "end", "ok", "Over.", release=True, state="stopped", question=None)


async def test_a_question_takes_one_answer_and_names_who_gave_it(store: Store, run: str) -> None:
    asked = await ask(store, run)
    await store.do(approvals.answer, asked, "U0CAROL", "retry", "")
    with pytest.raises(Refusal, match=r"<@U0CAROL> answered it at .*: retry"):
        await store.do(approvals.answer, asked, "U0BOB", "abort", "")
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done", question=None)


async def test_a_stage_that_had_begun_before_a_stop_is_carried_out(store: Store, run: str) -> None:
    click = await offer(store, run)
    await store.do(approvals.approve, click, "U0BOB", 1)
    assert await store.begin_steps(run, {"1.1": "Restart", "1.2": "Look"}, 1)
    await store.do(approvals.ask_to_stop, run, "U0CAROL")
    assert await store.begin_steps(run, {"1.1": "Restart", "1.2": "Look"}, 1)
    assert not await store.begin_steps(run, {"1.2": "Look"}, 2)
    await store.set_run(run, "end", "ok", "Over.", release=True, state="stopped")


async def test_no_step_begins_after_a_stop(store: Store, run: str) -> None:
    click = await offer(store, run)
    await store.do(approvals.approve, click, "U0BOB", 1)
    await store.do(approvals.ask_to_stop, run, "U0CAROL")
    assert not await store.begin_steps(run, {"1.1": "Restart"}, 1)
    with pytest.raises(Refusal, match="<@U0CAROL> has already told run"):
        await store.do(approvals.ask_to_stop, run, "U0BOB")
    await store.set_run(run, "end", "ok", "Over.", release=True, state="stopped")
    with pytest.raises(Refusal, match="is over: stopped"):
        await store.do(approvals.ask_to_stop, run, "U0BOB")


async def test_a_yes_counts_only_once_the_evidence_is_in_the_thread(store: Store, run: str) -> None:
    await store.do(approvals.approve, await offer(store, run), "U0BOB", 1)
    await store.ask(run, question_of(run, "n3", ("hold_yes", "hold_no")), "Is it good?", ["It is.", "It really is."])
    click = Click(run_id=run, question="stage1-1", nonce="n3")
    with pytest.raises(Refusal, match="A part of the evidence isn't in the thread yet"):
        await store.do(approvals.answer, click, "U0BOB", "hold_yes", "")
    await store.do(lambda c: c.execute(update(outbox).where(outbox.c.run_id == run).values(ts="1.1")))
    await store.do(approvals.answer, click, "U0BOB", "hold_yes", "")
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done", question=None)


async def test_a_cleanup_begins_after_a_stop_and_cannot_be_stopped(store: Store, run: str) -> None:
    await store.do(approvals.approve, await offer(store, run), "U0BOB", 1)
    await store.do(approvals.ask_to_stop, run, "U0CAROL")
    main_end = {"state": "stopped", "says": "It was stopped.", "mark": "warn"}
    await store.set_run(run, "main end", "warn", "It was stopped.", state="cleaning up", main_end=main_end)
    assert await store.begin_steps(run, {"2.1": "Drop"}, 1)
    assert await store.ask(run, question_of(run, "n4"), "What now?") == ""
    with pytest.raises(Refusal, match=r"has ended \(stopped\) and is cleaning up"):
        await store.do(approvals.ask_to_stop, run, "U0BOB")
    assert await store.cleaning_up(run)
    await store.set_run(run, "end", "warn", "Over.", release=True, state="stopped", question=None)
    assert not await store.cleaning_up(run)


async def test_progress_stands_only_while_its_attempt_is_under_way(store: Store, run: str) -> None:
    await store.do(approvals.approve, await offer(store, run), "U0BOB", 1)
    await store.begin_steps(run, {"1.1": "Restart"}, 1)
    await store.progress(run, "1.1", 1, "1 of 2 tasks")
    await store.progress(run, "1.1", 2, "of another attempt")
    story = await store.story(run)
    assert story is not None
    assert [state.progress for state in story.steps] == ["1 of 2 tasks"]
    await store.end_step(run, "1.1", 1, done("It runs."))
    await store.progress(run, "1.1", 1, "too late")
    assert "too late" not in str(await store.story(run))
    await store.set_run(run, "end", "ok", "Over.", release=True, state="done")


async def test_each_attempt_at_a_step_has_its_own_beginning(store: Store, run: str) -> None:
    await store.do(approvals.approve, await offer(store, run), "U0BOB", 1)
    assert await store.began(run, "1.1", 1) is None
    await store.begin_steps(run, {"1.1": "Restart"}, 1)
    await store.do(lambda c: c.execute(update(steps).where(steps.c.run_id == run).values(began=100.0, attempt_began=100.0)))
    await store.begin_steps(run, {"1.1": "Restart"}, 2)
    second = await store.began(run, "1.1", 2)
    assert second is not None
    assert second > time.time() - 60
    assert await store.began(run, "1.1", 1) is None  # it's over


async def test_an_attempt_that_an_earlier_version_began_counts_as_old_as_its_step(store: Store, run: str) -> None:
    await store.do(approvals.approve, await offer(store, run), "U0BOB", 1)
    await store.begin_steps(run, {"1.1": "Restart"}, 1)
    await store.do(lambda c: c.execute(update(steps).where(steps.c.run_id == run).values(began=100.0, attempt_began=None)))
    assert await store.began(run, "1.1", 1) == 100.0


def test_a_state_of_an_earlier_version_gets_the_new_columns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    engine = open_engine(url)
    with engine.begin() as connection:
        for column in NEW_COLUMNS:
            connection.execute(text(f"ALTER TABLE {column.table.name} DROP COLUMN {column.name}"))
    engine.dispose()
    again = open_engine(url)
    for column in NEW_COLUMNS:
        assert column.name in {there["name"] for there in inspect(again).get_columns(column.table.name)}
    again.dispose()


def test_a_database_that_does_not_open_is_one_line_without_its_password() -> None:
    with pytest.raises(BadSettings, match="can't be opened") as raised:
        open_engine("postgresql://dr:geheim@127.0.0.1:1/dr")
    assert "geheim" not in str(raised.value)
