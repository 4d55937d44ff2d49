"""Changing and dropping instances that a run of ours made, and no others: both refuse an instance without the run's tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.aws.call import Call
from actions.aws.follow import follow
from actions.aws.instances import BROKEN, Described, find_instance, rds
from actions.aws.settings import SETTINGS, Settings, differences
from actions.errors import Unreachable
from actions.step import Action
from actions.values import FOUND, Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

IDLE = ("available", "storage-full", "stopped", "deleting", *BROKEN)  # RDS drops no instance while it works on it


@dataclass(frozen=True, kw_only=True)
class _Own(Action):
    """What both actions share: they touch one instance, and only if it carries the run's tag (KEY=VALUE)."""

    instance: str
    region: str
    tag: str

    settle: ClassVar[float] = 60.0
    plane: ClassVar[str] = "control"
    touches_production: ClassVar[bool] = False

    @property
    def target(self) -> str:
        return f"database {self.instance}"

    async def find(self, world: World) -> Described | None:
        """The instance as it is now; None if there is none."""
        return await find_instance(world, self.instance, self.region)

    def not_ours(self) -> Finding:
        """Why an instance without the tag isn't touched."""
        return stop(f"{self.instance} does not carry the tag {self.tag}, so this run did not make it. It is left alone.")


@dataclass(frozen=True, kw_only=True)
class DropInstance(_Own, kind="rds.drop_instance"):
    """Drop a database that this run made, without a final snapshot; one without the run's tag or with protection is refused."""

    timeout: ClassVar[float] = 3600.0
    permissions: ClassVar[tuple[str, ...]] = ("rds:DeleteDBInstance", "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Drop temporary database {self.instance}"

    @property
    def call(self) -> Call:
        """The one request."""
        return rds("DeleteDBInstance", self.region, DBInstanceIdentifier=self.instance, SkipFinalSnapshot=True)

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        """As ever; while RDS is still at work on the instance it waits, because RDS would refuse to drop it."""
        found = await self.find(world)
        async for _ in world.ticks(timeout=self.timeout, every=6.0, at_least=60.0):
            if found is None or found.status in IDLE or not found.has_tag(self.tag):
                break
            found = await self.find(world)
        if found is None:
            return {"found": False}
        return {
            "found": True,
            "status": found.status,
            "resource_id": found.resource_id,
            "ours": found.has_tag(self.tag),
            "protected": found.protected,
        }

    def precheck(self, facts: Facts) -> Finding:
        if not facts["found"]:
            return ok(f"There is no database {self.instance}.")
        if not facts["ours"]:
            return self.not_ours()
        if facts["protected"]:
            return stop(f"{self.instance} has deletion protection. Switch it off by hand if it is to go, then retry.")
        if facts["status"] not in IDLE:
            return stop(f"{self.instance} is {facts['status']}, and RDS drops no instance meanwhile. Retry later.")
        return ok(f"{self.instance} carries the tag {self.tag} and is {facts['status']}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        if not facts["found"] or facts["status"] == "deleting":
            return FOUND
        return {"request_id": (await world.aws.change(self.call)).request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            found = await self.find(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_drop(self.instance, facts, found)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(passed: float) -> Outcome | str:
            found = await self.find(world)
            if found is not None:
                return self._still_there(facts, found, passed)
            if not facts["found"] and passed < self.settle:
                return "it is not there, but it may not be visible yet."  # a restore whose answer was lost becomes visible late
            if facts["found"] and not receipt.get("found"):
                return done(f"{self.instance} is gone: RDS has no database of this name, seen after {passed:.0f} s.")
            return already_done(f"{self.instance} is gone already: RDS has no database of this name.")

        return await follow(world, look, gave_up=f"{self.instance} is not gone", timeout=self.timeout, at_least=30.0)

    def _still_there(self, facts: Facts, found: Described, passed: float) -> Outcome | str:
        if not facts["found"]:
            return failed(f"{self.instance} was not there and now is, {found.status}. Nothing was dropped. Retry.")
        if found.resource_id != facts["resource_id"]:
            return failed(f"{self.instance} is gone, and there is another database of its name: it is left alone.")
        if found.status != "deleting" and passed > self.settle:
            return failed(f"{self.instance} is {found.status} and is not being deleted. Retry.")
        return f"it is {found.status} after {passed:.0f} s."


@dataclass(frozen=True, kw_only=True)
class ChangeSettings(_Own, kind="rds.change_settings"):
    """Give a database that this run made the settings that no restore takes over, at once and not in its maintenance window."""

    settings: Settings

    timeout: ClassVar[float] = 3600.0
    permissions: ClassVar[tuple[str, ...]] = ("rds:ModifyDBInstance", "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Set {', '.join(SETTINGS[name][0] for name in self.settings)} of database {self.instance}"

    @property
    def call(self) -> Call:
        """The one request."""
        return rds("ModifyDBInstance", self.region, DBInstanceIdentifier=self.instance, **self.settings, ApplyImmediately=True)

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        found = await self.find(world)
        return {
            "status": found.status if found else "",
            "ours": found is not None and found.has_tag(self.tag),
            "wrong": [*differences(self.settings, found.settings), *found.unsettled] if found else [],
        }

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if not facts["status"]:
            return stop(f"RDS in {self.region} has no database {self.instance}.")
        if not facts["ours"]:
            return self.not_ours()
        if facts["status"] != "available":
            return stop(f"{self.instance} is {facts['status']}, and RDS changes only an available one. Retry later.")
        if not facts["wrong"]:
            return already_done(f"{self.instance} has these settings already.")
        return ok(f"{self.instance} is available; to be changed: {'; '.join(facts['wrong'])}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        return {"request_id": (await world.aws.change(self.call)).request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            found = await self.find(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_change_of_settings(self.instance, self.settings, facts, found)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(passed: float) -> Outcome | str:
            found = await self.find(world)
            if found is None:
                return failed(f"{self.instance} has vanished: somebody deleted it.")
            wrong = [*differences(self.settings, found.settings), *found.unsettled]
            if wrong or found.status != "available":
                return f"it is {found.status} after {passed:.0f} s{'; ' if wrong else ''}{'; '.join(wrong)}."
            return done(f"{self.instance} has its settings after {passed:.0f} s.")

        gave_up = f"{self.instance} does not have its settings"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=30.0)


def judge_drop(name: str, facts: Facts, found: Described | None) -> Proof:
    """Whether the instance of `facts` was dropped since. Not done only if it is as it was."""
    if not facts["found"]:
        now = f"is there and {found.status}" if found else "was not there, and is not"
        verdict = Verdict.NOT_DONE if found else Verdict.DONE
        return Proof(verdict=verdict, says=f"{name} {now}.", receipt=FOUND if found is None else {})
    receipt = FOUND if facts["status"] == "deleting" else {}
    if found is None:
        return Proof(verdict=Verdict.DONE, says=f"RDS has no database {name} any more.", receipt=receipt)
    if found.resource_id != facts["resource_id"]:
        says = f"{name} is gone, and there is another database of this name, made by somebody else."
        return Proof(verdict=Verdict.UNKNOWN, says=says)
    if found.status == "deleting":
        return Proof(verdict=Verdict.DONE, says=f"{name} is being deleted.", receipt=receipt)
    return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {name} is still there, {found.status}.")


def judge_change_of_settings(name: str, settings: Settings, facts: Facts, found: Described | None) -> Proof:
    """Whether the settings were changed since `facts`. Not done only if all is as it was and nothing is under way."""
    if found is None:
        return Proof(verdict=Verdict.UNKNOWN, says=f"RDS has no database {name} any more.")
    if not differences(settings, found.settings):
        return Proof(verdict=Verdict.DONE, says=f"{name} has these settings.")
    wrong = [*differences(settings, found.settings), *found.unsettled]
    if wrong == facts["wrong"] and found.status == "available":
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {'; '.join(wrong)}.")
    verdict = Verdict.DONE if found.unsettled else Verdict.UNKNOWN
    return Proof(verdict=verdict, says=f"{name} is {found.status}: {'; '.join(wrong)}.")
