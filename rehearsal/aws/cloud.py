"""AWS as a whole: two regions. The first has a control plane behind a load balancer and, once added, a database.

The second is empty, unless it's to be one that the service can go to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rehearsal.aws.clock import Clock
from rehearsal.aws.cloudwatch import CloudWatch
from rehearsal.aws.ecr import ecr_handlers
from rehearsal.aws.ecs.api import ecs_handlers
from rehearsal.aws.ecs.service import Ecs
from rehearsal.aws.ecs.tasks import Revision, Spawn, spawn_child
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import Front, Handler
from rehearsal.aws.journal import Journal
from rehearsal.aws.logs import Logs
from rehearsal.aws.rds.api import Rds
from rehearsal.aws.route53 import Route53
from rehearsal.aws.second_region import SecondRegion
from rehearsal.aws.secretsmanager import SecretsManager
from rehearsal.aws.sts import iam_handlers, sts_handlers
from rehearsal.machines.balancer import Balancer
from rehearsal.postgres.pair import ServerPair

PRIMARY, SECOND = "us-west-2", "us-east-1"
DATABASE_SECRET = "shielda/database-url"


class Cloud:
    """AWS in two regions, as an async context. The control plane's service doesn't exist before `ecs.start()`.

    With `second_environment`, which the tasks there get, the second region has all that a failover to it needs.
    """

    second: SecondRegion | None = None
    route53: Route53 | None = None

    def __init__(
        self,
        *,
        speed: float,
        spawn: Spawn = spawn_child,
        environment: Callable[[], Mapping[str, str]] = dict,
        revisions: Sequence[Revision] | None = None,
        balancer_seconds: float = 2.0,
        second_environment: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self.clock, self.journal, self.faults = Clock(speed), Journal(), Faults()
        self.front = Front(regions={PRIMARY: 0, SECOND: 0}, journal=self.journal, faults=self.faults)
        self.logs = Logs(clock=self.clock)
        self.cloudwatch = CloudWatch(clock=self.clock, region=PRIMARY)
        self.balancer = Balancer(seconds=balancer_seconds)
        self.secrets = SecretsManager(self.clock, PRIMARY)
        self.ecs = Ecs(
            clock=self.clock,
            logs=self.logs,
            balancer=self.balancer,
            spawn=spawn,
            environment=environment,
            secrets={"DATABASE_URL": self.secrets.arn(DATABASE_SECRET)},
            revisions=revisions,
            region=PRIMARY,
        )
        if second_environment:
            self.second = SecondRegion(
                SECOND,
                secret=DATABASE_SECRET,
                clock=self.clock,
                logs=self.logs,
                spawn=spawn,
                environment=second_environment,
                revisions=revisions,
            )
            self.route53 = Route53(self.clock, home=SECOND)
        self.rds: Rds | None = None
        self.endpoints: dict[str, str] = {}

    def add_database(self, database: ServerPair, *, seed: int = 0) -> Rds:
        """Let RDS have this database as its one instance, before the regions are opened."""
        self.rds = Rds(database, self.clock, region=PRIMARY, seed=seed)
        return self.rds

    async def cut_off(self, *regions: str) -> None:
        """Fault: packets to and from these regions vanish: their APIs, balancers and databases; none takes it back.

        What runs there goes on, as it does in a region that only the world outside has lost.
        """
        await self.front.cut_off(*regions)
        await self.balancer.vanish(PRIMARY in regions)
        if self.second:
            await self.second.balancer.vanish(SECOND in regions)
        if self.rds:
            await self.rds.cut_off(*regions)

    async def __aenter__(self) -> Self:
        """Open both regions and the load balancer."""
        self._add_services()
        await self.balancer.start()
        if self.second:
            await self.second.balancer.start()
        if self.route53:
            await self.route53.open()
        self.endpoints = await self.front.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything. Fails if an answer didn't fit AWS's shapes."""
        if self.rds:
            await self.rds.close()
        await self.ecs.close()
        await self.balancer.close()
        if self.second:
            await self.second.close()
        if self.route53:
            await self.route53.close()
        await self.front.close()

    def _add_services(self) -> None:
        second = self.second
        services = [self.ecs, second.ecs] if second else [self.ecs]
        self.front.add("ecs", ecs_handlers(services))
        self.front.add("ecr", ecr_handlers(services))
        self.front.add("secretsmanager", _by_region(self.secrets.handlers(), second.secrets.handlers() if second else None))
        self.front.add("cloudwatch", _by_region(self.cloudwatch.handlers(), second.cloudwatch.handlers() if second else None))
        self.front.add("logs", self.logs.handlers())
        self.front.add("sts", sts_handlers())
        self.front.add("iam", iam_handlers(self.faults))
        if self.route53:
            self.front.add("route53", self.route53.handlers())
        if self.rds:
            self.front.add("rds", self.rds.handlers)


def _by_region(first: dict[str, Handler], second: dict[str, Handler] | None) -> dict[str, Handler]:
    """Each region's own handlers; if there is only the first's, they know that the second has nothing."""
    if second is None:
        return first

    def handler(name: str) -> Handler:
        return lambda region, params: (second if region == SECOND else first)[name](region, params)

    return {name: handler(name) for name in first}
