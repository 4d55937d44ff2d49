"""What waits in the second region: a balancer, a cluster in which nobody has created the service yet, a secret, alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rehearsal.aws.clock import Clock
from rehearsal.aws.cloudwatch import CloudWatch
from rehearsal.aws.ecs.service import Ecs, known_revisions
from rehearsal.aws.ecs.tasks import Revision, Spawn
from rehearsal.aws.logs import Logs
from rehearsal.aws.rds.api import REPLICA
from rehearsal.aws.secretsmanager import SecretsManager
from rehearsal.machines.balancer import Balancer


class SecondRegion:
    """The parts of one region that is prepared, and serves nobody until somebody creates its service.

    Its task definitions are those that the first region has at the start, without the bad one.
    """

    def __init__(
        self,
        region: str,
        *,
        secret: str,
        clock: Clock,
        logs: Logs,
        spawn: Spawn,
        environment: Callable[[], Mapping[str, str]],
        revisions: Sequence[Revision] | None = None,
    ) -> None:
        self.region = region
        self.secrets = SecretsManager(clock, region)
        self.cloudwatch = CloudWatch(clock=clock, region=region, instance=REPLICA)
        self.balancer = Balancer()
        self.ecs = Ecs(
            clock=clock,
            logs=logs,
            balancer=self.balancer,
            spawn=spawn,
            environment=environment,
            secrets={"DATABASE_URL": self.secrets.arn(secret)},
            revisions=[one for one in revisions or known_revisions() if one.behaviour != "broken"],
            region=region,
        )

    async def close(self) -> None:
        """End every process of the service, and close the balancer."""
        await self.ecs.close()
        await self.balancer.close()
