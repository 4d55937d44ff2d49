"""How many tasks a service wants: none while its database is restored, and as many as before afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.aws.call import Call
from actions.aws.deployments import Service, describe_service, failure_reasons, stopped_tasks
from actions.aws.follow import follow
from actions.aws.promotion import was_promoted
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import FOUND, Facts, Finding, Json, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class SetDesiredCount(Action, kind="ecs.set_desired_count"):
    """Set how many tasks a service runs, and wait until so many run; 0 stops all of them."""

    cluster: str
    service: str
    region: str
    count: int

    timeout: ClassVar[float] = 900.0
    settle: ClassVar[float] = 30.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = (
        "ecs:UpdateService",
        "ecs:DescribeServices",
        "ecs:ListTasks",
        "ecs:DescribeTasks",
    )

    @property
    def title(self) -> str:
        return f"Start service {self.service} with {count(self.count, 'task')}" if self.count else f"Stop service {self.service}"

    @property
    def target(self) -> str:
        return f"service {self.cluster}/{self.service}"

    @property
    def call(self) -> Call:
        """The one request."""
        parameters = {"cluster": self.cluster, "service": self.service, "desiredCount": self.count}
        return Call(service="ecs", operation="UpdateService", region=self.region, parameters=parameters)

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        service = await self._service(world)
        return {"status": service.status, "desired": service.desired, "running": service.running}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["status"] != "ACTIVE":
            return stop(f"Service {self.cluster}/{self.service} is {facts['status']} in {self.region}: it can't be scaled.")
        return ok(f"Service {self.service} wants {count(facts['desired'], 'task')}, and {facts['running']} run.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        if facts["desired"] == self.count:
            return FOUND
        return {"request_id": (await world.aws.change(self.call)).request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            service = await self._service(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_count(self.count, facts, service)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(passed: float) -> Outcome | str:
            service = await self._service(world)
            if service.status != "ACTIVE":
                return failed(f"Service {self.service} is {service.status}.")
            if service.desired != self.count and passed > self.settle:
                says = f"Service {self.service} wants {count(service.desired, 'task')} again and not {self.count}"
                return failed(f"{says}: another person or auto scaling set it. Stop that, then retry.")
            stopping = 0 if self.count else await self._stopping(world)
            if (service.desired, service.running, service.pending, stopping) == (self.count, self.count, 0, 0):
                says = (
                    f"Service {self.service} runs {count(self.count, 'task')}" if self.count else f"No {self.service} task runs"
                )
                if receipt.get("found"):
                    return already_done(f"{says}, as it did before.")
                return done(f"{says}, seen after {passed:.0f} s.")
            if not self.count:
                return f"{count(max(service.running, stopping), 'task')} not stopped yet."
            said = f"{service.running} of {count(self.count, 'task')} running, {service.pending} starting"
            return f"{said}{await self._reasons(world)}."

        gave_up = f"Service {self.service} does not run {count(self.count, 'task')}"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=30.0)

    async def _service(self, world: World) -> Service:
        return await describe_service(world, self.cluster, self.service, self.region)

    async def _stopping(self, world: World) -> int:
        """How many tasks are not stopped for good: one that ECS no longer counts as running may still write for a while."""
        service = {"cluster": self.cluster, "serviceName": self.service}
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in await world.aws.read_all(self._ask("ListTasks", **service, desiredStatus=status), "taskArns", at_most=100)
        ]
        asked = [arns[n : n + 100] for n in range(0, len(arns), 100)]  # DescribeTasks takes no more
        answers = [await world.aws.read(self._ask("DescribeTasks", cluster=self.cluster, tasks=some)) for some in asked]
        return sum(task.get("lastStatus") != "STOPPED" for answer in answers for task in answer.get("tasks", []))

    def _ask(self, operation: str, **parameters: Json) -> Call:
        return Call(service="ecs", operation=operation, region=self.region, parameters=parameters)

    async def _reasons(self, world: World) -> str:
        """Why tasks failed of late; "" if none did or ECS doesn't say."""
        try:
            why = failure_reasons(await stopped_tasks(world, self.cluster, self.service, self.region))
        except Unreachable:
            return ""
        return f"; tasks failed: {why}" if why else ""


@dataclass(frozen=True, kw_only=True)
class StartUnless(SetDesiredCount, kind="ecs.start_unless_promoted"):
    """Start a service again if the run ended before the replica was promoted; once it is, the service runs in its region."""

    replica: DatabaseRef

    permissions: ClassVar[tuple[str, ...]] = (*SetDesiredCount.permissions, "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"{super().title} again, unless {self.replica.instance} was promoted"

    async def observe(self, world: World) -> Facts:
        return {**await super().observe(world), "promoted": await was_promoted(world, self.replica)}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["promoted"]:
            return already_done(f"{self.replica.instance} was promoted, so {self.service} stays stopped in {self.region}.")
        return super().precheck(facts)


def judge_count(wanted: int, facts: Facts, service: Service) -> Proof:
    """Whether the service wants that many tasks since `facts`. Not done only if it wants as many as before."""
    says = f"the service wants {count(service.desired, 'task')}"
    if service.status != "ACTIVE":
        return Proof(verdict=Verdict.UNKNOWN, says=f"The service is {service.status}.")
    if service.desired == wanted:
        receipt = FOUND if facts["desired"] == wanted else {}
        return Proof(verdict=Verdict.DONE, says=f"{says[:1].upper()}{says[1:]}.", receipt=receipt)
    if service.desired == facts["desired"]:
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {says}, as before.")
    return Proof(verdict=Verdict.UNKNOWN, says=f"It was {facts['desired']}, and now {says}: somebody else set it.")
