"""RDS, as far as an incident needs it: one Multi-AZ instance whose failovers and reboots really happen, and its events.

The status changes once the real effect is complete and AWS's minimum time has passed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import AwsError, Handler
from rehearsal.aws.rds.events import Events
from rehearsal.aws.rds.settings import CREATED, TAGS, settings
from rehearsal.aws.sts import ACCOUNT
from rehearsal.postgres.pair import ServerPair

FAILOVER_SECONDS = (60.0, 90.0)  # AWS calls 60 to 120 typical; the real failover here takes a fraction of a second.
REBOOT_SECONDS = (20.0, 40.0)
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class State:
    """What RDS says about the instance; replaced as a whole, so that no read sees half a change."""

    status: str
    zone: str
    standby_zone: str | None


class Rds:
    """The database instance of one region as RDS describes it; other regions have none."""

    def __init__(
        self,
        database: ServerPair,
        clock: Clock,
        *,
        instance: str = "shielda-prod",
        region: str = "us-west-2",
        seed: int = 0,
        replicas: tuple[str, ...] = (),
    ) -> None:
        self.clock = clock
        self.instance = instance
        self.region = region
        self.multi_az = True
        self.replicas = replicas
        self.resource_id = "db-QZ4T7MRWX3N6YH2KVLBEJ5CDAS"
        self.arn = f"arn:aws:rds:{region}:{ACCOUNT}:db:{instance}"
        self.events = Events(clock, source=instance, arn=self.arn)
        self.restorable: Callable[[], datetime] = self._restorable
        self.handlers: dict[str, Handler] = {
            "DescribeDBInstances": self._describe_instances,
            "RebootDBInstance": self._reboot,
            "DescribeEvents": self._describe_events,
            "DescribeDBSnapshots": self._describe_snapshots,
            "ListTagsForResource": self._list_tags,
        }
        self._database = database
        self._random = random.Random(seed)
        self._stay_rebooting = False
        self._read_lag = 0.0
        self._task: asyncio.Task[None] | None = None
        self._states: deque[tuple[datetime, State]] = deque(maxlen=50)
        self._publish("available")

    @property
    def state(self) -> State:
        """The state as it is now; reads may get an older one."""
        return self._states[-1][1]

    async def close(self) -> None:
        """Stop a reboot or failover that's under way."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def settled(self, timeout: float = 60.0) -> None:
        """Wait until no reboot or failover is under way."""
        if self._task:
            await asyncio.wait_for(asyncio.shield(self._task), timeout)

    def stick(self, status: str) -> None:
        """Fault: the instance keeps this status, and refuses everything that needs it to be available."""
        self._publish(status)

    def stay_rebooting(self) -> None:
        """Fault: the next reboot or failover takes effect, but the status stays "rebooting" until `heal`."""
        self._stay_rebooting = True

    def stale_reads(self, aws_seconds: float) -> None:
        """Fault: descriptions show the instance as it was this many AWS seconds ago; 0 undoes it."""
        self._read_lag = aws_seconds

    def event_lag(self, aws_seconds: float) -> None:
        """Fault: an event isn't listed until this many AWS seconds after it happened; 0 undoes it."""
        self.events.lag = aws_seconds

    def single_az(self, off: bool = True) -> None:
        """Fault: the instance isn't Multi-AZ, so RDS refuses a failover."""
        self.multi_az = not off
        self._publish(self.state.status)

    def automatic_failover(self) -> None:
        """RDS notices by itself that the primary is gone, and begins to fail over; returns at once."""
        self._require_idle()
        self._begin(self._fail_over)

    def heal(self) -> None:
        """Undo the faults; a reboot or failover that's under way goes on."""
        self._stay_rebooting = False
        self.multi_az = True
        self._read_lag = self.events.lag = 0.0
        if self._task is None or self._task.done():
            self._publish("available")

    def _describe_instances(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("DBInstanceIdentifier")
        if wanted is not None:
            self._require_instance(region, wanted)
        if region != self.region or not self._passes(params.get("Filters", [])):
            return {"DBInstances": []}
        return {"DBInstances": [self._view(self._seen())]}

    async def _reboot(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        self._require_instance(region, params["DBInstanceIdentifier"])
        self._require_idle()
        force = params.get("ForceFailover", False)
        if force and not self.multi_az:
            message = "ForceFailover cannot be specified since the instance is not configured for MultiAZ."
            raise AwsError("InvalidParameterCombination", message)
        self._begin(self._fail_over if force else self._restart)
        return {"DBInstance": self._view(self.state)}

    def _describe_events(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        found = self.events.listed(params)
        return {"Events": found if region == self.region else []}

    def _describe_snapshots(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        snapshot = self._snapshot()
        named = params.get("DBSnapshotIdentifier")
        if named and (named != snapshot["DBSnapshotIdentifier"] or region != self.region):
            raise AwsError("DBSnapshotNotFound", f"DBSnapshot {named} not found.")
        matches = (
            region == self.region
            and params.get("DBInstanceIdentifier", self.instance) == self.instance
            and params.get("SnapshotType", "automated") == "automated"
        )
        return {"DBSnapshots": [snapshot] if matches else []}

    def _list_tags(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        if params["ResourceName"] != self.arn or region != self.region:
            raise AwsError("DBInstanceNotFound", f"{params['ResourceName']} not found.")
        return {"TagList": TAGS}

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        self._publish("rebooting", self.state)
        self._task = asyncio.create_task(self._carry_out(work), name=f"rds {self.instance}")

    async def _carry_out(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; the status is then available, or failed if the real effect didn't happen."""
        before = self.state
        try:
            await work()
        except Exception:
            log.exception("the database of %s did not come back", self.instance)
            self._publish("failed", before)
            return
        self._publish("rebooting" if self._stay_rebooting else "available")

    async def _fail_over(self) -> None:
        self.events.add("Multi-AZ instance failover started.", "failover")
        await asyncio.gather(self._restarted(self._database.failover), self._minimum(FAILOVER_SECONDS))
        self.events.add("Multi-AZ instance failover completed", "failover", "notification")

    async def _restart(self) -> None:
        await asyncio.gather(self._restarted(self._database.restart), self._minimum(REBOOT_SECONDS))

    async def _restarted(self, effect: Callable[[], Awaitable[None]]) -> None:
        await effect()
        self.events.add("DB instance restarted", "availability")

    async def _minimum(self, between: tuple[float, float]) -> None:
        await self.clock.wait(self._random.uniform(*between))

    def _publish(self, status: str, zones: State | None = None) -> None:
        """Set the next state, with the zones of an earlier one as long as a failover isn't to be seen."""
        primary, other = self._database.zone, self._database.other_zone
        if zones is not None:
            primary, other = zones.zone, zones.standby_zone or other
        state = State(status=status, zone=primary, standby_zone=other if self.multi_az else None)
        self._states.append((self.clock.now(), state))

    def _seen(self) -> State:
        until = self.clock.now() - timedelta(seconds=self.clock.real(self._read_lag))
        return next((state for at, state in reversed(self._states) if at <= until), self._states[0][1])

    def _require_instance(self, region: str, name: str) -> None:
        if region != self.region or name.lower() != self.instance:
            raise AwsError("DBInstanceNotFound", f"DBInstance {name} not found.")

    def _passes(self, filters: list[dict[str, Any]]) -> bool:
        facts = {"db-instance-id": self.instance, "dbi-resource-id": self.resource_id, "engine": "postgres"}
        for one in filters:
            if one["Name"] not in facts:
                raise AwsError("InvalidParameterValue", f"Unrecognized filter name: {one['Name']}")
        return all(facts[one["Name"]] in one["Values"] for one in filters)

    def _require_idle(self) -> None:
        if self.state.status != "available":
            message = f"Instance {self.instance} is not in available state: it is {self.state.status}."
            raise AwsError("InvalidDBInstanceState", message)

    def _restorable(self) -> datetime:
        """Logs are shipped every five AWS minutes; nothing from before the rehearsal started can be restored."""
        behind = timedelta(seconds=self.clock.real(300))
        return max(self._database.started_at, self.clock.now() - behind)

    def _view(self, state: State) -> dict[str, Any]:
        view = {
            "DBInstanceIdentifier": self.instance,
            "DBInstanceArn": self.arn,
            "DbiResourceId": self.resource_id,
            "DBInstanceStatus": state.status,
            "MultiAZ": self.multi_az,
            "AvailabilityZone": state.zone,
            "Endpoint": {"Address": self._database.host, "Port": self._database.port, "HostedZoneId": "Z1PVIF0B656C1W"},
            "LatestRestorableTime": self.restorable(),
            "ReadReplicaDBInstanceIdentifiers": list(self.replicas),
            "TagList": TAGS,
            **settings(self._database.engine_version),
        }
        return {**view, "SecondaryAvailabilityZone": state.standby_zone} if state.standby_zone else view

    def _snapshot(self) -> dict[str, Any]:
        taken = self.clock.now().replace(hour=4, minute=6, second=31, microsecond=0)
        taken -= timedelta(days=taken > self.clock.now())
        name = f"rds:{self.instance}-{taken:%Y-%m-%d-%H-%M}"
        return {
            "DBSnapshotIdentifier": name,
            "DBSnapshotArn": f"arn:aws:rds:{self.region}:{ACCOUNT}:snapshot:{name}",
            "DBInstanceIdentifier": self.instance,
            "DbiResourceId": self.resource_id,
            "SnapshotCreateTime": taken,
            "InstanceCreateTime": CREATED,
            "SnapshotType": "automated",
            "Status": "available",
            "PercentProgress": 100,
            "Engine": "postgres",
            "EngineVersion": self._database.engine_version,
            "AllocatedStorage": 100,
            "AvailabilityZone": self.state.zone,
            "Encrypted": True,
        }
