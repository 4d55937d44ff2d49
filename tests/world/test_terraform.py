"""Terraform itself: the plan that was seen is what is applied, and whatever stands in the way stops with a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actions.errors import Unreachable
from actions.terraform.program import Blocked, meaning
from actions.terraform.steps import AgreeToPlan, ApplyPlan
from actions.values import Result, Verdict
from actions.world import World
from bot.engine.step_runner import StepRunner
from bot.settings import load
from bot.state.database import open_engine
from bot.state.items import StoredItems, items_of
from bot.state.store import Store

ROOT = Path(__file__).parents[2]
RUN = "run-1"
PROGRAM = shutil.which("terraform") or shutil.which("tofu")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is neither terraform nor tofu on the PATH")
STACK = """
variable "names" {
  default = ["first"]
}
resource "terraform_data" "service" {
  for_each = toset(var.names)
  input    = each.key
  provisioner "local-exec" {
    command = "echo ${each.key} >> ${path.module}/effects && test ! -e ${path.module}/broken && sleep $(cat ${path.module}/slow)"
  }
}
"""


class Rig:
    """A stack with the workspace dr, and a step runner with a run of its own."""

    def __init__(self, folder: Path, runner: StepRunner) -> None:
        self.folder, self.runner, self.world = folder, runner, runner.world
        self.texts: list[tuple[str, str]] = []
        stack: dict[str, str] = {"folder": str(folder), "workspace": "dr", "region": "us-east-1"}
        self.agree, self.apply = AgreeToPlan(**stack), ApplyPlan(**stack)

    def terraform(self, *words: str) -> str:
        """Somebody else's terraform."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        argv = [PROGRAM or "", f"-chdir={self.folder}", *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    def wants(self, *names: str) -> None:
        """What the stack is written to have."""
        quoted = ", ".join(f'"{name}"' for name in names)
        (self.folder / "main.tf").write_text(STACK.replace('["first"]', f"[{quoted}]"))

    @property
    def effects(self) -> list[str]:
        """What provisioners have done, in order."""
        file = self.folder / "effects"
        return file.read_text().split() if file.exists() else []

    async def agreed(self) -> tuple[Any, ...]:
        """The evidence that a person says Yes to."""
        with items_of(RUN, "1.1", 1):
            return await self.agree.evidence(self.world)

    async def applied(self, attempt: int = 1) -> Any:
        """The outcome of the apply, as the bot carries it out."""
        with items_of(RUN, "2.1", attempt):
            applied = await self.runner.act(RUN, "2.1", attempt, self.apply)
            return await self.runner.verify(self.apply, applied, self.world)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack that is initialized and has the workspace dr: made once, because each program that starts costs."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "slow").write_text("0")
    (folder / "main.tf").write_text(STACK)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    for words in (("init", "-input=false"), ("workspace", "new", "dr")):
        subprocess.run([PROGRAM or "", f"-chdir={folder}", *words], env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
async def rig(tmp_path: Path, ready: Path) -> AsyncIterator[Rig]:
    folder = tmp_path / "stack"
    shutil.copytree(ready, folder)
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    settings = load(ROOT / "dr.toml")
    aws = settings.aws.model_copy(update={"endpoints": {"us-west-2": "http://127.0.0.1:1"}, "speed": 600.0})
    world = World(settings.model_copy(update={"aws": aws}))
    world.items = StoredItems(store)
    rig = Rig(folder, StepRunner(store, world))

    async def attach(name: str, text: str) -> None:
        rig.texts.append((name, text))

    world.attach = attach
    yield rig
    store.close()
    await world.close()


async def test_the_plan_that_was_seen_is_applied_and_one_that_destroys_wants_a_word(rig: Rig) -> None:
    (does, names) = await rig.agreed()
    assert (does.says, names.says) == (
        "Terraform would do this: 1 to add, 0 to change, 0 to destroy.",
        'To add: terraform_data.service["first"].',
    )
    ((name, text),) = rig.texts
    assert name == "terraform plan (dr)"
    assert "will be created" in text
    assert rig.agree.stack.plan_file.stat().st_mode & 0o077 == 0, "it may hold secrets"
    outcome = await rig.applied()
    assert (outcome.result, rig.effects) == (Result.DONE, ["first"])
    assert outcome.says == "Apply complete! Resources: 1 added, 0 changed, 0 destroyed. Terraform finds nothing left to do."
    assert not rig.agree.stack.plan_file.exists()
    rig.wants("second")
    evidence = await rig.agreed()
    assert evidence[0].says == 'This destroys terraform_data.service["first"]. A Yes must be typed.'
    assert rig.agree.destroys(evidence)


async def test_a_file_that_was_replaced_after_the_yes_is_not_applied(rig: Rig) -> None:
    await rig.agreed()
    rig.wants("first", "smuggled")
    rig.terraform("plan", "-out=.terraform/dr-dr.tfplan")
    outcome = await rig.applied()
    assert (outcome.result, rig.effects) == (Result.FAILED, [])
    assert "The plan's file is not the one that was approved" in outcome.says
    assert outcome.says.endswith("Plan again. Nothing was done.")


async def test_a_plan_whose_state_has_moved_is_stale(rig: Rig) -> None:
    await rig.agreed()
    rig.terraform("apply", "-auto-approve")
    outcome = await rig.applied()
    assert (outcome.result, rig.effects) == (Result.FAILED, ["first"])
    assert "The plan is stale: the state has moved from serial 0 to" in outcome.says


async def test_a_plan_of_another_workspace_is_refused_by_terraform_too(rig: Rig) -> None:
    rig.terraform("apply", "-auto-approve")
    rig.wants("first", "second")
    rig.terraform("plan", "-out=.terraform/of-dr.tfplan")
    rig.terraform("workspace", "new", "other")
    rig.terraform("apply", "-auto-approve")
    (rig.folder / "effects").unlink()
    ran = await rig.apply.stack.run("apply", "-input=false", "-no-color", ".terraform/of-dr.tfplan", apply=True)
    assert ran.code == 1
    assert meaning(ran, rig.folder) == (
        "The plan is of another workspace or stack. Nothing was applied; have the plan made again."
    )
    assert rig.effects == []


async def test_a_workspace_that_is_not_there_is_named_with_the_command_that_makes_it(rig: Rig) -> None:
    nowhere = AgreeToPlan(folder=str(rig.folder), workspace="moon", region="us-east-1")
    with pytest.raises(Blocked, match=r"There is no workspace moon in .*workspace new moon"):
        await nowhere.evidence(rig.world)


async def test_a_held_lock_stops_the_question_with_its_holder(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actions.terraform.changes.LOCK_WAIT", "-lock-timeout=1s")
    (rig.folder / "slow").write_text("20")
    argv = [PROGRAM or "", f"-chdir={rig.folder}", "apply", "-auto-approve", "-input=false"]
    holder = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL, start_new_session=True)
    while not rig.effects:  # noqa: ASYNC110 - another process says so with a file
        await asyncio.sleep(0.05)
    with pytest.raises(Blocked, match=r"The state is locked by .*: somebody else works on this stack. Wait until they are done"):
        await rig.agreed()
    os.killpg(holder.pid, 9)
    await holder.wait()


async def test_a_provisioner_that_fails_is_told_and_its_half_is_not_applied_again(rig: Rig) -> None:
    rig.wants("first", "second")
    await rig.agreed()
    (rig.folder / "broken").touch()
    outcome = await rig.applied()
    assert outcome.result is Result.FAILED
    assert "local-exec provisioner error" in outcome.says
    assert "A part of it was applied: the state moved from serial 0 to" in outcome.says
    done = list(rig.effects)
    (rig.folder / "broken").unlink()
    again = await rig.applied(attempt=2)
    assert again.result is Result.FAILED
    assert "The plan is stale" in again.says
    assert rig.effects == done, "nothing was sent a second time"
    assert rig.agree.destroys(await rig.agreed()), "what is tainted would be replaced, and a person must see that"


@pytest.mark.parametrize("sent", [False, True])
async def test_a_bot_that_dies_around_an_apply_applies_it_once(rig: Rig, sent: bool) -> None:
    await rig.agreed()
    with items_of(RUN, "2.1", 1):
        facts, outcome = await rig.runner.observe(rig.apply)
        assert outcome is None, outcome
        await rig.runner.store.record_intent(RUN, "2.1", 1, facts)
        if sent:
            await rig.apply.apply(rig.world, facts)
    resumed = await rig.applied()
    assert resumed.ok, resumed.says
    assert rig.effects == ["first"]


async def test_an_apply_outlives_its_bot_and_is_waited_for(rig: Rig) -> None:
    """A bot that is cut off in the middle leaves terraform at work; the next one reads back until the lock is free."""
    (rig.folder / "slow").write_text("2")
    await rig.agreed()
    first = asyncio.create_task(rig.applied())
    while not rig.effects:  # noqa: ASYNC110 - another process says so with a file
        await asyncio.sleep(0.05)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    resumed = await rig.applied()
    assert resumed.ok, resumed.says
    assert "An earlier try had worked" in resumed.says
    assert rig.effects == ["first"]


async def test_without_terraform_the_question_says_what_to_install(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(rig.folder))
    with pytest.raises(Unreachable, match=r"neither terraform nor tofu on the PATH of the bot\. Install one"):
        await rig.agreed()
    with items_of(RUN, "2.1", 1):
        assert (await rig.apply.applied(rig.world, {"state": {}})).verdict is Verdict.UNKNOWN
