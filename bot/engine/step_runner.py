"""How one step is carried out: observe, record, act once, read back, prove. Each part is safe to run again after a crash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog

from actions.errors import ActionError, Refused, Uncertain, Unreachable
from actions.scrub import unexpected
from actions.step import Action, Check, Hold, Step
from actions.values import FOUND, Facts, Finding, Level, Outcome, Proof, Result, Verdict, failed, stop, unknown
from actions.world import World
from bot.slack.mrkdwn import inert
from bot.state.approvals import clock
from bot.state.store import Store

log = structlog.get_logger(__name__)
T = TypeVar("T")
LATE_SECONDS = 5 * 60.0  # how long what people approved may wait for a bot that was away
ASKING_SHARE = 0.1  # of a step's time limit: how long its first questions are asked again before the step fails
ASKING_LEAST = 3.0  # local seconds of that: in a rehearsal, too, a proxy's trouble takes its time to pass
GRACE_SECONDS = 60.0  # local seconds beyond a step's own deadline, after which it is given up as a defect


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an effect came to: the facts and the receipt to verify it with, or an outcome that ends the step at once."""

    facts: Facts = field(default_factory=dict)
    receipt: Facts = field(default_factory=dict)
    says: str = ""
    again: bool = False
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        """As the engine records it."""
        return vars(self) | {"outcome": outcome_json(self.outcome) if self.outcome else None}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Applied:
        """The recorded one again."""
        return cls(**stored | {"outcome": outcome_from(stored["outcome"]) if stored["outcome"] else None})


class StepRunner:
    """Carries out single steps against the world; the engine above it decides which and when."""

    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world

    async def look(self, check: Check, world: World) -> Outcome:
        """Carry out a check. `world` is this one, or this one as it is followed."""
        return await self._with_deadline(check, check.look(world))

    async def act(self, run_id: str, step: str, attempt: int, action: Action) -> Applied:
        """Apply the effect once. What a crash or an earlier attempt may have done already is read back before anything is sent.

        Nothing is sent if the attempt began long ago, because the bot was away: an approval goes stale.
        """
        late = _why_too_late(await self.store.began(run_id, step, attempt))
        earlier = await self.store.first_facts(run_id, step)
        if earlier is not None:
            proof = await self.read_back(action, earlier)
            if proof.verdict is Verdict.DONE:
                says = "" if proof.receipt == FOUND else f"An earlier try had worked: {proof.says}"
                return Applied(facts=earlier, receipt=proof.receipt, says=says, again=True)
            if proof.verdict is Verdict.UNKNOWN:
                return Applied(outcome=unknown(f"{proof.says} I won't repeat it on my own."))
        if late:
            return Applied(outcome=failed(late))
        facts, outcome = await self.observe(action)
        if outcome:
            return Applied(outcome=outcome)
        return await self._send(action, await self.store.record_intent(run_id, step, attempt, facts))

    async def vouch(self, run_id: str, step: str, action: Action, person: str, reason: str) -> Applied:
        """Accept what a person vouches for: nothing is sent, and `verify` goes on from the facts before the effect.

        The world is asked once more. If it shows by now that nothing happened, that decides: the settle time is long over.
        """
        says = f"<@{person}> says that it happened: {reason}."
        facts = await self.store.first_facts(run_id, step)
        if facts is None:
            return Applied(outcome=failed(f"{says} But nothing can have been sent: no attempt is on record."))
        proof = await self._ask_for_proof(action, facts)
        if proof.verdict is Verdict.NOT_DONE:
            return Applied(outcome=failed(f"{says} But I read it back once more, and it did not: {proof.says}"))
        seen = f" Reading back shows it, too: {proof.says}" if proof.verdict is Verdict.DONE else ""
        return Applied(facts=facts, receipt=proof.receipt, says=f"{says}{seen}")

    async def observe(self, action: Action) -> tuple[Facts, Outcome | None]:
        """The facts before the effect, and an outcome if the step must not go on."""
        try:
            async with asyncio.timeout(self._patience(action)):
                facts = await self._ask(action, action.observe)
        except Exception as error:
            _log_defect(error, action)
            return {}, quoted(failed(f"{_sentence(error)} Nothing was done, because the state before could not be read."))
        finding = action.precheck(facts)
        if isinstance(finding, Outcome):
            return facts, quoted(finding)
        if finding.level is Level.STOP:
            return facts, quoted(failed(f"{finding.says} Nothing was done."))
        return facts, None

    async def gather(self, hold: Hold, world: World) -> tuple[tuple[Finding, ...], bool]:
        """The evidence for a person's answer, and whether it could be gathered."""
        try:
            async with asyncio.timeout(self._patience(hold)):
                return await self._ask(hold, lambda _: hold.evidence(world)), True
        except Exception as error:
            _log_defect(error, hold)
            return (stop(f"The evidence could not be gathered: {_sentence(error)}"),), False

    async def _ask(self, step: Step, question: Callable[[World], Awaitable[T]]) -> T:
        """The answer. A question that gets no answer is asked again, with growing pauses, for a tenth of its time limit."""
        asked, unanswered = 0, Unreachable("Nobody was asked.")
        async for passed in self.world.ticks(timeout=step.timeout * ASKING_SHARE, at_least=ASKING_LEAST):
            asked += 1
            try:
                return await question(self.world)
            except (Unreachable, TimeoutError) as error:
                if isinstance(error, Unreachable) and error.final:
                    raise
                unanswered = Unreachable(f"{_sentence(error)} I asked {asked} times in {passed:.0f} s.")
        raise unanswered

    async def verify(self, action: Action, applied: Applied, world: World) -> Outcome:
        """Follow the effect to its goal. `world` is this one, or this one as it is followed."""
        if applied.outcome:
            return applied.outcome
        outcome = await self._with_deadline(action, action.verify(world, applied.facts, applied.receipt))
        said = f"{applied.says} {outcome.says}".strip()
        if outcome.result is Result.DONE and applied.again:
            return Outcome(result=Result.ALREADY_DONE, says=said)
        return Outcome(result=outcome.result, says=said)

    async def read_back(self, action: Action, facts: Facts) -> Proof:
        """Ask the world for the effect until it shows or the settle time is over."""
        proof = Proof(verdict=Verdict.UNKNOWN, says="Nobody was asked yet.")
        async for _ in self.world.ticks(timeout=action.settle, every=2.0):
            proof = await self._ask_for_proof(action, facts)
            if proof.verdict is Verdict.DONE:
                break
        log.info("read_back", step=action.kind, verdict=proof.verdict, says=proof.says)
        return proof

    async def _ask_for_proof(self, action: Action, facts: Facts) -> Proof:
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                proof = await action.applied(self.world, facts)
                return replace(proof, says=inert(proof.says))
        except Exception as error:
            _log_defect(error, action)
            return Proof(verdict=Verdict.UNKNOWN, says=f"Reading back gave no answer: {_sentence(error)}")

    async def _send(self, action: Action, facts: Facts) -> Applied:
        try:
            return Applied(facts=facts, receipt=await action.apply(self.world, facts))
        except Refused as error:
            return Applied(outcome=quoted(failed(f"{error} Nothing changed.")))
        except Uncertain as error:
            lost = inert(str(error))
        except Exception as error:  # we can't tell, so it is read back like a lost answer
            _log_defect(error, action)
            lost = inert(_sentence(error))
        proof = await self.read_back(action, facts)
        if proof.verdict is Verdict.DONE:
            says = f"{lost} Reading back shows that it happened: {proof.says}"
            return Applied(facts=facts, receipt=proof.receipt, says=says)
        if proof.verdict is Verdict.NOT_DONE:
            return Applied(outcome=failed(f"{lost} I read it back. {proof.says}"))
        return Applied(outcome=unknown(f"{lost} We can't tell yet whether it happened: {proof.says}"))

    async def _with_deadline(self, step: Step, looking: Any) -> Outcome:
        try:
            async with asyncio.timeout(self._patience(step)):
                outcome: Outcome = await looking
                return quoted(outcome)
        except Exception as error:
            _log_defect(error, step)
            return quoted(failed(f"{step.title}: {_sentence(error)}"))

    def _patience(self, step: Step) -> float:
        return self.world.local(step.timeout) + GRACE_SECONDS


