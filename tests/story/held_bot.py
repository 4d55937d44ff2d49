"""The bot with one scenario more: `python -m tests.story.held_bot serve --config dr.toml`.

`/dr test hold` makes a file, looks, asks in a Hold and restarts the control plane. At the end, whatever happens, the file is
dropped. `/dr backup verify` is a shorter one here: it makes a file and drops it, and touches no production.

The file stands for a temporary thing; `effects.txt` beside it lists what was done to it, and `controls.json` says how
the steps turn out. All of it is in the folder that HELD_DIR names. The product knows nothing of this.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import bot.engine.planner  # noqa: F401 - every scenario, and with them every action, is registered by it
from actions.aws.ecs import ForceNewDeployment
from actions.errors import Refused, Unreachable
from actions.health import HealthAnswers
from actions.step import Action, Hold
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, done, ok, stop, warn
from actions.world import World
from bot.cli import main
from commands.memory import VERIFICATION
from commands.plan import Plan
from commands.scenario import scenario
from tests.story.crashing_bot import watch

SLOW = 3.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What the steps share: controls of the test, and what was done."""

    path: Path

    def control(self, name: str) -> Any:
        """What the test says about one thing; None if nothing."""
        controls = self.path / "controls.json"
        return json.loads(controls.read_text()).get(name) if controls.exists() else None

    def note(self, effect: str) -> None:
        """Write an effect down."""
        with (self.path / "effects.txt").open("a") as file:
            file.write(f"{effect}\n")


class _OnFile(Action):
    """An action on a file."""

    folder: str
    timeout: ClassVar[float] = 600.0
    settle: ClassVar[float] = 0.0
    touches_production: ClassVar[bool] = False
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ()

    @property
    def shared(self) -> Folder:
        return Folder(path=Path(self.folder))

    @property
    def file(self) -> Path:
        return self.shared.path / "temporary"

    @property
    def target(self) -> str:
        return str(self.file)

    async def observe(self, world: World) -> Facts:
        return {"there": self.file.exists()}

    async def obey(self, control: str | None) -> None:
        """Be slow, or refuse, as the test says."""
        if control == "refused":
            raise Refused("The folder refused it.")
        if control == "slow":
            self.shared.note("trying")
            await asyncio.sleep(SLOW)


@dataclass(frozen=True, kw_only=True)
class MakeFile(_OnFile, kind="test.make_file"):
    """Make the temporary file."""

    folder: str
    title: ClassVar[str] = "Make the temporary file"

    def command(self) -> str:
        return f"touch {self.file}"

    def precheck(self, facts: Facts) -> Finding:
        return ok("It can be made.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        await self.obey(self.shared.control("make"))
        self.file.touch()
        self.shared.note("make")
        return {}

    async def applied(self, world: World, facts: Facts) -> Proof:
        return Proof(verdict=Verdict.DONE if self.file.exists() else Verdict.NOT_DONE, says="I looked.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        for number in range(self.shared.control("looks") or 0):
            world.progress(f"Look {number} at the file, as password=hunter2hunter2 allows.")
            await asyncio.sleep(0.1)
        return done("The file is there.")


@dataclass(frozen=True, kw_only=True)
class Judge(Hold, kind="test.judge"):
    """Ask whether to go on."""

    folder: str
    target: ClassVar[str] = "the temporary file"
    timeout: ClassVar[float] = 60.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ()
    question: ClassVar[str] = "Is the file good enough?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        shared = Folder(path=Path(self.folder))
        shared.note("evidence")
        kind = shared.control("evidence")
        if kind == "unread":
            raise Unreachable("The disk did not answer.")
        bad = [stop("The file is damaged.", "block 7 of 9")] if kind == "stop" else []
        return (
            *bad,
            ok("The file is there."),
            warn("Its rows were counted a while ago & <@U0ALICE> knows.", shared.control("rows") or ""),
        )


@dataclass(frozen=True, kw_only=True)
class DropFile(_OnFile, kind="test.drop_file"):
    """Drop the temporary file."""

    folder: str
    title: ClassVar[str] = "Drop the temporary file"

    def command(self) -> str:
        return f"rm {self.file}"

    def precheck(self, facts: Facts) -> Finding | Outcome:
        return ok("It can be dropped.") if facts["there"] else already_done("There is no temporary file.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        await self.obey(self.shared.control("drop"))
        self.file.unlink()
        self.shared.note("drop")
        if self.shared.control("drop") == "slow answer":
            await asyncio.sleep(SLOW)
        return {}

    async def applied(self, world: World, facts: Facts) -> Proof:
        return Proof(verdict=Verdict.NOT_DONE if self.file.exists() else Verdict.DONE, says="I looked.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        return done("The file is gone.")


@scenario("test hold")
async def test_hold(world: World) -> Plan:
    """Make a file, ask, restart, and drop the file."""
    folder, site = os.environ["HELD_DIR"], world.site
    control_plane, region = site.service(), site.aws.region
    restart = ForceNewDeployment(cluster=control_plane.cluster, service=control_plane.service, region=region)
    return Plan(
        scenario="test hold",
        arguments={},
        why="A test asks for it.",
        target="the temporary file",
        stages=(
            (MakeFile(folder=folder), HealthAnswers(url=control_plane.health_url)),
            (Judge(folder=folder),),
            (restart,),
        ),
        cleanup=((DropFile(folder=folder),),),
        basis={},
        fallback="control-plane rollback",
        title="Make a file and judge it",
        confirm="temporary",
    )


@scenario(VERIFICATION)
async def test_files(world: World) -> Plan:
    """Make a file and drop it."""
    folder = os.environ["HELD_DIR"]
    return Plan(
        scenario=VERIFICATION,
        arguments={},
        why="A test asks for it.",
        target="the temporary file",
        stages=((MakeFile(folder=folder),),),
        cleanup=((DropFile(folder=folder),),),
        basis={},
        title="Make a file and drop it",
    )


if __name__ == "__main__":
    if {"CRASH_AT", "CRASH_LIST"} & os.environ.keys():
        watch()
    sys.exit(main())
