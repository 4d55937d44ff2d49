"""What a report may ask the bot about its own past. The bot has the answers in its state; this is only their shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from actions.site import DatabaseRef

VERIFICATION = "backup verify"  # the scenario whose runs prove that a backup can be restored
VERIFIED_DAYS = 8  # a verification every week, and a day for it to be done


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run of this bot that is over: when it was approved, when it ended, and how ("done", "failed", "stopped", ...).

    `target` is what it was about. `restore_seconds` is how long a restore took in it until the copy had recovered.
    """

    id: str
    scenario: str
    state: str
    says: str
    approved: datetime
    ended: datetime
    target: str = ""
    restore_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long it took, from the approval to the end."""
        return (self.ended - self.approved).total_seconds()


def verified_target(database: DatabaseRef) -> str:
    """What a verification of this database's backups is about. It locks nothing that a recovery needs."""
    return f"backups of {database}"


def of_database(runs: Sequence[PastRun], database: DatabaseRef) -> list[PastRun]:
    """The verifications that are of this database's backups; another one's prove nothing for it."""
    return [run for run in runs if run.target == verified_target(database)]


class Memory(Protocol):
    """The bot's record of its runs. A method raises if the record cannot be read."""

    async def recoveries(self) -> Sequence[PastRun]:
        """The latest runs that are over, newest first, without the verifications of backups."""

    async def verifications(self) -> Sequence[PastRun]:
        """The latest verifications of backups that are over, newest first."""
