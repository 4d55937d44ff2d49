"""Faults of the data and of what protects it: a bad release, damaged snapshots, restores that go wrong, bad migrations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rehearsal.aws.rds.api import Rds
from rehearsal.migrations.project import HARMLESS, TRUNCATING, Project, Release
from rehearsal.postgres.bad_release import Incident, bring_back_records, delete_records
from rehearsal.postgres.damage import DAMAGE, Damage
from rehearsal.postgres.pair import ServerPair

Row = tuple[str, str, str, str, Callable[[], Awaitable[Any]]]


@dataclass(kw_only=True)
class DataFaults:
    """The faults, and the record of what bad releases did."""

    database: ServerPair
    rds: Rds
    migrations: Project

    def __post_init__(self) -> None:
        self.incidents: list[Incident] = []

    def rows(self) -> list[Row]:
        """Name, title, explanation, kind and cause of each."""
        return [
            (
                "bad-release",
                "A bad release deletes 3 customers' records",
                "It also overwrites their plans. The moment is recorded.",
                "data",
                self._release_badly,
            ),
            (
                "migrated-release",
                "A bad release deletes 3 customers' records, and migrates",
                "It adds a column, too: the moment before lacks that migration.",
                "data",
                self._migrate_badly,
            ),
            (
                "damaged-snapshot",
                "Today's snapshot is damaged",
                "It is taken now. Production is whole, and what is restored from it is not.",
                "data",
                self.rds.take_damaged_snapshot,
            ),
            ("archive-stuck", "The archive is stuck", "LatestRestorableTime stands still.", "data", self._stick),
            (
                "restore-incompatible",
                "Restores end as incompatible-restore",
                "The instance never gets an endpoint.",
                "restore",
                self._restores(incompatible=True),
            ),
            (
                "restore-slow",
                "Restores recover slowly",
                "They're available, and readable, long before they are recovered.",
                "restore",
                self._restores(slow=True),
            ),
            (
                "restore-other-settings",
                "Restores come back with other settings",
                "Default network, parameter group and protection, whatever was asked for.",
                "restore",
                self._restores(other_settings=True),
            ),
            *(self._damaged(one) for one in DAMAGE.values()),
            ("new-migration", "A release brings a migration", "It adds a column.", "data", self._bring(HARMLESS)),
            (
                "bad-migration",
                "A release brings a migration that truncates",
                "It empties the table organizations, and all that belongs to it.",
                "data",
                self._bring(TRUNCATING),
            ),
        ]

    def heal(self) -> None:
        """Undo what can be undone: the pending migrations are gone; what a bad release deleted stays deleted."""
        self.migrations.renew()

    async def bring_back(self) -> None:
        """What bad releases deleted and overwrote is there again; the record of them is kept."""
        if self.incidents:
            await bring_back_records(self.database)

    async def _release_badly(self) -> None:
        self.incidents.append(await delete_records(self.database))

    async def _migrate_badly(self) -> None:
        if HARMLESS.tag not in [one.tag for one in self.migrations.migrations()]:
            self.migrations.release(HARMLESS)
        (migration,) = [one for one in self.migrations.migrations() if one.tag == HARMLESS.tag]
        self.incidents.append(await delete_records(self.database, migration))

    async def _stick(self) -> None:
        self.database.backups.archive.stick()

    def _damaged(self, damage: Damage) -> Row:
        name = f"restore-damaged-{damage.name}"
        return (name, f"Restores are damaged: {damage.name}", damage.says, "restore", self._restores(damage=damage))

    def _restores(self, **faults: Any) -> Callable[[], Awaitable[None]]:
        async def cause() -> None:
            for name, value in faults.items():
                setattr(self.rds.restore_faults, name, value)

        return cause

    def _bring(self, release: Release) -> Callable[[], Awaitable[None]]:
        async def cause() -> None:
            self.migrations.release(release)

        return cause
