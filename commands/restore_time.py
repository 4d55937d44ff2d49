"""The moment of a restore as people choose it: how far back and forward it may lie, and what a choice gives up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from actions.aws.restore_window import restore_window
from actions.site import DatabaseRef
from actions.world import World
from commands.facts import read
from commands.moments import ago, clock


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a database can be restored to, as far as it is known; `error` says why it isn't."""

    earliest: datetime | None = None
    latest: datetime | None = None
    error: str = ""

    @property
    def says(self) -> str:
        """The window as a sentence."""
        if self.error:
            return f"How far back a restore can go is unknown, so the plan will say whether this time is possible. {self.error}"
        if self.latest is None:
            return "RDS names no moment that it could restore to: look at `/dr backup status`."
        return f"RDS can restore from {_opt(self.earliest)} up to {clock(self.latest)}."


async def window_of(world: World, database: DatabaseRef) -> Window:
    """Ask RDS for the window; what could not be read is said in it."""
    found = await read("RDS", restore_window(world, database.instance, database.region))
    if found.value is None:
        return Window(error=found.error)
    return Window(earliest=found.value.earliest, latest=found.value.latest)


def refusal(window: Window, at: datetime, now: datetime) -> str:
    """Why this moment can't be restored to, as a sentence; "" if it can, or if nobody knows."""
    if at > now:
        return f"{clock(at)} is in the future, and a restore goes back."
    if window.latest and at > window.latest:
        return f"{clock(at)} is later than {clock(window.latest)}, up to which RDS can restore so far."
    if window.earliest and at < window.earliest:
        return f"{clock(at)} is earlier than {clock(window.earliest)}, from which on there are backups."
    return ""


def gives_up(at: datetime, now: datetime) -> str:
    """What a restore to this moment loses, as a sentence."""
    return f"All that was committed after {clock(at)} is given up: the last {ago(at, now)}."


def _opt(at: datetime | None) -> str:
    return clock(at.astimezone(UTC)) if at else "an unknown moment"
