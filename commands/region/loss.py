"""What a promotion would lose, in seconds and rows: from the last commit that the replica has to the last one of the primary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from actions.db.replication import Replica, lsn
from actions.db.rhythm import Rhythm, borne_out
from actions.values import count
from commands.moments import clock
from commands.report import span

STEPS = ((60, 1), (600, 30), (86_400, 300))  # up to so many seconds, a figure is rounded up to a multiple of these
UNSURE_STEPS = (300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)  # for a figure that grows although nothing more is lost


@dataclass(frozen=True, kw_only=True)
class Loss:
    """At most so many `seconds` of commits, and about so many `rows` (None if unknown) are lost.

    `silent_since` is when the primary took its last commit at the latest; None if that isn't known, and the figure then grows as
    long as the primary is away, although nothing more is lost.
    """

    seconds: int
    rows: int | None
    silent_since: datetime | None
    evidence: str

    @property
    def figure(self) -> str:
        """The figure as a person says it: "up to 3 s (about 120 rows)"."""
        length = f"{self.seconds} s" if self.seconds < 120 else span(self.seconds)
        return f"up to {length}" + (f" (about {count(self.rows, 'row')})" if self.rows is not None else "")


def loss_of(replica: Replica | None, rhythm: Rhythm | None) -> Loss | None:
    """What a promotion of this replica would lose now; None if the replica doesn't say what its last commit was."""
    if replica is None or replica.replayed_at is None:
        return None
    silent = borne_out(rhythm.failing_since, replica.replayed_at) if rhythm else None
    until = silent or replica.now
    seconds = max((until - replica.replayed_at).total_seconds(), 0.0)
    rows = rhythm.rows_between(replica.replayed_at, until) if rhythm else None
    rounded = round_up(seconds) if silent else next((step for step in UNSURE_STEPS if seconds <= step), math.ceil(seconds))
    return Loss(seconds=rounded, rows=rows, silent_since=silent, evidence=_evidence(replica, rhythm, silent))


def round_up(seconds: float) -> int:
    """The figure that is agreed to: a second at least, and coarser the longer it is, so that it stays the same for a while."""
    step = next((step for most, step in STEPS if seconds <= most), 3600)
    return max(math.ceil(seconds / step) * step, 1)


def _evidence(replica: Replica, rhythm: Rhythm | None, silent: datetime | None) -> str:
    assert replica.replayed_at is not None
    said = f"The replica's last commit is from {clock(replica.replayed_at)}, at {lsn(replica.replayed or 0)}."
    if rhythm and rhythm.beats:
        last = rhythm.beats[-1]
        said += f" The primary's last heartbeat is from {clock(last.at)}, at {lsn(last.flushed)}."
    if silent:
        others = "If others still reach it, what they have written since is lost as well."
        return f"{said} None could be written since {clock(silent)}. {others}"
    return f"{said} {_why_unsure(rhythm)}, so the figure counts until now and grows although nothing more may be lost."


def _why_unsure(rhythm: Rhythm | None) -> str:
    if rhythm is None:
        return "The bot writes no heartbeats (heartbeat_table in dr.toml)"
    if rhythm.failing_since is None:
        return "No heartbeat has failed to be written so far"
    return f"The heartbeat of {clock(rhythm.failing_since)} failed although the primary took commits after it"
