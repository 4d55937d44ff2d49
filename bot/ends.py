"""How a run ends: the sentence, the state, and its target is free again."""

from __future__ import annotations

import time

import structlog

from bot.approved import Approved, name_steps
from bot.store import Store

log = structlog.get_logger(__name__)


class Ends:
    """The ends of runs; each returns the end's name."""

    def __init__(self, store: Store, approved: Approved) -> None:
        self.store = store
        self.approved = approved

    async def end(self, run_id: str, state: str, says: str, mark: str) -> str:
        """End a run."""
        now = time.time()
        await self.store.set_run(run_id, "end", mark, says, release=True, state=state, says=says, ended=now, question=None)
        log.info("run_ended", run=run_id, state=state)
        return state

    async def end_well(self, run_id: str) -> str:
        """End a run that is through; what a person skipped is not proven, and is said."""
        story = await self.approved.story(run_id)
        skips = [s.step for s in story.steps if s.state == "skipped"]
        minutes, seconds = divmod(int(time.time() - story.offer.requested_at), 60)
        took = f"{minutes} min {seconds} s after it was asked for"
        says = f"Every step is done and proven, {took}."
        if skips:
            were = "was skipped by a person and is" if len(skips) == 1 else "were skipped by a person and are"
            says = f"The run is through, {took}. {name_steps(skips).capitalize()} {were} not proven."
        return await self.end(run_id, "done", says, "warn" if skips else "ok")

    async def end_stopped(self, run_id: str) -> str:
        """End a run that was told to stop before a stage."""
        return await self.end(run_id, "stopped", "The run was told to stop and has ended. No further step begins.", "warn")

    async def end_broken(self, run_id: str, error: str) -> str:
        """End a run that a defect keeps from going on."""
        says = f"{error} The run has ended. {what_stands('')} Read the thread, then plan again."
        return await self.end(run_id, "failed", says, "bad")


def what_stands(reason: str) -> str:
    """What an end in the middle means for what was done before."""
    because = f" Reason: {reason}." if reason else ""
    return f"What was done before stays done. Nothing more is done.{because}"
