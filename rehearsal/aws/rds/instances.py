"""An instance as RDS keeps it: its settings, tags, state and the server behind it, one piece of work at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from rehearsal.aws.clock import Clock
from rehearsal.aws.rds.events import Source
from rehearsal.aws.rds.settings import Settings, reachable
from rehearsal.aws.sts import ACCOUNT
from rehearsal.aws.wire import AwsError
from rehearsal.postgres.copies import Base

HIDDEN_WHILE_CREATING = frozenset({"creating", "incompatible-restore"})
log = logging.getLogger(__name__)


class Behind(Protocol):
    """What really runs behind an instance."""

    @property
    def host(self) -> str:
        """The endpoint's host."""

    @property
    def port(self) -> int:
        """The endpoint's port, the same as long as it lives."""

    @property
    def server_port(self) -> int:
        """The port of the server itself, from which a replica streams."""

    @property
    def zones(self) -> tuple[str, str]:
        """The zone it is in, and the one that it would fail over to."""

    @property
    def restorable(self) -> datetime | None:
        """The latest moment to which it can be restored; None while nothing of it is archived."""

    @property
    def first_backup(self) -> Base | None:
        """The backup from which its archive reaches on."""

    async def restart(self) -> None:
        """Stops and starts where it is."""

    async def fail_over(self) -> None:
        """Goes on in its other zone."""

    async def back_up(self) -> Base:
        """A base backup of it as it is now."""

    def reach(self, reachable: bool) -> None:
        """Whether new connections get through."""

    async def vanish(self, *, endpoint: bool, link: bool) -> None:
        """Whether packets to its endpoint vanish from now on, and those between it and what it follows."""

    async def close(self) -> None:
        """It is gone, with its data."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What RDS says about an instance; published in one assignment, so that no read sees half a change."""

    status: str
    zone: str | None
    standby_zone: str | None
    address: tuple[str, int] | None


class Instance:
    """One DB instance of a region."""

    def __init__(
        self,
        *,
        name: str,
        region: str,
        resource_id: str,
        settings: Settings,
        tags: list[dict[str, str]],
        clock: Clock,
        created_at: datetime | None = None,
        behind: Behind | None = None,
    ) -> None:
        self.name = name
        self.region = region
        self.resource_id = resource_id
        self.settings = settings
        self.tags = tags
        self.created_at = created_at
        self.behind = behind
        self.pending: Settings = {}
        self.replicas: tuple[str, ...] = ()
        self.follows = ""  # the ARN of the instance that it is a read replica of
        self.following: Callable[[], bool] = lambda: True  # whether replication goes on
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._states: deque[tuple[datetime, State]] = deque(maxlen=50)
        self.publish("creating" if behind is None else "available")

    @property
    def arn(self) -> str:
        """Its ARN, which changes with its name."""
        return f"arn:aws:rds:{self.region}:{ACCOUNT}:db:{self.name}"

    @property
    def source(self) -> Source:
        """What its events are about."""
        return Source(name=self.name, arn=self.arn)

    @property
    def state(self) -> State:
        """What is true now; reads may be served an older one."""
        return self._states[-1][1]

    @property
    def status(self) -> str:
        """Its DBInstanceStatus now."""
        return self.state.status

    @property
    def busy(self) -> bool:
        """Whether work on it is under way."""
        return self._task is not None and not self._task.done()

    def require(self, *statuses: str) -> None:
        """Raises InvalidDBInstanceState unless it has one of these statuses."""
        if self.status not in statuses:
            message = f"Instance {self.name} is not in {' or '.join(statuses)} state: it is {self.status}."
            raise AwsError("InvalidDBInstanceState", message)

    def publish(self, status: str, zones: State | None = None) -> None:
        """The next state; with the zones of another one while a failover isn't told yet."""
        primary, other = self.behind.zones if self.behind else (None, None)
        if zones is not None:
            primary, other = zones.zone, zones.standby_zone or other
        address = None
        if self.behind is not None and status not in HIDDEN_WHILE_CREATING:
            address = (self.behind.host, self.behind.port)
        standby = other if self.settings["MultiAZ"] else None
        state = State(status=status, zone=primary, standby_zone=standby, address=address)
        self._states.append((self._clock.now(), state))

    def let_in(self) -> None:
        """Its security groups take effect."""
        if self.behind is not None:
            self.behind.reach(reachable(self.settings))

    def begin(self, work: Callable[[], Awaitable[None]], *, otherwise: str = "failed", last: bool = False) -> None:
        """Starts a piece of work, after the one under way; it publishes its own states, or `otherwise` when it fails.

        The `last` one ends what is under way.
        """
        before, earlier = self.state, self._task
        if last and earlier:
            earlier.cancel()
        self._task = asyncio.create_task(self._carry_out(work, earlier, before, otherwise), name=f"rds {self.name}")

    async def settled(self, timeout: float = 60.0) -> None:
        """Returns when no work is under way."""
        if self._task:
            await asyncio.wait_for(asyncio.shield(self._task), timeout)

    async def close(self) -> None:
        """Stops what is under way."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def seen(self, lag_seconds: float = 0.0) -> State:
        """Its state so many AWS seconds ago."""
        until = self._clock.now() - timedelta(seconds=self._clock.real(lag_seconds))
        return next((state for at, state in reversed(self._states) if at <= until), self._states[0][1])

    def view(self, lag_seconds: float = 0.0) -> dict[str, Any]:
        """The DBInstance of AWS's answers."""
        state = self.seen(lag_seconds)
        address = None
        if state.address:
            address = {"Address": state.address[0], "Port": state.address[1], "HostedZoneId": "Z1PVIF0B656C1W"}
        view = {
            "DBInstanceIdentifier": self.name,
            "DBInstanceArn": self.arn,
            "DbiResourceId": self.resource_id,
            "DBInstanceStatus": state.status,
            "InstanceCreateTime": self.created_at,
            "AvailabilityZone": state.zone,
            "SecondaryAvailabilityZone": state.standby_zone if state.zone else None,
            "Endpoint": address,
            "LatestRestorableTime": self.behind.restorable if self.behind else None,
            "ReadReplicaDBInstanceIdentifiers": [_named_from(self.region, arn) for arn in self.replicas],
            "ReadReplicaSourceDBInstanceIdentifier": _named_from(self.region, self.follows) or None,
            "StatusInfos": [_replication(self.following())] if self.follows and state.status != "creating" else None,
            "TagList": list(self.tags),
            "PendingModifiedValues": dict(self.pending),
            **self.settings,
        }
        return {name: value for name, value in view.items() if value is not None}

    async def _carry_out(
        self, work: Callable[[], Awaitable[None]], earlier: asyncio.Task[None] | None, before: State, otherwise: str
    ) -> None:
        if earlier:
            await asyncio.wait({earlier})
        try:
            await work()
        except Exception:
            log.exception("work on the instance %s failed", self.name)
            self.publish(otherwise, before)


def _named_from(region: str, arn: str) -> str:
    """How RDS names another instance: by its identifier in its own region, and by its ARN from another one."""
    return arn if f":{region}:" not in arn else arn.rpartition(":")[2]


def _replication(normal: bool) -> dict[str, Any]:
    says = {} if normal else {"Message": "The read replica is not connected to its source."}
    return {"StatusType": "read replication", "Normal": normal, "Status": "replicating" if normal else "error", **says}
