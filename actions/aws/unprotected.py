"""What is unprotected after a failover: the list that a recovery ends with, so that nobody takes it for the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.aws.instances import rds
from actions.aws.promotion import ReplicaSeen, describe_replica
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Check
from actions.values import Outcome, done

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class Unprotected(Check, kind="rds.unprotected"):
    """List what protects the database that serves now, and what doesn't yet, with the commands that help. It never fails."""

    database: DatabaseRef
    old: str
    old_region: str
    retention: int
    fenced: bool

    timeout: ClassVar[float] = 60.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = ("rds:DescribeDBInstances",)

    @property
    def region(self) -> str:
        """The region of the database."""
        return self.database.region

    @property
    def title(self) -> str:
        return f"List what is unprotected now that {self.database.instance} serves"

    @property
    def target(self) -> str:
        return str(self.database)

    def command(self) -> str:
        return rds("DescribeDBInstances", self.database.region, DBInstanceIdentifier=self.database.instance).command()

    async def look(self, world: World) -> Outcome:
        try:
            seen = await describe_replica(world, self.database)
        except Unreachable as error:
            return done(f"We can't tell what protects {self.database.instance}: {error} Ask again with `/dr targets`.")
        lines = [f"({number}) {said}" for number, said in enumerate(self.missing(seen), 1)]
        return done(f"Unprotected now: {' '.join(lines)}" if lines else "Nothing is missing.")

    def missing(self, seen: ReplicaSeen) -> list[str]:
        """What is missing, each a sentence with a command."""
        name, region = self.database.instance, self.database.region
        change = {"DBInstanceIdentifier": name, "ApplyImmediately": True}
        found = []
        if not any(replica.startswith(f"arn:aws:rds:{self.old_region}:") for replica in seen.replicas):
            found.append(
                f"There is no replica in {self.old_region}: a second failure loses {name}. `/dr region failback` makes one."
            )
        if not seen.multi_az:
            command = rds("ModifyDBInstance", region, **change, MultiAZ=True).command()
            found.append(f"{name} is in one zone: `{command}`.")
        if seen.retention < self.retention:
            command = rds("ModifyDBInstance", region, **change, BackupRetentionPeriod=self.retention).command()
            found.append(f"Backups are kept for {seen.retention} of {self.retention} days: `{command}`.")
        if self.fenced:
            found.append(f"{self.old} in {self.old_region} is kept. It costs, and only its fence keeps it from taking writes.")
        else:
            found.append(
                f"{self.old} in {self.old_region} is not fenced and may come back and take writes. Before anything there is "
                "started again, `/dr region failback` fences it."
            )
        found.append(f"Alarms and scheduled jobs of {self.old_region} are not in {region} unless your stack made them.")
        return found
