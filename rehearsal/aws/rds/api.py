"""RDS as far as an incident needs it: production's Multi-AZ instance, what is restored beside it, and their faults.

A state moves on when both the real effect has finished and AWS's minimum time has passed.
"""

from __future__ import annotations

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import Handler
from rehearsal.aws.rds.behind import Production
from rehearsal.aws.rds.changes import Changes
from rehearsal.aws.rds.deletions import Deletions
from rehearsal.aws.rds.events import Events
from rehearsal.aws.rds.instances import Instance, State
from rehearsal.aws.rds.reading import Reading
from rehearsal.aws.rds.reboots import Reboots
from rehearsal.aws.rds.registry import Registry, Snapshot
from rehearsal.aws.rds.replicas import Replicas
from rehearsal.aws.rds.restores import RestoreFaults, Restores
from rehearsal.aws.rds.settings import CREATED, TAGS, replica_settings, settings
from rehearsal.aws.rds.snapshots import Snapshots
from rehearsal.postgres.damage import DAMAGE
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.server import ServerError

REPLICA = "shielda-replica-us-east-1"


class Rds:
    """The account's RDS: production in one region, and the methods by which its faults are put in and taken back.

    Production exists from `open` on, which is at once when the database runs already.
    """

    production: Instance
    replica: Instance | None = None  # production's, in another region, once it was opened

    def __init__(
        self,
        database: ServerPair,
        clock: Clock,
        *,
        instance: str = "shielda-prod",
        region: str = "us-west-2",
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.registry = Registry(clock, database, seed)
        self._database, self._name, self._region, self._seed = database, instance, region, seed
        self._reading = Reading(self.registry)
        self._snapshots = Snapshots(self.registry)
        self._restores = Restores(self.registry)
        self._reboots = Reboots(self.registry)
        changes, deletions = Changes(self.registry), Deletions(self.registry, self._snapshots)
        self._replicas = Replicas(self.registry, self._snapshots)
        parts = (self._reading, self._reboots, self._snapshots, self._restores, self._replicas, changes, deletions)
        self.handlers: dict[str, Handler] = {name: handler for part in parts for name, handler in part.handlers.items()}
        if database.running:
            self.open()

    def open(self) -> None:
        """Production exists, open to its applications, with the automated snapshot of its first day."""
        self.production = Instance(
            name=self._name,
            region=self._region,
            resource_id="db-QZ4T7MRWX3N6YH2KVLBEJ5CDAS",
            settings=settings(self._database.engine_version),
            tags=[dict(tag) for tag in TAGS],
            clock=self.clock,
            created_at=CREATED,
            behind=Production(self._database),
        )
        self.production.let_in()
        self.registry.add(self.production)
        self._snapshots.keep_first(self.production, self._database.first)

    async def open_replica(self, name: str = REPLICA, region: str = "us-east-1") -> Instance:
        """Production's read replica in another region exists, and streams."""
        wanted = replica_settings(self.production.settings, region)
        self.replica = await self._replicas.first(name, region, self.production, wanted)
        return self.replica

    @property
    def state(self) -> State:
        """What is true of production now; reads may be served an older one."""
        return self.production.state

    @property
    def events(self) -> Events:
        """What happened to all instances and snapshots."""
        return self.registry.events

    @property
    def restore_faults(self) -> RestoreFaults:
        """What goes wrong with restores."""
        return self._restores.faults

    async def close(self) -> None:
        """Stops what is under way."""
        await self.registry.close()

    async def reset(self) -> None:
        """Production is as on the first day, and all there is: instances and snapshots made since are gone with their data."""
        if not self._database.running:
            raise ServerError("Production was deleted. Start another rehearsal.")
        await self.registry.clear(self.production)
        self.open()
        if self.replica is not None:
            await self.open_replica(self.replica.name, self.replica.region)

    async def settled(self, timeout: float = 60.0) -> None:
        """Returns when no work is under way on any instance."""
        for one in list(self.registry.instances.values()):
            await one.settled(timeout)

    async def take_automated_snapshot(self) -> Snapshot:
        """Production's daily snapshot, now; returns when it is complete."""
        return await self._snapshots.take_automated(self.production)

    async def take_damaged_snapshot(self) -> Snapshot:
        """Fault: today's automated snapshot has damage in it, of the kind that the seed decides, and production none."""
        snapshot, kinds = await self.take_automated_snapshot(), list(DAMAGE.values())
        snapshot.damage = kinds[self._seed % len(kinds)]
        return snapshot

    def stick(self, status: str) -> None:
        """Fault: production says this status from now on, and refuses what needs it to be available."""
        self.production.publish(status)

    def stale_reads(self, aws_seconds: float) -> None:
        """Fault: descriptions show instances as they were so many AWS seconds ago; 0 takes it back."""
        self._reading.lag = aws_seconds

    async def cut_off(self, *regions: str) -> None:
        """Fault: nobody reaches the databases of these regions, whose servers go on; none takes it back."""
        self.registry.cut_off = set(regions)
        for one in list(self.registry.instances.values()):
            if one.behind is not None:
                await self.registry.cut(one.behind, one)

    def back_up_replica(self) -> None:
        """Fault: the replica's daily backup begins now; meanwhile RDS refuses to promote it."""
        assert self.replica is not None
        self._replicas.back_up(self.replica)

    def event_lag(self, aws_seconds: float) -> None:
        """Fault: an event is listed only so many AWS seconds after it happened; 0 takes it back."""
        self.events.lag = aws_seconds

    def single_az(self, off: bool = True) -> None:
        """Fault: production is not Multi-AZ, so that a failover is refused."""
        self.production.settings["MultiAZ"] = not off
        self.production.publish(self.state.status)

    def automatic_failover(self) -> None:
        """RDS has noticed by itself that the primary is gone, and fails over; returns at once."""
        self._reboots.fail_over(self.production)

    def heal(self) -> None:
        """Takes the faults back; what is under way goes on."""
        self._reading.lag = self.events.lag = 0.0
        self.restore_faults.heal()
        for snapshot in self.registry.snapshots.values():
            snapshot.damage = None
        self.production.settings["MultiAZ"] = True
        if not self.production.busy:
            self.production.publish("available")
