"""A step is carried out once: facts are on disk before the effect, and what may have happened is read back before it is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from actions.aws.call import AwsUnreachable
from actions.errors import Refused, Uncertain, Unreachable
from actions.site import Aws
from actions.step import Action
from actions.values import FOUND, Facts, Finding, Outcome, Proof, Result, Verdict, already_done, done, failed, ok
from actions.world import World
from bot import settings
from bot.engine.step_runner import Applied, StepRunner
from bot.state.database import open_engine
from bot.state.store import Store

ROOT = Path(__file__).parents[2]
RUN, STEP = "run", "1.1"


@dataclass(kw_only=True)
class Switch:
    """What a `Flip` turns on. `answer` is what the caller sees of it, `proof` what reading back shows, `unread` why it fails.

    `garbage` is what the first questions get in place of an answer, one after the other.
    """

    garbage: list[Exception] = field(default_factory=list)
    asked: int = 0
    flips: list[Facts] = field(default_factory=list)
    looks: int = 0
    proof: Verdict = Verdict.NOT_DONE
    answer: Exception | None = None
    unread: Exception | None = None
    receipt: Facts = field(default_factory=lambda: {"read": "back"})


@dataclass(frozen=True, kw_only=True)
class Flip(Action):
    """An action on a switch in this process, which counts what is done to it."""

    switch: Switch

    kind: ClassVar[str] = "switch.flip"
    title: ClassVar[str] = "Flip the switch"
    target: ClassVar[str] = "switch"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ()
    timeout: ClassVar[float] = 5.0
    settle: ClassVar[float] = 0.0
    plane: ClassVar[str] = "data"

    def command(self) -> str:
        return "flip"

    async def observe(self, world: World) -> Facts:
        self.switch.asked += 1
        if self.switch.unread:
            raise self.switch.unread
        if self.switch.garbage:
            raise self.switch.garbage.pop(0)
        self.switch.looks += 1
        return {"look": self.switch.looks}

    def precheck(self, facts: Facts) -> Finding:
        return ok("It may be flipped.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        self.switch.flips.append(facts)
        if self.switch.answer:
            raise self.switch.answer
        return {"flip": len(self.switch.flips)}

    async def applied(self, world: World, facts: Facts) -> Proof:
        if self.switch.unread:
            raise self.switch.unread
        return Proof(verdict=self.switch.proof, says=f"It is {self.switch.proof}.", receipt=self.switch.receipt)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        return done(f"It is on since look {facts['look']}, as {receipt} proves.")


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[StepRunner]:
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    aws = Aws(region="us-west-2", endpoints={"us-west-2": "http://127.0.0.1:1"}, speed=20)
    yield StepRunner(store, World(settings.load(ROOT / "dr.toml").model_copy(update={"aws": aws})))
    store.close()


async def carry_out(runner: StepRunner, switch: Switch, attempt: int = 1) -> Outcome:
    """One attempt at the step, its parts recorded between as the engine records them."""
    action = Flip(switch=switch)
    applied = await runner.act(RUN, STEP, attempt, action)
    return await runner.verify(action, Applied.from_json(applied.to_json()), runner.world)


async def cut_off(runner: StepRunner, switch: Switch) -> None:
    """An attempt whose process died with the intent on disk."""
    facts = await Flip(switch=switch).observe(runner.world)
    await runner.store.record_intent(RUN, STEP, 1, facts)


async def test_the_facts_are_on_disk_before_the_effect(runner: StepRunner, switch: Switch) -> None:
    assert await runner.store.first_facts(RUN, STEP) is None
    outcome = await carry_out(runner, switch)
    assert outcome == done("It is on since look 1, as {'flip': 1} proves.")
    assert switch.flips == [{"look": 1}]
    assert await runner.store.first_facts(RUN, STEP) == {"look": 1}


async def test_what_had_happened_before_a_crash_is_not_done_again_and_is_proven_by_the_facts_from_before_it(
    runner: StepRunner, switch: Switch
) -> None:
    await cut_off(runner, switch)
    switch.proof = Verdict.DONE
    outcome = await carry_out(runner, switch)
    assert outcome.result is Result.ALREADY_DONE
    assert outcome.says == "An earlier try had worked: It is done. It is on since look 1, as {'read': 'back'} proves."
    assert switch.flips == []


async def test_what_provably_had_not_happened_before_a_crash_is_done_once_with_the_recorded_facts(
    runner: StepRunner, switch: Switch
) -> None:
    await cut_off(runner, switch)
    assert (await carry_out(runner, switch)).result is Result.DONE
    assert switch.flips == [{"look": 1}]


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_change_in_doubt_is_not_repeated_not_even_by_a_retry(runner: StepRunner, switch: Switch, attempt: int) -> None:
    await cut_off(runner, switch)
    switch.proof = Verdict.UNKNOWN
    outcome = await carry_out(runner, switch, attempt)
    assert outcome.result is Result.UNKNOWN
    assert "I won't repeat it on my own" in outcome.says
    assert switch.flips == []


VOUCHED = "<@U0BOB> says that it happened: I see it."


async def test_what_a_person_vouches_for_is_not_sent_but_proven(runner: StepRunner, switch: Switch) -> None:
    await cut_off(runner, switch)
    switch.proof = Verdict.UNKNOWN
    action = Flip(switch=switch)
    applied = await runner.vouch(RUN, STEP, action, "U0BOB", "I see it")
    outcome = await runner.verify(action, Applied.from_json(applied.to_json()), runner.world)
    assert outcome == done(f"{VOUCHED} It is on since look 1, as {{'read': 'back'}} proves.")
    assert switch.flips == []


async def test_a_persons_word_does_not_count_against_a_proof(runner: StepRunner, switch: Switch) -> None:
    await cut_off(runner, switch)
    applied = await runner.vouch(RUN, STEP, Flip(switch=switch), "U0BOB", "I see it")
    assert applied.outcome == failed(f"{VOUCHED} But I read it back once more, and it did not: It is not done.")


async def test_what_was_never_attempted_cannot_be_vouched_for(runner: StepRunner, switch: Switch) -> None:
    applied = await runner.vouch(RUN, STEP, Flip(switch=switch), "U0BOB", "I see it")
    assert applied.outcome == failed(f"{VOUCHED} But nothing can have been sent: no attempt is on record.")


async def test_if_there_is_nothing_to_do_the_step_is_already_done(
    runner: StepRunner, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flip, "precheck", lambda *_: already_done("There is no switch."))
    assert await carry_out(runner, switch) == already_done("There is no switch.")
    assert switch.flips == []
    assert await runner.store.first_facts(RUN, STEP) is None


async def test_an_effect_whose_answer_is_lost_is_found_by_reading_back(runner: StepRunner, switch: Switch) -> None:
    switch.answer, switch.proof = Uncertain("No answer came."), Verdict.DONE
    outcome = await carry_out(runner, switch)
    assert outcome.result is Result.DONE
    assert outcome.says.startswith("No answer came. Reading back shows that it happened: It is done.")
    assert len(switch.flips) == 1


@pytest.mark.parametrize(("proof", "result"), [(Verdict.NOT_DONE, Result.FAILED), (Verdict.UNKNOWN, Result.UNKNOWN)])
async def test_a_lost_answer_without_an_effect_asks_a_person_and_sends_nothing_more(
    runner: StepRunner, switch: Switch, proof: Verdict, result: Result
) -> None:
    switch.answer, switch.proof = Uncertain("No answer came."), proof
    assert (await carry_out(runner, switch)).result is result
    assert len(switch.flips) == 1


async def test_a_retry_after_a_refusal_is_sent_with_the_facts_of_now(runner: StepRunner, switch: Switch) -> None:
    switch.answer = Refused("Access was denied.")
    assert await carry_out(runner, switch) == failed("Access was denied. Nothing changed.")
    switch.answer = None
    assert (await carry_out(runner, switch, attempt=2)).result is Result.DONE
    assert switch.flips == [{"look": 1}, {"look": 2}]


UNREAD = [
    (Unreachable("The switch did not answer."), "The switch did not answer."),
    (KeyError("level"), "Unexpected error: KeyError: 'level'."),
    (TimeoutError(), "There was no answer in time."),
]


@pytest.mark.parametrize(("unread", "says"), UNREAD)
async def test_if_reading_back_breaks_it_is_unknown_and_nothing_is_repeated(
    runner: StepRunner, switch: Switch, unread: Exception, says: str
) -> None:
    await cut_off(runner, switch)
    switch.unread = unread
    outcome = await carry_out(runner, switch)
    assert outcome.result is Result.UNKNOWN
    assert outcome.says == f"Reading back gave no answer: {says} I won't repeat it on my own."
    assert switch.flips == []


@pytest.mark.parametrize(("unread", "says"), UNREAD)
async def test_if_the_state_before_cannot_be_read_nothing_is_done_and_no_intent_is_written(
    runner: StepRunner, switch: Switch, unread: Exception, says: str, impatient: None
) -> None:
    switch.unread = unread
    outcome = await carry_out(runner, switch)
    assert outcome.result is Result.FAILED
    assert re.sub(r" I asked \d+ times in \d+ s\.", "", outcome.says) == (
        f"{says} Nothing was done, because the state before could not be read."
    )
    assert switch.flips == []
    assert await runner.store.first_facts(RUN, STEP) is None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's first questions are asked again for a tenth of its five seconds only."""
    monkeypatch.setattr("bot.engine.step_runner.ASKING_LEAST", 0.0)


