"""An instance as it must be known before it is restored, changed or dropped: whose it is, where it listens, how it is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from actions.aws.call import AwsUnreachable, Call
from actions.aws.settings import Settings, settings_of, tags_of, unsettled

if TYPE_CHECKING:
    from actions.world import World

# Statuses that no waiting cures. https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
BROKEN = (
    "failed", "incompatible-restore", "incompatible-network", "incompatible-parameters", "incompatible-option-group",
    "incompatible-credentials", "inaccessible-encryption-credentials", "restore-error", "insufficient-capacity",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Described:
    """An instance as RDS describes it. The port is 0, and the host "", as long as it has no endpoint."""

    name: str
    status: str
    resource_id: str
    host: str
    port: int
    protected: bool
    tags: Mapping[str, str]
    settings: Settings
    unsettled: tuple[str, ...]
    restorable_to: datetime | None

    def has_tag(self, tag: str) -> bool:
        """Whether it carries this tag, given as KEY=VALUE."""
        key, _, value = tag.partition("=")
        return self.tags.get(key) == value


async def find_instance(world: World, name: str, region: str) -> Described | None:
    """The instance as it is now; None if RDS itself says that there is none."""
    try:
        answer = await world.aws.read(rds("DescribeDBInstances", region, DBInstanceIdentifier=name))
    except AwsUnreachable as error:
        if error.code.startswith("DBInstanceNotFound"):
            return None
        raise
    if not answer.get("DBInstances"):  # that proves nothing: if there is none, RDS says DBInstanceNotFound
        raise AwsUnreachable(f"RDS's answer about {name} names no instance.")
    return _described(answer["DBInstances"][0])


async def instances_with_tag(world: World, key: str, region: str) -> list[Described]:
    """All instances of a region that carry a tag of this key, whatever its value: what runs of ours made."""
    found = await world.aws.read_all(rds("DescribeDBInstances", region), "DBInstances", token="Marker")
    return [one for one in map(_described, found) if key in one.tags]


def rds(operation: str, region: str, **parameters: Any) -> Call:
    """A call to RDS."""
    return Call(service="rds", operation=operation, region=region, parameters=parameters)


def _described(raw: Mapping[str, Any]) -> Described:
    endpoint = raw.get("Endpoint", {})
    return Described(
        name=raw["DBInstanceIdentifier"],
        status=raw.get("DBInstanceStatus", "unknown"),
        resource_id=raw.get("DbiResourceId", ""),
        host=endpoint.get("Address", ""),
        port=endpoint.get("Port", 0),
        protected=bool(raw.get("DeletionProtection")),
        tags=tags_of(raw),
        settings=settings_of(raw),
        unsettled=tuple(unsettled(raw)),
        restorable_to=raw.get("LatestRestorableTime"),
    )
