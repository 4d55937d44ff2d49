"""Every change to AWS meets every answer that AWS, a proxy or a cut connection can give: what the bot says of it is true.

The operations come from the registry of steps, so a new action is swept as soon as it is there. The rehearsal's journal is
the judge: it tells whether the effect was had, and how often. Of the pages each action meets a few, chosen by its name, and
every page meets some action; `--every-point` lets each action meet all of them.
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from actions.aws.gateway import PROFILES, Gateway
from actions.step import Action, Step
from actions.values import Result
from actions.world import World
from bot.engine import step_runner
from rehearsal.aws.faults import Faults
from rehearsal.aws.garbled import PAGES
from rehearsal.postgres.pair import ServerPair
from tests import catalogue
from tests.world.action_examples import BUILDERS
from tests.world.aws_world import until
from tests.world.fast_aws import Rig, fast_aws

assert catalogue  # importing it registers every step
KINDS = sorted(kind for kind, cls in Step.registry.items() if issubclass(cls, Action) and hasattr(cls, "call"))
READING_BACK = ("Describe*", "List*")
READS = (*READING_BACK, "Get*")
A_FEW = 3  # pages that an action meets of each kind of fault, unless it meets all


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault around the one request, and what must be said of it: done or failed, with these words."""

    fault: str
    says: str
    done: bool = False
    times: int | None = 1
    sent: int = 1
    page: str = "html_403"

    @property
    def name(self) -> str:
        return f"{self.fault}-{self.page if 'garbled' in self.fault else self.times}"

    def put(self, faults: Faults, operation: str) -> None:
        faults.put(self.fault, operation=operation, times=self.times, page=self.page)  # type: ignore[arg-type]


