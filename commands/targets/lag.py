"""What a promotion of the replica would lose, from heartbeat rows, or from its last replayed transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from actions.db.heartbeat import EVERY_SECONDS, Position
from commands.facts import Fact
from commands.report import moment, span

STALE_SECONDS = 6 * EVERY_SECONDS  # a primary without a new heartbeat for so long has nobody who writes them
CAVEAT = "It grows while the primary is idle, although nothing is lost; heartbeat rows would tell (heartbeat_table in dr.toml)"


@dataclass(frozen=True, kw_only=True)
class Lag:
    """At most so many `seconds` of commits would be lost; None if that's unknown.

    Not `certain`: the figure is an upper bound that may be far too high. `broken`: the replica does not replicate.
    """

    seconds: float | None
    says: str
    evidence: str = ""
    certain: bool = True
    broken: bool = False


def lag_of(primary: Fact[Position] | None, replica: Fact[Position] | None) -> Lag:
    """The lag from both servers' positions; None is a server that was not asked."""
    there = replica.value if replica else None
    if there is None:
        return Lag(seconds=None, says="The replica could not be read." if replica else "dr.toml names no replica to measure.")
    if not there.in_recovery:
        return Lag(seconds=None, says="The server behind the replica's DSN takes writes: it is no replica.", broken=True)
    if there.beat is None:
        return _by_replay(there)
    return _by_heartbeat(there, there.beat, primary.value if primary else None)


def _by_heartbeat(replica: Position, beat: datetime, primary: Position | None) -> Lag:
    """A promotion loses at most what was committed after the newest heartbeat that the replica has."""
    newest = f"The replica's newest heartbeat is from {moment(beat)}"
    if primary is None or primary.beat is None or primary.in_recovery:
        bound = _bound(replica.now, beat)
        says = f"The replica's newest heartbeat is {span(bound)} old, and the primary has nothing to compare it with."
        return Lag(seconds=bound, says=says, evidence=f"{newest}; {_why_not(primary)}.", certain=False)
    bound, silence = _bound(primary.now, beat), (primary.now - primary.beat).total_seconds()
    evidence = f"{newest}, the primary's of {moment(primary.beat)}; one is written every {EVERY_SECONDS:g} s."
    if silence > STALE_SECONDS:
        says = f"No heartbeat has been written for {span(silence)}: is the bot serving?"
        return Lag(seconds=bound, says=says, evidence=evidence, certain=False)
    return Lag(seconds=bound, says=f"A promotion would lose at most {span(bound)} of commits.", evidence=evidence)


def _bound(now: datetime, beat: datetime) -> float:
    """Never less than one beat: the servers are read at moments, and by clocks, that differ a little."""
    return max((now - beat).total_seconds(), EVERY_SECONDS)


def _why_not(primary: Position | None) -> str:
    if primary is None:
        return "the primary could not be read"
    return "the primary's DSN leads to a standby" if primary.in_recovery else primary.no_beat.rstrip(".")


def _by_replay(replica: Position) -> Lag:
    if replica.replayed_at is None:
        return Lag(seconds=None, says="The replica has replayed no transaction since it started.", evidence=replica.no_beat)
    bound = max((replica.now - replica.replayed_at).total_seconds(), 0.0)
    says = f"The last commit that the replica has is {span(bound)} old."
    evidence = f"pg_last_xact_replay_timestamp() on the replica. {CAVEAT}. {replica.no_beat}"
    return Lag(seconds=bound, says=says, evidence=evidence, certain=False)
