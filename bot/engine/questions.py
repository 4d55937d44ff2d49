"""What a run asks people when a stage failed, and what follows from the answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence

from actions.values import Json
from bot.choices import Question
from bot.engine.approved import Approved, name_steps
from bot.engine.ends import Ends, what_stands
from bot.engine.planner import Planner, plan_id
from bot.engine.running import Running
from bot.engine.step_runner import skipped
from bot.state.approvals import STOPPED
from bot.state.story import NOTE
from bot.state.timeline import tell
from commands.scenario import BadCommand

HOPELESS = r"crash|exit code|incompatible|image .* does not exist|AccessDenied"  # said by what fails the same way again
MOST = 320  # characters of what failed in a run's last word; the thread has all of it
Answer = Callable[[str, str, str, str, str], Awaitable[None]]  # hands run, question, choice, person and reason to the run


class Questions:
    """Asks, and carries out what was decided. Both are safe to repeat after a crash."""

    def __init__(self, approved: Approved, ends: Ends, planner: Planner, running: Running, answer: Answer) -> None:
        self.store = planner.store
        self.approved = approved
        self.ends = ends
        self.planner = planner
        self.running = running
        self.answer = answer

    async def ask(self, run_id: str, name: str, failed: list[str], doubtful: list[str]) -> str:
        """Ask what to do about the steps that are not done; the effects of the `doubtful` ones may have happened.

        Returns "", or the run's end if the plan proves something and a failure is the answer: then nobody is asked.
        """
        plan = await self.approved.plan(run_id)
        is_main, fallback = not plan.is_cleanup(failed[0]), plan.fallback
        if plan.withholds and is_main and not doubtful:
            return await self._withhold(run_id, plan.withholds, failed)
        offered = {
            "retry": True,
            "skip": not (plan.withholds and is_main),  # what was skipped isn't proven
            "happened": bool(doubtful),
            "fallback": bool(fallback) and is_main,
            "abort": is_main,  # a clean-up isn't given up in silence: skipping it takes a reason
        }
        choices = tuple(choice for choice, is_offered in offered.items() if is_offered)
        said = [state.says for state in (await self.approved.story(run_id)).steps if state.step in failed]
        best = recommend(choices, doubtful=bool(doubtful), again=not name.endswith("-1"), said=said)
        nonce = secrets.token_urlsafe(12)
        question = Question(run_id=run_id, name=name, nonce=nonce, choices=choices, steps=tuple(failed), recommended=best)
        says = f"{_what_failed(failed, doubtful)} {question.asks(fallback)}"
        stopped_by = await self.store.ask(run_id, question, says)
        if stopped_by:  # a stop that came before the question answers it
            await self.answer(run_id, name, "abort", stopped_by, STOPPED)
        return ""

    async def decide(self, run_id: str, name: str, failed: list[str], doubtful: list[str], decision: Json) -> str:
        """Carry out a person's decision; returns the run's end, or "" if it goes on."""
        choice, person, reason = decision["choice"], decision["person"], decision["reason"]
        if choice == "abort":
            by = f"<@{person}> ended the run" if person else "The run ended"
            return await self.ends.end(run_id, "aborted", f"{by} at {name_steps(failed)}. {what_stands(reason)}", "bad")
        if choice == "fallback":
            return await self._fall_back(run_id, failed, person)
        if choice == "skip":
            for step in failed:
                await self.store.end_step(run_id, step, 0, skipped(person, reason))
        says = {
            "retry": f"Trying {name_steps(failed)} again.",
            "skip": f"Going on without {name_steps(failed)}.",
            "happened": f"<@{person}> vouches for {name_steps(doubtful or failed)}. Going on to prove what it should lead to.",
        }[choice]
        run = (await self.approved.story(run_id)).run
        main_end = run.main_end if run else None
        state, last_word = ("cleaning up", main_end["says"]) if main_end else ("running", "")
        await self.store.set_run(run_id, f"{name}:on", NOTE, says, state=state, says=last_word, question=None)
        return ""

    async def remind(self, run_id: str, name: str, times: int) -> None:
        """Say that a question about the clean-up still waits."""
        says = "The clean-up still waits for your decision, and its target stays locked until then."
        await self.store.do(tell, run_id, f"{name}:remind{times}", "ask", says)

    async def _withhold(self, run_id: str, withholds: str, failed: list[str]) -> str:
        """End the run: what its plan was to prove isn't proven, and why."""
        said = {state.step: state.says for state in (await self.approved.story(run_id)).steps}
        why = " ".join(f"{name_steps([step]).capitalize()} failed: {said.get(step, '')}" for step in failed)
        why = why if len(why) <= MOST else f"{why[: MOST - 1]}…"
        return await self.ends.end(run_id, "failed", f"{withholds} {why}", "bad")

    async def _fall_back(self, run_id: str, failed: list[str], person: str) -> str:
        plan = await self.approved.plan(run_id)
        try:
            fallback = await self.planner.make_fallback(plan)
        except BadCommand as error:  # what it needs to know can't be read, such as the latest moment to restore to
            says = f"The fallback `/dr {plan.fallback}` can't be planned now: {error} Ended at {name_steps(failed)}."
            return await self.ends.end(run_id, "failed", f"{says} {what_stands('')}", "bad")
        self.running.go_on()
        standing = await self.planner.offer(plan_id(f"{run_id}/fallback"), fallback, person)
        as_plan = f"The fallback `/dr {plan.fallback}` needs its own approval: Plan {standing}."
        says = f"Ended at {name_steps(failed)}. {as_plan}"
        return await self.ends.end(run_id, "failed", says, "bad")


def recommend(choices: Sequence[str], *, doubtful: bool, again: bool, said: Sequence[str]) -> str:
    """The choice that the facts speak for; "" if they speak for none.

    A retry looks again first, so it's right for what is in doubt. What failed twice, or because what was started crashes, a
    retry does not cure: then the fallback does, if there is one.
    """
    if doubtful:
        return "retry"
    hopeless = again or any(re.search(HOPELESS, says, re.IGNORECASE) for says in said)
    wanted = ("fallback", "abort") if hopeless else ("retry",)
    return next((choice for choice in wanted if choice in choices), "")


def _what_failed(failed: list[str], doubtful: list[str]) -> str:
    sure = [step for step in failed if step not in doubtful]
    says = [f"{name_steps(sure)} failed"] if sure else []
    says += [f"we can't tell whether {name_steps(doubtful)} happened"] if doubtful else []
    said = ", and ".join(says)
    return f"{said[0].upper()}{said[1:]}."