LOST = "answer was lost: "
CASES = [
    Case(fault="access_denied", says=" refused "),
    Case(fault="throttle", says=" refused ", times=None, sent=5),
    Case(fault="throttle", says="", times=2, sent=3, done=True),
    Case(fault="error500", says="answered with an error of its own: InternalFailure"),
    Case(fault="after_500", says="answered with an error of its own: InternalFailure", done=True),
    Case(fault="drop", says=f"{LOST}the connection broke off"),
    Case(fault="after_drop", says=f"{LOST}the connection broke off", done=True),
    Case(fault="hang", says=f"{LOST}nothing came back in time"),
    Case(fault="after_hang", says=f"{LOST}nothing came back in time", done=True),
    *(Case(fault="garbled", page=page, says=LOST) for page in PAGES),
    *(Case(fault="after_garbled", page=page, says=LOST, done=True) for page in PAGES),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each kind with each case; of the pages each kind has a few of its own."""
    if "case" not in metafunc.fixturenames:
        return
    every = metafunc.config.getoption("--every-point")
    pairs = [(kind, case) for kind in KINDS for case in CASES if every or case in few(kind)]
    metafunc.parametrize(("kind", "case"), pairs, ids=[f"{case.name}-{kind}" for kind, case in pairs])


def few(kind: str) -> list[Case]:
    """The cases that an action meets in every test run: those without a page, and a few pages chosen by its name."""
    chosen = random.Random(kind)
    before, after = (chosen.sample(sorted(PAGES), A_FEW) for _ in range(2))
    pages = {"garbled": before, "after_garbled": after}
    return [case for case in CASES if case.page in pages.get(case.fault, [case.page])]


@pytest.fixture(scope="module")
async def shared(work_dirs: Path, servers: ServerPair) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "sweep.sqlite", servers=servers) as rig:
        yield rig


@contextlib.asynccontextmanager
async def impatience(world: World) -> AsyncIterator[None]:
    """Changes are waited for half a second only."""
    patient = world.aws
    profiles = {**PROFILES, "change": PROFILES["change"].merge(Config(read_timeout=0.5))}
    world.__dict__["aws"] = Gateway(world.site.aws, profiles=profiles)  # `aws` is a cached property
    yield
    await world.aws.close()
    world.__dict__["aws"] = patient


@pytest.fixture
async def sweep(shared: Rig) -> Rig:
    await shared.ready()
    return shared


async def example(sweep: Rig, kind: str) -> Any:
    """The action, ready to be carried out; the questions it took to make it are forgotten."""
    action = await BUILDERS[kind](sweep)
    sweep.rehearsal.journal.clear()
    return action


def test_the_sweep_has_every_operation_the_product_changes_with() -> None:
    assert sorted(BUILDERS) == KINDS, "an action has no example in action_examples.py"
    assert {Step.registry[kind].__module__.rpartition(".")[0] for kind in KINDS} == {"actions.aws"}
    assert len(PAGES) >= 12
    assert {case.page for kind in KINDS for case in few(kind) if "garbled" in case.fault} == set(PAGES)


async def test_what_is_said_of_a_change_is_true(sweep: Rig, kind: str, case: Case) -> None:
    action = await example(sweep, kind)
    operation = action.call.operation
    case.put(sweep.rehearsal.faults, operation)
    async with impatience(sweep.runner.world) if "hang" in case.fault else contextlib.nullcontext():
        outcome = await sweep.carry_out(action)
    assert sweep.effects(operation) == int(case.done), outcome.says
    assert case.says in outcome.says
    assert outcome.result is (Result.DONE if case.done else Result.FAILED), outcome.says
    assert ("Nothing changed" in outcome.says) is not case.done, outcome.says

    async def all_recorded() -> bool:  # a call that hung is recorded when its connection is gone
        return len(sweep.rehearsal.journal.calls(operation=operation)) >= case.sent

    await until(all_recorded, 5)
    assert len(sweep.rehearsal.journal.calls(operation=operation)) == case.sent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["garbled", "after_garbled"])
async def test_nobody_claims_anything_if_reading_back_is_impossible_too(sweep: Rig, kind: str, fault: Any) -> None:
    action = await example(sweep, kind)
    facts, outcome = await sweep.runner.observe(action)
    assert outcome is None
    sweep.rehearsal.faults.put(fault, operation=action.call.operation, times=None)
    for operation in READING_BACK:
        sweep.rehearsal.faults.put("garbled", operation=operation, times=None)
    applied = await sweep.runner._send(action, facts)
    assert applied.outcome
    assert applied.outcome.result is Result.UNKNOWN, applied.outcome.says
    assert "We can't tell yet whether it happened" in applied.outcome.says
    assert "Nothing changed" not in applied.outcome.says


@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_asks_again_if_its_first_questions_get_garbage(sweep: Rig, kind: str) -> None:
    page = ("html_403", "html_200", "cut", "emptied")[KINDS.index(kind) % 4]
    action = await example(sweep, kind)
    for operation in READS:
        sweep.rehearsal.faults.put("garbled", operation=operation, times=5, page=page)
    outcome = await sweep.carry_out(action)
    assert outcome.result is Result.DONE, outcome.says


@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_that_never_gets_an_answer_fails_and_says_how_long_it_asked(
    sweep: Rig, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_runner, "ASKING_LEAST", 0.2)
    action = await example(sweep, kind)
    for operation in READS:
        sweep.rehearsal.faults.put("garbled", operation=operation, times=None)
    outcome = await sweep.carry_out(action)
    assert outcome.result is Result.FAILED
    assert " did not answer " in outcome.says
    assert re.search(r"I asked \d+ times in \d+ s\.", outcome.says)
    assert "Nothing was done" in outcome.says


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_of_a_question_by_aws_is_final(sweep: Rig, kind: str) -> None:
    action = await example(sweep, kind)
    for operation in READS:
        sweep.rehearsal.faults.put("access_denied", operation=operation, times=None)
    outcome = await sweep.carry_out(action)
    assert outcome.result is Result.FAILED
    assert re.search(r" refused (Describe|List|Get)", outcome.says)
    assert "I asked" not in outcome.says
    assert "Nothing was done" in outcome.says


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
async def test_a_bot_that_died_around_its_request_has_one_effect(sweep: Rig, kind: str, sent: bool) -> None:
    action, run = await example(sweep, kind), f"died-{kind}-{sent}"
    await sweep.die_after(action, sent=sent, run=run)
    outcome = await sweep.carry_out(action, run=run)
    assert sweep.effects(action.call.operation) == 1, outcome.says
    assert outcome.result is (Result.ALREADY_DONE if sent else Result.DONE), outcome.says
