"""How far a replica has come, and how far its primary is: positions in the log, and times of commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from actions.db.connect import Connections

_REPLICA = """
SELECT clock_timestamp() AS now, pg_is_in_recovery() AS in_recovery,
  pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::int8 AS received,
  pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::int8 AS replayed,
  pg_last_xact_replay_timestamp() AS replayed_at,
  (SELECT last_msg_receipt_time FROM pg_stat_wal_receiver) AS heard_at
"""
_PRIMARY = """
SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::int8 AS flushed,
  (SELECT coalesce(sum(tup_inserted + tup_updated + tup_deleted), 0)::int8 FROM pg_stat_database
   WHERE datname = current_database()) AS rows
"""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A replica at a moment of its own clock. `received` and `replayed` are positions in the log, as bytes from its start.

    `replayed_at` is when the last transaction that it has was committed, `heard_at` when its primary last said anything.
    """

    now: datetime
    in_recovery: bool
    received: int | None
    replayed: int | None
    replayed_at: datetime | None
    heard_at: datetime | None

    @property
    def has_replayed_all(self) -> bool:
        """Whether there is nothing received that it has still to replay."""
        return self.replayed is not None and self.replayed >= (self.received or 0)


@dataclass(frozen=True, kw_only=True)
class Written:
    """How far a primary's log is on its disk, and how many rows it has written since its statistics began."""

    flushed: int
    rows: int


async def replica_position(connections: Connections, *, timeout: float = 3.0) -> Replica:
    """How far a replica is. A server that isn't in recovery is no replica, and has no positions. Raises `DatabaseUnreachable`."""
    (row,) = await connections.ask(_REPLICA, timeout=timeout)
    return Replica(**row)


async def written(connections: Connections, *, timeout: float = 3.0) -> Written:
    """How far a primary is. Raises `DatabaseUnreachable`, also if it is a standby."""
    (row,) = await connections.ask(_PRIMARY, timeout=timeout)
    return Written(**row)


def lsn(position: int) -> str:
    """A position as PostgreSQL writes it: "0/3000060"."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
