"""The plans that runs carry out. An approved plan does not change, so each is read once."""

from __future__ import annotations

from actions.step import Step
from bot.state.store import Store
from bot.state.story import Story
from commands.plan import Plan


class Approved:
    """Approved plans, by the id of their run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plans: dict[str, Plan] = {}

    async def story(self, run_id: str) -> Story:
        """The run's story as it is now."""
        story = await self._store.story(run_id)
        assert story is not None, run_id
        return story

    async def plan(self, run_id: str) -> Plan:
        """The plan that the run carries out."""
        if run_id not in self._plans:
            self._plans[run_id] = (await self.story(run_id)).offer.plan
        return self._plans[run_id]

    async def is_cleanup(self, run_id: str, step_id: str) -> bool:
        """Whether a step belongs to the clean-up of its run."""
        return (await self.plan(run_id)).is_cleanup(step_id)

    async def step(self, run_id: str, step_id: str) -> Step:
        """One of its steps, such as "2.1"."""
        return dict((await self.plan(run_id)).steps())[step_id]


def name_steps(names: list[str]) -> str:
    """The steps as a person says them: "step 1.1", "steps 2.1 and 2.2"."""
    *others, last = names
    return f"steps {', '.join(others)} and {last}" if others else f"step {last}"
