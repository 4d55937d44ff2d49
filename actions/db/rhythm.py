"""The rhythm of the heartbeats of a primary, as the bot remembers it: what a promotion of its replica would lose.

A beat says when it was committed, how far the WAL was and how many rows had been written. When the beats fail, the time since the
last commit that the replica has is what is lost, and the rows that were written in it can be estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from actions.db.heartbeat import EVERY_SECONDS, Beat
from actions.values import Json

MOST = 24  # two minutes of beats
LENGTH = 1.0  # seconds of a beat: a commit that came so soon after the beginning of one that failed says nothing about it
SILENT = 3 * EVERY_SECONDS  # a rhythm without a beat or a failure for so long is of a bot that was away


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """The latest beats, oldest first, and since when none could be written ("": the last one could). Times are the primary's.

    `ahead` is by how many seconds the primary's clock is ahead of ours.
    """

    beats: tuple[Beat, ...] = ()
    failing_since: datetime | None = None
    ahead: float = 0.0

    def beaten(self, beat: Beat, ours: datetime) -> Rhythm:
        """The rhythm after a beat that we saw committed at our time."""
        ahead = (beat.at - ours).total_seconds()
        return Rhythm(beats=(*self.beats, beat)[-MOST:], ahead=ahead)

    def missed(self, ours: datetime) -> Rhythm:
        """The rhythm after a beat that we began at our time, and that was not written."""
        if self.failing_since:
            return self
        return replace(self, failing_since=datetime.fromtimestamp(ours.timestamp() + self.ahead, UTC))

    def silent_since(self, now: datetime) -> datetime | None:
        """When the primary can have taken its last commit at the latest; None if that isn't known."""
        if self.failing_since:
            return self.failing_since
        if not self.beats or (now - self.beats[-1].at).total_seconds() + self.ahead > SILENT:
            return None
        return now

    def rows_between(self, since: datetime, until: datetime) -> int | None:
        """How many rows were written from then until then, by the rate of the latest beats; None if there are too few beats."""
        if len(self.beats) < 2:
            return None
        first, last = self.beats[0], self.beats[-1]
        seconds = (last.at - first.at).total_seconds()
        if seconds <= 0:
            return None
        return round(max(last.rows - first.rows, 0) / seconds * max((until - since).total_seconds(), 0.0))

    def to_json(self) -> dict[str, Json]:
        """As it is kept."""
        beats = [[beat.at.isoformat(), beat.flushed, beat.rows] for beat in self.beats]
        return {"beats": beats, "failing_since": self.failing_since and self.failing_since.isoformat(), "ahead": self.ahead}

    @classmethod
    def from_json(cls, stored: Mapping[str, Json]) -> Rhythm:
        """The kept one again."""
        beats = tuple(Beat(at=datetime.fromisoformat(at), flushed=flushed, rows=rows) for at, flushed, rows in stored["beats"])
        failing = stored["failing_since"]
        return cls(beats=beats, failing_since=datetime.fromisoformat(failing) if failing else None, ahead=stored["ahead"])


def borne_out(failing_since: datetime | None, replayed_at: datetime) -> datetime | None:
    """Since when the primary is silent; None if the replica has later commits than the beat that failed: it proves nothing."""
    if failing_since and (replayed_at - failing_since).total_seconds() > LENGTH:
        return None
    return failing_since


def rhythm_name(database: str) -> str:
    """What a database's rhythm is kept under; `database` is its name in dr.toml."""
    return f"rhythm of {database}"
