"""The base of actions that create a named thing in RDS: sent once, found again by its name and marks, followed until available.

RDS takes no idempotency token for these calls, so the name is the key. It was decided when the plan was made, and what carries
it counts as ours only if its marks fit (the source of a snapshot, the tags of a restored instance).
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.aws.call import AwsRefused, Call
from actions.aws.follow import follow
from actions.aws.instances import BROKEN
from actions.errors import Uncertain, Unreachable
from actions.step import Action
from actions.values import FOUND, Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A named thing as RDS shows it: its status, how much of it is done (percent, None if RDS doesn't say), and its marks."""

    status: str
    marks: Mapping[str, str]
    percent: int | None = None


@dataclass(frozen=True, kw_only=True)
class Create(Action):
    """What these actions share. A subclass says what it sends, how the thing is found, and what marks it as ours."""

    region: str

    settle: ClassVar[float] = 60.0
    plane: ClassVar[str] = "control"
    at_least: ClassVar[float] = 60.0  # seconds of our own clock: a rehearsal copies real databases
    taken: ClassVar[str]  # RDS's error code for a name that exists already

    @property
    @abstractmethod
    def call(self) -> Call:
        """The one request."""

    @property
    @abstractmethod
    def thing(self) -> str:
        """What is created, with its name: "snapshot before-restore"."""

    @abstractmethod
    async def look_at_source(self, world: World) -> Facts:
        """What must be known of that which it is made from. Raises `Unreachable`."""

    @abstractmethod
    def judge_source(self, facts: Facts) -> Finding:
        """Whether it can be made from that."""

    @abstractmethod
    async def find(self, world: World) -> Seen | None:
        """The thing as RDS shows it now; None if there is none of this name. Raises `Unreachable`."""

    @abstractmethod
    def marks(self, facts: Facts) -> Mapping[str, str]:
        """What the thing carries if this step made it."""

    async def detail(self, world: World, seen: Seen) -> str:
        """One more sentence about the thing once it is available; "" if there is nothing to say."""
        return ""

    @property
    def target(self) -> str:
        return self.thing

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        seen, source = await asyncio.gather(self.find(world), self.look_at_source(world))
        return {
            **source,
            "found": seen is not None,
            "status": seen.status if seen else "",
            "foreign": self._foreign(seen, source) if seen else "",
        }

    def precheck(self, facts: Facts) -> Finding:
        if facts["foreign"]:
            return stop(f"There is already a {self.thing}, and it isn't this plan's: {facts['foreign']}. Plan again.")
        if facts["status"] in (*BROKEN, "deleting"):
            return stop(f"There is already a {self.thing}, and it is {facts['status']}. Wait until it is gone, then retry.")
        if facts["found"]:
            return ok(f"The {self.thing} exists already and is {facts['status']}.")
        return self.judge_source(facts)

    async def apply(self, world: World, facts: Facts) -> Facts:
        if facts["found"]:
            return FOUND
        try:
            answer = await world.aws.change(self.call)
        except AwsRefused as error:
            if error.code == self.taken:  # since we looked: by ourselves before a crash, or by somebody else
                raise Uncertain(str(error)) from error
            raise
        return {"request_id": answer.request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            seen = await self.find(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if seen is None:
            return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: there is no {self.thing}.")
        if foreign := self._foreign(seen, facts):
            return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: the {self.thing} isn't this plan's, {foreign}.")
        receipt = FOUND if facts["found"] else {}
        return Proof(verdict=Verdict.DONE, says=f"The {self.thing} exists and is {seen.status}.", receipt=receipt)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(passed: float) -> Outcome | str:
            return await self._progress(world, facts, receipt, passed)

        gave_up = f"The {self.thing} is not available"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=self.at_least, every=6.0)

    async def _progress(self, world: World, facts: Facts, receipt: Facts, passed: float) -> Outcome | str:
        seen = await self.find(world)
        if seen is None:
            if passed <= self.settle:
                return "RDS does not show it yet."
            return failed(f"The {self.thing} has vanished: somebody deleted it. Plan again.")
        if foreign := self._foreign(seen, facts):
            return failed(f"The {self.thing} is no longer the one that was created: {foreign}.")
        if seen.status in (*BROKEN, "deleting"):
            return failed(f"The {self.thing} is {seen.status} and will not become available. Drop it and plan again.")
        if seen.status != "available":
            percent = f", {seen.percent} % done" if seen.percent else ""
            return f"it is {seen.status}{percent} after {passed:.0f} s."
        detail = await self.detail(world, seen)
        if receipt.get("found"):
            return already_done(f"The {self.thing} was there already. {detail}".strip())
        return done(f"The {self.thing} is available after {passed:.0f} s. {detail}".strip())

    def _foreign(self, seen: Seen, facts: Facts) -> str:
        """Why the thing isn't the one that this step makes; "" if it is."""
        wrong = [(name, value) for name, value in self.marks(facts).items() if seen.marks.get(name) != value]
        return ", ".join(f"its {name} is {seen.marks.get(name) or 'missing'} and not {value}" for name, value in wrong)
