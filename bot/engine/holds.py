"""A Hold: evidence goes into the thread, and an approver answers Yes or No. Both are the same after a crash."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence

from actions.scrub import scrub
from actions.step import Hold
from actions.values import Finding, Json, Level, Outcome, Result, count, done
from bot.choices import Question
from bot.engine.approved import Approved, name_steps
from bot.engine.ends import Ends
from bot.engine.progress import Progress
from bot.engine.questions import Answer
from bot.engine.running import Running
from bot.engine.step_runner import LATE_SECONDS, StepRunner
from bot.slack.blocks import code, length
from bot.slack.layout import LONGEST_REPLY, split
from bot.slack.mrkdwn import inert
from bot.slack.plan_card import LEVELS
from bot.state.approvals import STOPPED, clock, decided_at
from bot.state.story import NOTE

YES = ("hold_yes", "hold_destroy")
AGAIN = "again"  # instead of an end: the evidence is gathered and the question asked again
WEIGHED = {Level.STOP: "against it", Level.WARN: "to be weighed", Level.OK: "for it"}


class Holds:
    """Asks for a Yes or No, and carries the answer out. Both are safe to repeat after a crash."""

    def __init__(
        self, approved: Approved, ends: Ends, runner: StepRunner, progress: Progress, running: Running, answer: Answer
    ) -> None:
        self.store = ends.store
        self.approved = approved
        self.ends = ends
        self.runner = runner
        self.progress = progress
        self.running = running
        self.answer = answer

    async def ask(self, run_id: str, name: str, step_id: str, attempt: int) -> None:
        """Gather the evidence, post it and ask, once."""
        story = await self.approved.story(run_id)
        asked = story.run is not None and story.run.question is not None and story.run.question.name == name  # before a crash
        stopped_by = story.run.stop_by if asked and story.run else await self._ask(run_id, name, step_id, attempt)
        if stopped_by:  # a stop that came before the question answers it
            await self.answer(run_id, name, "abort", stopped_by, STOPPED)

    async def _ask(self, run_id: str, name: str, step_id: str, attempt: int) -> str:
        hold = await self.approved.step(run_id, step_id)
        assert isinstance(hold, Hold), step_id
        async with self.progress.follow(run_id, step_id, attempt) as world:
            evidence, gathered = await self.runner.gather(hold, world)
        self.running.go_on()
        stops = [finding.says for finding in evidence if finding.level is Level.STOP]
        destroys, possible = gathered and hold.destroys(evidence), not stops or hold.yes_despite_stop
        offered = {"hold_yes": possible and not destroys, "hold_destroy": possible and destroys}
        offered |= {"retry": not gathered or (bool(stops) and hold.looks_again), "hold_no": True}
        choices = tuple(choice for choice, is_offered in offered.items() if is_offered)
        best = _recommend(choices, evidence)
        nonce = secrets.token_urlsafe(12)
        question = Question(run_id=run_id, name=name, nonce=nonce, choices=choices, steps=(step_id,), recommended=best)
        says = _question_text(step_id, hold, evidence, question)
        return await self.store.ask(run_id, question, says, list(replies(step_id, evidence)))

    async def decide(self, run_id: str, name: str, step_id: str, attempt: int, decision: Json) -> str:
        """Carry out the answer; returns the run's end, "" if it goes on, or `AGAIN`."""
        choice, person, reason = decision["choice"], decision["person"], decision["reason"]
        if choice not in (*YES, "retry"):
            return await self._end(run_id, step_id, attempt, person, reason, said_no=choice == "hold_no")
        late = await self._why_too_late(f"{run_id}/{name}") if choice in YES else ""
        if choice in YES and not late:
            await self.store.end_step(run_id, step_id, attempt, done(f"<@{person}> answered Yes."))
        says = late or ("Going on." if choice in YES else f"Gathering the evidence of step {step_id} again.")
        mark = "warn" if late else NOTE
        await self.store.set_run(run_id, f"{name}:on", mark, says, state="running", says="", question=None)
        return AGAIN if late or choice == "retry" else ""

    async def _end(self, run_id: str, step_id: str, attempt: int, person: str, reason: str, *, said_no: bool) -> str:
        because = f" Reason: {reason}." if reason else ""
        by = f"<@{person}>" if person else "Nobody"
        did = "answered No" if said_no else "ended the run" if person else "answered"
        says = f"{by} {did}.{because}"
        await self.store.end_step(run_id, step_id, attempt, Outcome(result=Result.DECLINED, says=says))
        story = await self.approved.story(run_id)
        stands = [state.step for state in story.steps if state.state in (Result.DONE, Result.ALREADY_DONE)]
        did_before = f"What was done before stays done ({name_steps(stands)})." if stands else "No step was done before."
        says = f"The run ended at step {step_id}: {by} {did}.{because} {did_before} No further step begins."
        return await self.ends.end(run_id, "aborted", says, "bad")

    async def _why_too_late(self, question: str) -> str:
        """Why a Yes is too old to act on; "" if it isn't. A bot that is running carries it out as soon as it is given."""
        at = await self.store.do(decided_at, question)
        if at is None or time.time() - at <= LATE_SECONDS:
            return ""
        return f"The Yes was given at {clock(at)}, and I've been away since: too long to act on it. I'll look and ask again."


def _recommend(choices: Sequence[str], evidence: Sequence[Finding]) -> str:
    """To look again if that is offered, Yes if everything speaks for it, No if something speaks against it; else none ("")."""
    if "retry" in choices:
        return "retry"
    levels = {finding.level for finding in evidence}
    best = "hold_no" if Level.STOP in levels else "hold_yes" if levels == {Level.OK} else ""
    return best if best in choices else ""


def replies(step_id: str, evidence: Sequence[Finding]) -> Iterator[str]:
    """The evidence as it stands in the thread: whole, and in as few messages as it fits into."""
    text = f"*Evidence for step {step_id}*"
    for line in (line for finding in evidence for line in _lines(finding)):
        if length(text) + 1 + length(line) > LONGEST_REPLY:
            yield text
            text = line
        else:
            text = f"{text}\n{line}"
    yield text


def _lines(finding: Finding) -> Iterator[str]:
    """A finding in lines of which each fits into a reply."""
    says, *more = list(split(inert(scrub(finding.says)))) or [""]
    yield f"{LEVELS[finding.level]} {says}"
    yield from (part for part in more if part.strip())
    # As code, because what servers say has underscores and asterisks that are no markup. Code takes signs of its own, so half.
    for part in split(scrub(finding.evidence), LONGEST_REPLY // 2):
        yield f"      {code(part)}"


def _question_text(step_id: str, hold: Hold, evidence: Sequence[Finding], question: Question) -> str:
    counts = {level: sum(finding.level is level for finding in evidence) for level in WEIGHED}
    weighed = ", ".join(f"{number} {WEIGHED[level]}" for level, number in counts.items() if number)
    against = [finding.says for finding in evidence if finding.level is Level.STOP]
    forbids = f" Yes is not offered, because: {inert(against[0])}" if against and not {*YES} & {*question.choices} else ""
    found = (
        f"The evidence is in the thread: {count(len(evidence), 'finding')} ({weighed})." if evidence else "There is no evidence."
    )
    return f"Step {step_id} asks: {hold.question} {found}{forbids} {question.explain('')}"
