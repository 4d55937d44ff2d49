"""Making a plan with terraform, and reading it: what it would add, change and destroy, and the file's SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actions.terraform.program import Blocked, Ran, Stack, meaning
from actions.values import Json, count

LOCK_WAIT = "-lock-timeout=20s"
PLAIN = ("-input=false", "-no-color")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The resources that a plan adds, changes and destroys, by address. One that is replaced is destroyed and added."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    destroyed: tuple[str, ...] = ()

    @property
    def none(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.added or self.changed or self.destroyed)

    def __str__(self) -> str:
        kinds = (("add", self.added), ("change", self.changed), ("destroy", self.destroyed))
        return ", ".join(f"{len(names)} to {verb}" for verb, names in kinds)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan in a file: the SHA-256 of the file, what it does, its text, and which state it is for."""

    sha256: str
    changes: Changes
    text: str
    state: Mapping[str, Json]


async def make_plan(stack: Stack) -> Planned:
    """Make a plan and keep it in `stack.plan_file`. Raises `Blocked` with a sentence that says what to do."""
    await _must(stack, "init", *PLAIN, seconds=300.0)
    await select(stack)
    shown = (await _must(stack, "workspace", "show")).out.strip()
    if shown != stack.workspace:
        raise Blocked(f"Terraform works in workspace {shown}, and {stack.workspace} is meant. Nothing was planned.")
    await _must(stack, "plan", *PLAIN, LOCK_WAIT, f"-out={stack.plan_file}", seconds=600.0)
    as_json = await _must(stack, "show", "-json", str(stack.plan_file))
    text = await _must(stack, "show", "-no-color", str(stack.plan_file))
    return Planned(
        sha256=fingerprint(stack), changes=changes_of(json.loads(as_json.out)), text=text.out.strip(), state=await state_of(stack)
    )


async def select(stack: Stack) -> None:
    """Select the workspace. Raises `Blocked`, also if there is no such workspace."""
    ran = await stack.run("workspace", "select", "-no-color", stack.workspace)
    if ran.code:
        if "doesn't exist" in ran.errors:
            make = f"terraform -chdir={stack.folder} workspace new {stack.workspace}"
            raise Blocked(f"There is no workspace {stack.workspace} in {stack.folder}. Make it with `{make}`, then retry.")
        raise Blocked(meaning(ran, stack.folder))


async def state_of(stack: Stack) -> dict[str, Json]:
    """Which state the workspace has: lineage and serial, which goes up with every change; serial 0 if there is none yet."""
    ran = await _must(stack, "state", "pull")
    state = json.loads(ran.out) if ran.out.strip() else {}
    return {"lineage": state.get("lineage", ""), "serial": state.get("serial", 0)}


async def left_to_do(stack: Stack) -> Ran:
    """A plan that nobody keeps: exit code 0 if nothing is left to do, 2 if something is."""
    return await stack.run("plan", *PLAIN, LOCK_WAIT, "-detailed-exitcode", seconds=600.0)


def fingerprint(stack: Stack) -> str:
    """The SHA-256 of the plan's file; "" if there is none."""
    try:
        return hashlib.sha256(stack.plan_file.read_bytes()).hexdigest()
    except OSError:
        return ""


def changes_of(shown: Mapping[str, Json]) -> Changes:
    """What `terraform show -json` says that a plan does."""
    found: Sequence[Mapping[str, Json]] = shown.get("resource_changes", [])
    does = [(str(one["address"]), {*one["change"]["actions"]}) for one in found]
    return Changes(
        added=tuple(name for name, actions in does if "create" in actions),
        changed=tuple(name for name, actions in does if "update" in actions),
        destroyed=tuple(name for name, actions in does if "delete" in actions),
    )


def named(addresses: Sequence[str]) -> str:
    """Some resources, by name if they are few."""
    shown = ", ".join(addresses[:8])
    return shown if len(addresses) <= 8 else f"{shown} and {count(len(addresses) - 8, 'more', 'more')}"


async def _must(stack: Stack, *words: str, seconds: float = 120.0) -> Ran:
    ran = await stack.run(*words, seconds=seconds)
    if ran.code:
        raise Blocked(meaning(ran, stack.folder))
    return ran
