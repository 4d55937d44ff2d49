"""A delayed replica: it replays what was committed only after a while, so that for some time it is still without the damage.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-delayed-replication-ug.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actions.site import DatabaseRef
    from actions.world import World

PAUSE = "SELECT pg_wal_replay_pause()"
DELAY = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_xact_replay_timestamp() AS stands_at, clock_timestamp() AS now,
  (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'recovery_min_apply_delay') AS seconds
"""


@dataclass(frozen=True, kw_only=True)
class Delay:
    """By how many seconds a replica is delayed on purpose, and the commit at which it stands; 0.0 for one that isn't delayed."""

    seconds: float
    stands_at: datetime | None
    now: datetime


async def delay_of(world: World, replica: DatabaseRef) -> Delay:
    """The delay of a replica. Raises `Unreachable`."""
    (row,) = await world.database(replica).ask(DELAY)
    seconds = float(row["seconds"]) if row["in_recovery"] else 0.0
    return Delay(seconds=seconds, stands_at=row["stands_at"], now=row["now"])
