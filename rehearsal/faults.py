"""Faults of the whole rehearsal, each with a name: the page's panel, drills and scripts use them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from rehearsal.aws.ecs.service import Ecs
from rehearsal.aws.faults import Faults as AwsFaults
from rehearsal.aws.rds.api import Rds
from rehearsal.corruptions import InjuryFaults
from rehearsal.data_faults import DataFaults, Row
from rehearsal.fleet.faults import FAULTS as FLEET_FAULTS
from rehearsal.fleet.fleet import Fleet
from rehearsal.migrations.project import Project
from rehearsal.postgres.pair import ServerPair
from rehearsal.region_faults import region_rows
from rehearsal.slack.workspace import Workspace
from rehearsal.two_regions import TwoRegions

LOST_ANSWER = "The call takes effect, but its answer gets lost."


class Parts(Protocol):
    """The parts of a rehearsal that can fail, and the dice by which some faults choose."""

    random: random.Random
    ecs: Ecs
    rds: Rds
    database: ServerPair
    aws_faults: AwsFaults
    workspace: Workspace
    migrations: Project
    fleet: Fleet | None
    regions: TwoRegions | None

    async def start_bot(self) -> None:
        """Start the bot."""

    async def kill_bot(self) -> None:
        """Kill the bot."""


@dataclass(frozen=True, kw_only=True)
class NamedFault:
    """Something that can be broken, or mended, by name. `says` explains it; the panel groups by `kind`."""

    name: str
    title: str
    says: str
    kind: str
    cause: Callable[[], Awaitable[Any]]


class FaultPanel:
    """What can go wrong in a rehearsal. `put(name)` causes it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.data = DataFaults(database=parts.database, rds=parts.rds, migrations=parts.migrations)
        self.injuries = InjuryFaults(parts.database, parts.random)
        rows = [*self.data.rows(), *self.injuries.rows(), *region_rows(parts.regions, parts.rds)]
        faults = (*self._outages(), *_named(rows), *self._fleet(), *self._disturbances())
        self.known = {fault.name: fault for fault in faults}

    async def put(self, name: str) -> None:
        """Cause a fault. Raises KeyError with a sentence if there is no fault of this name."""
        if name not in self.known:
            raise KeyError(f"There is no fault {name!r}. The faults are {', '.join(self.known)}.")
        await self.known[name].cause()

    def _outages(self) -> list[NamedFault]:
        """What customers notice."""
        database = self._parts.database
        return [
            NamedFault(
                name="control-plane-hangs",
                title="The control plane hangs",
                says="Its process is frozen, and ECS still counts it as running.",
                kind="outage",
                cause=self._parts.ecs.hang,
            ),
            NamedFault(
                name="bad-deploy",
                title="A bad deploy",
                says="Somebody ships a revision that answers 500 to everything.",
                kind="outage",
                cause=self._parts.ecs.deploy_badly,
            ),
            NamedFault(
                name="database-hangs",
                title="The database hangs",
                says="The primary accepts connections and never answers.",
                kind="outage",
                cause=database.hang_primary,
            ),
            NamedFault(
                name="too-many-connections",
                title="Too many connections",
                says="A nightly report takes every slot and leaves it idle in a transaction.",
                kind="outage",
                cause=database.fill_connections,
            ),
        ]

    def _fleet(self) -> list[NamedFault]:
        """What can be wrong with agents and their hosts; nothing if there are none."""
        if (fleet := self._parts.fleet) is None:
            return []
        return [
            NamedFault(name=name, title=title, says=says, kind="fleet", cause=partial(fleet.put, name))
            for name, (title, says, _) in FLEET_FAULTS.items()
        ]

    def _disturbances(self) -> list[NamedFault]:
        """What makes a recovery harder: lost answers, Slack down, the bot killed; and the end of all faults."""
        rows: list[Row] = [
            ("lost-answer-deploy", "Lost answer: UpdateService", LOST_ANSWER, "answer", self._lose_deployment_answer),
            ("lost-answer-reboot", "Lost answer: RebootDBInstance", LOST_ANSWER, "answer", self._lose_reboot_answer),
            ("slack-away", "Slack is down for 60 s", "No message, command or click gets through.", "slack", self._slack_down),
            ("kill-bot", "Kill the bot", "SIGKILL, and then it's started again.", "bot", self._restart_bot),
            ("heal", "Undo all faults", "AWS, Slack and the database work again.", "mend", self._heal),
        ]
        return _named(rows)

    async def _lose_deployment_answer(self) -> None:
        self._parts.aws_faults.put("after_drop", operation="UpdateService")

    async def _lose_reboot_answer(self) -> None:
        self._parts.aws_faults.put("after_drop", operation="RebootDBInstance")

    async def _slack_down(self) -> None:
        self._parts.workspace.faults.outage(60)

    async def _restart_bot(self) -> None:
        await self._parts.kill_bot()
        await self._parts.start_bot()

    async def _heal(self) -> None:
        self._parts.aws_faults.clear()
        self._parts.workspace.faults.recover()
        if self._parts.regions is not None:
            await self._parts.regions.heal()
        self._parts.rds.heal()
        self.data.heal()
        await self._parts.database.heal()
        if self._parts.fleet is not None:
            await self._parts.fleet.heal()


def _named(rows: list[Row]) -> list[NamedFault]:
    return [NamedFault(name=name, title=title, says=says, kind=kind, cause=cause) for name, title, says, kind, cause in rows]
