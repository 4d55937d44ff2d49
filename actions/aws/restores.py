"""Restores: a database as it was at a moment, or as a snapshot has it, beside the one that stands. And: is it set up alike?"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from actions.aws.call import Call
from actions.aws.creation import Create, Seen
from actions.aws.follow import follow
from actions.aws.instances import Described, find_instance, rds
from actions.aws.settings import SETTINGS, Settings, copied, differences, tag_differences, tag_list
from actions.aws.snapshots import find_snapshot
from actions.step import Check
from actions.values import Facts, Finding, Outcome, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class _Restore(Create):
    """What both restores share. `settings` and `tags` are the source's (settings.py), `tag` is the run's: KEY=VALUE."""

    instance: str
    settings: Settings
    tags: Mapping[str, str]
    tag: str

    timeout: ClassVar[float] = 2 * 3600.0
    taken: ClassVar[str] = "DBInstanceAlreadyExists"
    touches_production: ClassVar[bool] = False

    @property
    @abstractmethod
    def origin(self) -> Mapping[str, str]:
        """Tags that tell what it was restored from."""

    @property
    def thing(self) -> str:
        return f"database {self.instance}"

    def marks(self, facts: Facts) -> Mapping[str, str]:
        key, _, value = self.tag.partition("=")
        return {key: value, **self.origin}

    async def find(self, world: World) -> Seen | None:
        found = await find_instance(world, self.instance, self.region)
        return Seen(status=found.status, marks=found.tags) if found else None

    async def detail(self, world: World, seen: Seen) -> str:
        found = await find_instance(world, self.instance, self.region)
        wrong = differences(self.settings, found.settings) if found else []
        return f"It is not as it was asked for: {'; '.join(wrong)}." if wrong else ""

    def request(self, operation: str, **names: str) -> Call:
        """The request with all that it carries over."""
        tags = {**self.tags, **self.marks({})}
        return rds(operation, self.region, **names, **self.settings, Tags=tag_list(tags))


@dataclass(frozen=True, kw_only=True)
class RestoreToTime(_Restore, kind="rds.restore_to_time"):
    """Restore a database to a moment, into a new one beside it that is set up as the source is; the source is not touched.

    `at` is that moment as an ISO time with its offset from UTC.
    """

    source: str
    at: str

    permissions: ClassVar[tuple[str, ...]] = (
        "rds:RestoreDBInstanceToPointInTime",
        "rds:AddTagsToResource",
        "rds:DescribeDBInstances",
    )

    @property
    def title(self) -> str:
        return f"Restore database {self.source} to {_utc(datetime.fromisoformat(self.at))} as {self.instance}"

    @property
    def origin(self) -> Mapping[str, str]:
        return {"dr-source": self.source, "dr-time": self.at}

    @property
    def call(self) -> Call:
        names = {"SourceDBInstanceIdentifier": self.source, "TargetDBInstanceIdentifier": self.instance, "RestoreTime": self.at}
        return self.request("RestoreDBInstanceToPointInTime", **names)

    async def look_at_source(self, world: World) -> Facts:
        found = await find_instance(world, self.source, self.region)
        known = found.restorable_to if found else None
        return {"source": found is not None, "restorable_to": known.isoformat() if known else ""}

    def judge_source(self, facts: Facts) -> Finding:
        if not facts["source"]:
            return stop(f"RDS in {self.region} has no database {self.source} to restore from.")
        if not facts["restorable_to"]:
            return stop(f"{self.source} has no backups to restore from: RDS names no latest restorable time.")
        latest, wanted = datetime.fromisoformat(facts["restorable_to"]), datetime.fromisoformat(self.at)
        if wanted > latest:
            return stop(f"{self.source} can be restored up to {_utc(latest)} so far, and {_utc(wanted)} is later. Retry soon.")
        return ok(f"{self.source} can be restored up to {_utc(latest)}.")


@dataclass(frozen=True, kw_only=True)
class RestoreSnapshot(_Restore, kind="rds.restore_snapshot"):
    """Restore a snapshot into a new database; the snapshot and the database that it is of are not touched."""

    snapshot: str

    permissions: ClassVar[tuple[str, ...]] = (
        "rds:RestoreDBInstanceFromDBSnapshot",
        "rds:AddTagsToResource",
        "rds:DescribeDBInstances",
        "rds:DescribeDBSnapshots",
    )

    @property
    def title(self) -> str:
        return f"Restore snapshot {self.snapshot} as database {self.instance}"

    @property
    def origin(self) -> Mapping[str, str]:
        return {"dr-source": self.snapshot}

    @property
    def call(self) -> Call:
        names = {"DBInstanceIdentifier": self.instance, "DBSnapshotIdentifier": self.snapshot}
        return self.request("RestoreDBInstanceFromDBSnapshot", **names)

    async def look_at_source(self, world: World) -> Facts:
        found = await find_snapshot(world, self.snapshot, self.region)
        return {"source_status": found.status if found else ""}

    def judge_source(self, facts: Facts) -> Finding:
        if not facts["source_status"]:
            return stop(f"RDS in {self.region} has no snapshot {self.snapshot}.")
        if facts["source_status"] != "available":
            return stop(f"Snapshot {self.snapshot} is {facts['source_status']}; only an available one can be restored.")
        return ok(f"Snapshot {self.snapshot} is available.")


@dataclass(frozen=True, kw_only=True)
class SameSettings(Check, kind="rds.same_settings"):
    """Check that a restored database is set up as its source is; every setting and tag that differs is named.

    `apart_from` are settings, by the names of AWS's requests, that the plan sets otherwise on purpose.
    """

    source: str
    instance: str
    region: str
    apart_from: tuple[str, ...] = ()

    timeout: ClassVar[float] = 900.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = ("rds:DescribeDBInstances",)

    @property
    def title(self) -> str:
        return f"Check that {self.instance} is set up as {self.source} is"

    @property
    def target(self) -> str:
        return f"database {self.instance}"

    def command(self) -> str:
        return rds("DescribeDBInstances", self.region, DBInstanceIdentifier=self.instance).command()

    async def look(self, world: World) -> Outcome:
        return await follow(
            world,
            lambda _: self._compare(world),
            gave_up=f"{self.instance} is not set up as {self.source} is",
            timeout=self.timeout,
        )

    async def _compare(self, world: World) -> Outcome | str:
        """The outcome; while RDS is still changing what differs, only what it says."""
        found, source = await asyncio.gather(
            find_instance(world, self.instance, self.region), find_instance(world, self.source, self.region)
        )
        if found is None or source is None:
            missing = self.instance if found is None else self.source
            return failed(f"The settings can't be compared: RDS in {self.region} has no database {missing}.")
        wrong = self._wrong(found, source)
        if found.unsettled:
            return f"{'; '.join([*wrong, *found.unsettled])}."
        if wrong:
            return failed(f"{self.instance} is not set up as {self.source} is: {'; '.join(wrong)}.")
        apart = f", apart from {', '.join(SETTINGS[name][0] for name in self.apart_from)} as planned" if self.apart_from else ""
        return done(f"{self.instance} is set up as {self.source} is{apart}.")

    def _wrong(self, found: Described, source: Described) -> list[str]:
        wanted = {**dict.fromkeys(SETTINGS), **source.settings}
        return differences(wanted, found.settings, self.apart_from) + tag_differences(copied(source.tags), found.tags)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
