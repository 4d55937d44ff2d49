"""How a run ends: the sentence, the state, and its target is free again."""

from __future__ import annotations

import time
from typing import Any

import structlog

from actions.errors import UnknownStep
from actions.values import Result
from bot.engine.approved import Approved, name_steps
from bot.engine.health import Health
from bot.state.store import Store
from bot.state.story import Run

log = structlog.get_logger(__name__)


class Ends:
    """The ends of runs; each returns the end's name."""

    def __init__(self, store: Store, approved: Approved, health: Health) -> None:
        self.store = store
        self.approved = approved
        self.health = health

    async def end(self, run_id: str, state: str, says: str, mark: str) -> str:
        """End a run, or its main part if it has begun and a clean-up follows."""
        run = await self._run_with_cleanup(run_id)
        if run is None:
            await self._close(run_id, state, says, says, mark)
            return state
        if not run.main_end:  # the first word counts
            main_end, text = {"state": state, "says": says, "mark": mark}, f"{says} Now the clean-up, which follows every end."
            values: dict[str, Any] = {"state": "cleaning up", "says": says, "question": None, "main_end": main_end}
            await self.store.set_run(run_id, "main end", mark, text, **values)
            log.info("cleaning_up", run=run_id, state=state)
        return str(run.main_end["state"]) if run.main_end else state

    async def end_clean(self, run_id: str, error: str = "") -> str:
        """End a run after its clean-up: as its main part ended. `error` is a defect that the clean-up ran into."""
        story = await self.approved.story(run_id)
        assert story.run is not None, run_id
        main, states = story.run.main_end, {state.step: state.state for state in story.steps}
        cleaned = {step: states.get(step, "") for step, _ in story.offer.plan.steps() if story.offer.plan.is_cleanup(step)}
        says, is_clean = _describe_clean_up(cleaned, error)
        mark = main["mark"] if is_clean else "bad"
        await self._close(run_id, main["state"], f"{main['says']} {says}", f"{says} The run is over: {main['state']}.", mark)
        return str(main["state"])

    async def _close(self, run_id: str, state: str, says: str, text: str, mark: str) -> None:
        now = time.time()
        await self.health.last_look()  # so that the end says when the service answered again
        await self.store.set_run(run_id, "end", mark, text, release=True, state=state, says=says, ended=now, question=None)
        log.info("run_ended", run=run_id, state=state)

    async def _run_with_cleanup(self, run_id: str) -> Run | None:
        """The run if it has begun and its plan has a clean-up."""
        try:
            story = await self.approved.story(run_id)
        except UnknownStep:  # a plan that this version cannot carry out: it can only be closed
            return None
        begun = story.run is not None and story.run.state != "approved"
        return story.run if begun and story.offer.plan.cleanup else None

    async def end_well(self, run_id: str) -> str:
        """End a run that is complete; what a person skipped is not proven, and the end says so."""
        story = await self.approved.story(run_id)
        skips = [s.step for s in story.steps if s.state == "skipped"]
        minutes, seconds = divmod(int(time.time() - story.offer.requested_at), 60)
        took = f"{minutes} min {seconds} s after it was asked for"
        says = f"Every step is done and proven, {took}."
        if skips:
            were = "was skipped by a person and is" if len(skips) == 1 else "were skipped by a person and are"
            says = f"The run is complete, {took}. {name_steps(skips).capitalize()} {were} not proven."
        return await self.end(run_id, "done", says, "warn" if skips else "ok")

    async def end_stopped(self, run_id: str) -> str:
        """End a run that was told to stop before a stage."""
        return await self.end(run_id, "stopped", "The run was told to stop and has ended. No further step begins.", "warn")

    async def end_broken(self, run_id: str, error: str) -> str:
        """End a run that a defect keeps from going on."""
        says = f"{error} The run has ended. {what_stands('')} Read the thread, then plan again."
        return await self.end(run_id, "failed", says, "bad")


def _describe_clean_up(states: dict[str, str], error: str) -> tuple[str, bool]:
    """What the clean-up did, and whether all of it is done."""
    done = [step for step, state in states.items() if state in (Result.DONE, Result.ALREADY_DONE)]
    skipped = [step for step, state in states.items() if state == Result.SKIPPED]
    open_ = [step for step in states if step not in done and step not in skipped]
    says = [error] if error else []
    says += [f"The clean-up is done and proven ({name_steps(done)})."] if done else []
    says += [f"Left behind: a person skipped {name_steps(skipped)} of the clean-up."] if skipped else []
    says += [f"Left behind: {name_steps(open_)} of the clean-up did not happen. Look after it by hand."] if open_ else []
    return " ".join(says), not (skipped or open_)


def what_stands(reason: str) -> str:
    """What an end in the middle means for what was done before."""
    because = f" Reason: {reason}." if reason else ""
    return f"What was done before stays done. No further step begins.{because}"
