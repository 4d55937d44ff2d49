"""What was read for `/dr targets`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actions.aws.backups import Protection, Snapshots
from actions.db.heartbeat import Position
from actions.site import DatabaseRef, Site
from commands.facts import Fact
from commands.memory import PastRun
from commands.targets.lag import Lag, lag_of


@dataclass(frozen=True, kw_only=True)
class Meant:
    """What is looked at: a database, its replica if dr.toml names one, and the table of heartbeats, "" for none."""

    primary: DatabaseRef
    replica: DatabaseRef | None
    heartbeat_table: str

    @classmethod
    def of(cls, site: Site, primary: DatabaseRef) -> Meant:
        """As dr.toml has them."""
        section = site.databases[primary.name]
        replica = site.database(section.replica) if section.replica else None
        return cls(primary=primary, replica=replica, heartbeat_table=section.heartbeat_table)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read. A source that was not asked, because there is nothing of the kind, is None."""

    meant: Meant
    primary: Fact[Protection | None]
    snapshots: Fact[Snapshots]
    replica: Fact[Protection | None] | None
    beats: Fact[Position] | None
    replayed: Fact[Position] | None
    recoveries: Fact[Sequence[PastRun]]
    verifications: Fact[Sequence[PastRun]]

    @property
    def instance(self) -> str:
        """The primary's name in RDS."""
        return self.meant.primary.instance

    @property
    def region(self) -> str:
        """The primary's region."""
        return self.meant.primary.region

    @property
    def sources(self) -> tuple[Fact[Any] | None, ...]:
        """Everything that was asked."""
        return (self.primary, self.snapshots, self.replica, self.beats, self.replayed, self.recoveries, self.verifications)

    @property
    def lag(self) -> Lag:
        """What a promotion of the replica would lose."""
        return lag_of(self.beats, self.replayed)