async def test_a_question_without_an_answer_is_asked_again_before_the_step_fails(runner: StepRunner, switch: Switch) -> None:
    switch.garbage = [Unreachable("A page with HTTP 403 came back."), TimeoutError()]
    assert (await carry_out(runner, switch)).result is Result.DONE
    assert (switch.asked, len(switch.flips)) == (3, 1)


async def test_a_question_that_is_refused_for_good_is_not_asked_again(runner: StepRunner, switch: Switch) -> None:
    switch.unread = AwsUnreachable("RDS refused DescribeDBInstances: AccessDenied.", code="AccessDenied", final=True)
    outcome = await carry_out(runner, switch)
    assert outcome.says.startswith("RDS refused DescribeDBInstances: AccessDenied. Nothing was done")
    assert switch.asked == 1


async def test_a_defect_in_a_question_is_not_asked_again(runner: StepRunner, switch: Switch) -> None:
    switch.unread = KeyError("level")
    await carry_out(runner, switch)
    assert switch.asked == 1


async def test_a_goal_reached_before_is_not_credited_to_an_earlier_try(runner: StepRunner, switch: Switch) -> None:
    await cut_off(runner, switch)
    switch.proof, switch.receipt = Verdict.DONE, FOUND
    outcome = await carry_out(runner, switch)
    assert outcome.result is Result.ALREADY_DONE
    assert outcome.says == "It is on since look 1, as {'found': True} proves."
    assert switch.flips == []
