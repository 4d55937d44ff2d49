"""Following something that AWS does slowly: look until it's over, survive unanswered questions, say how far it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from actions.errors import Unreachable
from actions.values import Outcome, failed

if TYPE_CHECKING:
    from actions.world import World

Look = Callable[[float], Awaitable[Outcome | str]]


async def follow(world: World, look: Look, *, gave_up: str, timeout: float, at_least: float = 0.0, every: float = 2.0) -> Outcome:
    """The outcome that `look` comes to; until then it says in one sentence how far it is.

    `look` gets the provider seconds that passed. At the deadline the step has failed: "`gave_up` after 600 s: it is creating."
    """
    said, passed = "AWS did not answer.", 0.0
    async for passed in world.ticks(timeout=timeout, every=every, at_least=at_least):
        try:
            seen = await look(passed)
        except Unreachable as error:
            said = str(error)
            continue
        if isinstance(seen, Outcome):
            return seen
        said = seen
        world.progress(seen)
    return failed(f"{gave_up} after {passed:.0f} s: {said}")
