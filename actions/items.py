"""Items: what one action does to many things, one by one, such as a restart of each host of a batch.

Each item's intent is on record before its effect, and its outcome after. An item with an intent and no outcome, because the bot
died, is read back before anything is sent again. A run has one item of each name, whichever of its steps it belongs to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from actions.values import Facts

INTENDED = "intended"  # the state of an item before its outcome is known; every other state is the action's own word


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item as it is on record. `facts` were seen before the effect, `attempt` is the step's, `at` is in seconds since 1970."""

    name: str
    state: str
    says: str = ""
    facts: Facts = field(default_factory=dict)
    attempt: int = 1
    at: float = 0.0


class Items(Protocol):
    """The record of the items of the run that is under way. Each call returns once it is on record."""

    @property
    def attempt(self) -> int:
        """Which attempt at the step this is, from 1."""

    async def known(self) -> Mapping[str, Item]:
        """All items of the run by name."""

    async def intend(self, name: str, facts: Facts) -> None:
        """Record what was seen, and that the effect will now be attempted."""

    async def end(self, name: str, state: str, says: str = "") -> None:
        """Record how an item ended, whether or not its effect was attempted. A later call replaces it."""


class Forgetful:
    """A record in memory, for a process that carries out no runs."""

    def __init__(self) -> None:
        self.attempt = 1
        self._items: dict[str, Item] = {}

    async def known(self) -> Mapping[str, Item]:
        """All items by name."""
        return dict(self._items)

    async def intend(self, name: str, facts: Facts) -> None:
        """Remember an intent."""
        self._items[name] = Item(name=name, state=INTENDED, facts=facts, attempt=self.attempt, at=time.time())

    async def end(self, name: str, state: str, says: str = "") -> None:
        """Remember an outcome."""
        known = self._items.get(name) or Item(name=name, state=state, at=time.time())
        self._items[name] = replace(known, state=state, says=says, attempt=self.attempt)
