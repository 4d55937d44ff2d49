"""What is worth keeping while all is well: scenarios say so, and the bot keeps it every five minutes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from actions.values import Json
from actions.world import World

Named = tuple[str, Mapping[str, Json]]  # facts and the name that they are kept under
KeepFunction = Callable[[World], Awaitable[Sequence[Named]]]
KEEPERS: list[KeepFunction] = []


def keeps(function: KeepFunction) -> KeepFunction:
    """Register a function that reads facts worth keeping. It raises if not all is well, and then nothing is kept."""
    KEEPERS.append(function)
    return function
