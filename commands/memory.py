"""What a report may ask the bot about its own past. The bot has the answers in its state; this is only their shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

VERIFICATION = "backup verify"  # the scenario whose runs prove that a backup can be restored
VERIFIED_DAYS = 8  # a verification every week, and a day for it to be done


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run of this bot that is over: when it was approved, when it ended, and how ("done", "failed", "stopped", ...)."""

    id: str
    scenario: str
    state: str
    says: str
    approved: datetime
    ended: datetime

    @property
    def seconds(self) -> float:
        """How long it took, from the approval to the end."""
        return (self.ended - self.approved).total_seconds()


class Memory(Protocol):
    """The bot's record of its runs. A method raises if the record cannot be read."""

    async def recoveries(self) -> Sequence[PastRun]:
        """The latest runs that are over, newest first, without the verifications of backups."""

    async def verifications(self) -> Sequence[PastRun]:
        """The latest verifications of backups that are over, newest first."""