def quoted(outcome: Outcome) -> Outcome:
    """An outcome whose words came from elsewhere, with any mention in them made plain text."""
    return Outcome(result=outcome.result, says=inert(outcome.says))


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """An `Outcome` as the engine records it."""
    return {"result": outcome.result.value, "says": outcome.says}


def outcome_from(stored: dict[str, Any]) -> Outcome:
    """The recorded `Outcome` again."""
    return Outcome(result=Result(stored["result"]), says=stored["says"])


def skipped(person: str, reason: str) -> Outcome:
    """The outcome of a step that a person skipped."""
    return Outcome(result=Result.SKIPPED, says=f"<@{person}> skipped it. Reason: {reason or 'none given'}.")


def _why_too_late(began: float | None) -> str:
    """Why an attempt may no longer send anything; "" if it may. In a process that keeps running it acts as soon as it begins."""
    if began is None or time.time() - began <= LATE_SECONDS:
        return ""
    return (
        f"This began at {clock(began)}, more than {LATE_SECONDS / 60:.0f} min ago, and I've been away since. Nothing was done, "
        "and I don't act on an approval that old: press Retry to do it now."
    )


def _log_defect(error: Exception, step: Step) -> None:
    """Log an error that no step should raise; a defect in one must not end the run, nor hide what happened."""
    if not isinstance(error, (ActionError, TimeoutError)):
        log.error("step_broke", step=step.kind, exc_info=error)


def _sentence(error: Exception) -> str:
    if isinstance(error, ActionError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "There was no answer in time."
    return unexpected(error)
