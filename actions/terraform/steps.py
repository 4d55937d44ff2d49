"""The control plane in another region by terraform: a question that shows the plan, and the apply of that very file.

The question makes the plan, keeps it in a file and records the file's SHA-256 with the run. What is applied is that file, and
only if it is still the same one: a plan that nobody has seen is never applied.
https://developer.hashicorp.com/terraform/tutorials/automation/automate-terraform
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.errors import Refused, Uncertain, Unreachable
from actions.step import Action, Hold
from actions.terraform.changes import LOCK_WAIT, PLAIN, Changes, fingerprint, left_to_do, make_plan, named, select, state_of
from actions.terraform.program import FOREIGN, LOCKED, STALE, Ran, Stack, TookTooLong, meaning
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop, warn

if TYPE_CHECKING:
    from actions.world import World

DESTROYS = "This destroys"


@dataclass(frozen=True, kw_only=True)
class _OnStack:
    """What both steps share: the folder of the stack, the workspace, and the region that it is for."""

    folder: str
    workspace: str
    region: str

    plane: ClassVar[str] = "control"

    @property
    def target(self) -> str:
        """The stack."""
        return f"stack {self.folder}, workspace {self.workspace}"

    @property
    def stack(self) -> Stack:
        """Terraform in that folder."""
        return Stack(self.folder, self.workspace)

    @property
    def item(self) -> str:
        """Under which name the run records what was approved."""
        return f"terraform plan of {self.workspace}"


@dataclass(frozen=True, kw_only=True)
class AgreeToPlan(_OnStack, Hold, kind="terraform.agree_to_plan"):
    """Make a plan with terraform, attach it, and ask whether it shall be applied; one that destroys takes a typed word."""

    timeout: ClassVar[float] = 1200.0
    looks_again: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = ("terraform:plan",)

    @property
    def question(self) -> str:
        return f"Shall terraform apply this plan in workspace {self.workspace}?"

    def command(self) -> str:
        terraform, file = f"terraform -chdir={self.folder}", self.stack.plan_file.relative_to(self.stack.folder)
        return f"{terraform} workspace select {self.workspace} && {terraform} plan -input=false -out={file}"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        planned = await make_plan(self.stack)
        await world.items.intend(self.item, {"sha256": planned.sha256, **planned.state})
        await world.items.end(self.item, "shown", f"{planned.changes}; SHA-256 {planned.sha256}.")
        await world.attach(f"terraform plan ({self.workspace})", planned.text)
        return findings(planned.changes, planned.sha256)

    def destroys(self, evidence: tuple[Finding, ...]) -> bool:
        return any(finding.says.startswith(DESTROYS) for finding in evidence)


def findings(changes: Changes, sha256: str) -> tuple[Finding, ...]:
    """What an answer should rest on: how many resources a plan adds, changes and destroys, and which."""
    file = f"SHA-256 of the plan's file: {sha256}. This file is applied, and no other."
    if changes.none:
        return (ok("Terraform has nothing to change: the stack is as it is written.", file),)
    found = [warn(f"{DESTROYS} {named(changes.destroyed)}. A Yes must be typed.")] if changes.destroyed else []
    found.append((warn if changes.destroyed else ok)(f"Terraform would do this: {changes}.", file))
    found += [ok(f"To add: {named(changes.added)}.")] if changes.added else []
    found += [ok(f"To change: {named(changes.changed)}.")] if changes.changed else []
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class ApplyPlan(_OnStack, Action, kind="terraform.apply_plan"):
    """Apply the very plan that was approved: the file must have its SHA-256, and the state must not have moved since."""

    timeout: ClassVar[float] = 3600.0
    settle: ClassVar[float] = 600.0
    permissions: ClassVar[tuple[str, ...]] = ("terraform:apply",)

    @property
    def title(self) -> str:
        return f"Apply the approved terraform plan in workspace {self.workspace}"

    def command(self) -> str:
        file = self.stack.plan_file.relative_to(self.stack.folder)
        return f"terraform -chdir={self.folder} apply -input=false {LOCK_WAIT} {file}"

    async def observe(self, world: World) -> Facts:
        item = (await world.items.known()).get(self.item)
        approved = item.facts if item else {}
        await select(self.stack)
        now = await state_of(self.stack)
        return {"approved": approved.get("sha256", ""), "file": fingerprint(self.stack), "planned_for": approved, "state": now}

    def precheck(self, facts: Facts) -> Finding:
        planned, now = facts["planned_for"], facts["state"]
        if not facts["approved"]:
            return stop(f"No plan of workspace {self.workspace} was shown in this run, so none is applied. Plan again.")
        if not facts["file"]:
            return stop(f"The plan's file is gone ({self.stack.plan_file}), perhaps because another bot took over. Plan again.")
        if facts["file"] != facts["approved"]:
            says = f"{facts['file'][:12]}, and {facts['approved'][:12]} was approved"
            return stop(f"The plan's file is not the one that was approved: its SHA-256 is {says}. Plan again.")
        if (planned.get("lineage"), planned.get("serial")) != (now["lineage"], now["serial"]):
            moved = f"from serial {planned.get('serial')} to {now['serial']}"
            return stop(f"The plan is stale: the state has moved {moved} since it was made. Plan again.")
        return ok(f"The plan's file is the one that was approved, {facts['approved'][:12]}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        await world.gate.opened()
        if fingerprint(self.stack) != facts["approved"]:
            raise Refused("The plan's file was replaced a moment ago, and it isn't applied.")
        words = ("apply", *PLAIN, LOCK_WAIT, str(self.stack.plan_file))
        try:
            ran = await self.stack.run(*words, seconds=world.local(self.timeout) + 600.0, apply=True)
        except TookTooLong as error:
            raise Uncertain(str(error)) from error
        except Unreachable as error:
            raise Refused(str(error)) from error
        if ran.code:
            raise _failure(ran, self.stack)
        summary = re.search(r"Apply complete![^\n]*", ran.out)
        return {"says": summary[0] if summary else "Applied."}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            await select(self.stack)
            ran, now = await left_to_do(self.stack), await state_of(self.stack)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_apply(ran, facts["state"], now, meaning(ran, self.stack.folder))

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        proof = await self.applied(world, facts)
        if proof.verdict is not Verdict.DONE:
            return failed(proof.says)
        self.stack.plan_file.unlink(missing_ok=True)  # it may hold secrets
        if facts["state"] == await state_of(self.stack):
            return already_done(f"There was nothing to change. {proof.says}")
        return done(f"{receipt.get('says', '')} {proof.says}".strip())


def judge_apply(ran: Ran, before: Facts, now: Facts, why: str) -> Proof:
    """Whether a plan was applied: then nothing is left to do. A state that has not moved shows that nothing was."""
    if ran.code == 0:
        return Proof(verdict=Verdict.DONE, says="Terraform finds nothing left to do.")
    if ran.code != 2:
        return Proof(verdict=Verdict.UNKNOWN, says=why)
    if now == before:
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: the state is still at serial {before['serial']}.")
    return Proof(
        verdict=Verdict.NOT_DONE,
        says=f"A part of it was applied: the state moved from serial {before['serial']} to {now['serial']}, and something is "
        "left to do. This plan can't be applied again; end the run and plan again.",
    )


def _failure(ran: Ran, stack: Stack) -> Refused | Uncertain:
    """A refusal if terraform itself says that it did not begin; else a part may have been applied."""
    says = meaning(ran, stack.folder)
    began = not any(words in ran.errors for words in (LOCKED, STALE, *FOREIGN))
    return Uncertain(f"Terraform failed with exit code {ran.code}. {says}") if began else Refused(says)
