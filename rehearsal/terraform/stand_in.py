"""A stand-in for terraform on a machine that has none: it knows this one stack, and says in all it prints what it is.

    python -m rehearsal.terraform.stand_in -chdir=DIR plan -out=FILE

It keeps its state where terraform does, locks it in the same way, and refuses stale plans and plans of other workspaces in
terraform's words. Resources are read from the files by their first lines; what they do to AWS is service.py, as with terraform.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

LABEL = "This is the rehearsal's stand-in for terraform: no terraform is installed here."
RESOURCE = re.compile(r'^resource "terraform_data" "(\w+)"', re.MULTILINE)
PROVISIONED = "service"
Json = dict[str, Any]


class Failed(Exception):
    """What terraform would print after "Error: "."""


class StandIn:
    """One command in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / os.environ.get("TF_DATA_DIR", ".terraform")

    @property
    def workspace(self) -> str:
        """The workspace that is selected."""
        chosen = self.data / "environment"
        return os.environ.get("TF_WORKSPACE") or (chosen.read_text().strip() if chosen.exists() else "default")

    @property
    def state_file(self) -> Path:
        """Where its state is."""
        name = "terraform.tfstate"
        return self.folder / name if self.workspace == "default" else self.folder / f"{name}.d" / self.workspace / name

    def state(self) -> Json:
        """The state; a new one before the first apply."""
        file = self.state_file
        if file.exists() and file.stat().st_size:
            return dict(json.loads(file.read_text()))
        return {"version": 4, "terraform_version": "1.11.4", "serial": 0, "lineage": "", "resources": []}

    def wanted(self) -> list[str]:
        """The resources that the files have in this workspace, by name."""
        found = [name for file in sorted(self.folder.glob("*.tf")) for name in RESOURCE.findall(file.read_text())]
        return found if self.workspace == "dr" else [name for name in found if name not in (PROVISIONED, "log_retention")]

    def plan(self, out: str | None, target: str | None) -> tuple[Json, int]:
        """What would change, kept in a file if one is named; 2 if there is something."""
        state = self.state()
        there = [one["name"] for one in state["resources"]]
        wanted = [target] if target else self.wanted()
        changes = [(name, ["create"]) for name in wanted if name not in there]
        changes += [(name, ["delete"]) for name in there if name not in wanted and not target]
        found = {
            "format_version": "1.2",
            "terraform_version": "1.11.4",
            "stand_in": LABEL,
            "workspace": self.workspace,
            "lineage": state["lineage"],
            "serial": state["serial"],
            "resource_changes": [
                {"address": f"terraform_data.{name}", "type": "terraform_data", "name": name, "change": {"actions": actions}}
                for name, actions in changes
            ],
        }
        if out:
            path = self.folder / out
            path.write_text(json.dumps(found))
            path.chmod(0o600)
        return found, 2 if changes else 0

    def apply(self, plan: Json) -> None:
        """Do what a plan says; `Failed` if the state has moved since, or what it does to AWS fails."""
        state = self.state()
        if plan["workspace"] != self.workspace or (plan["lineage"] and plan["lineage"] != state["lineage"]):
            raise Failed(
                "Saved plan does not match the given state\nThe plan was created for a state with a different state lineage."
            )
        if plan["serial"] != state["serial"]:
            raise Failed("Saved plan is stale")
        for change in plan["resource_changes"]:
            name = change["name"]
            number = str(uuid.uuid4())
            code = self._provision(number) if change["change"]["actions"] == ["create"] and name == PROVISIONED else 0
            state["resources"] = [one for one in state["resources"] if one["name"] != name]
            if change["change"]["actions"] == ["create"]:
                tainted = {"status": "tainted"} if code else {}
                state["resources"].append({"mode": "managed", "type": "terraform_data", "name": name, "id": number, **tainted})
            state["serial"] += 1
            state["lineage"] = state["lineage"] or str(uuid.uuid4())
            self.state_file.parent.mkdir(parents=True, exist_ok=True)
            self.state_file.write_text(json.dumps(state))
            if code:
                raise Failed("local-exec provisioner error\nError running command: exit status 1.")

    def _provision(self, number: str) -> int:
        values = dict(re.findall(r'^(\w+) = "?([^"\n]*)"?$', (self.folder / "terraform.tfvars").read_text(), re.MULTILINE))
        more = {"AWS_ENDPOINT": values["endpoint"], "AWS_REGION": values["region"], "CLUSTER": "shielda"}
        more |= {"SERVICE": "control-plane", "TASK_DEFINITION": "control-plane:7", "DESIRED_COUNT": "1", "TOKEN": number}
        return subprocess.run([values["python"], str(self.folder / "service.py")], env=os.environ | more, check=False).returncode

    def locked(self, seconds: float) -> Any:
        """The lock of the state, which somebody else may have: then it is `Failed`."""
        self.state_file.parent.mkdir(parents=True, exist_ok=True)
        holder, until = self.state_file.open("a+"), time.monotonic() + seconds
        while True:
            try:
                fcntl.lockf(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return holder
            except OSError as error:
                if time.monotonic() > until:
                    info = self.state_file.with_name(f".{self.state_file.name}.lock.info")
                    who = json.loads(info.read_text())["Who"] if info.exists() else "nobody knows"
                    message = f"Error acquiring the state lock\n\nError message: {error}\nLock Info:\n  Who:       {who}"
                    raise Failed(message) from error
                time.sleep(0.1)


def main(argv: list[str]) -> int:
    """Run one command; its exit code is terraform's."""
    folder, words = Path(), []
    for word in argv:
        if word.startswith("-chdir="):
            folder = Path(word.removeprefix("-chdir="))
        else:
            words.append(word)
    options = argparse.ArgumentParser(prefix_chars="-", allow_abbrev=False)
    for name in ("-out", "-lock-timeout", "-target", "-input"):
        options.add_argument(name, default="")
    for name in ("-json", "-no-color", "-detailed-exitcode", "-auto-approve"):
        options.add_argument(name, action="store_true")
    options.add_argument("words", nargs="*")
    try:
        return _run(StandIn(folder.absolute()), options.parse_intermixed_args(words))
    except Failed as error:
        _say(f"Error: {error}\n{LABEL}", error=True)
        return 1


def _run(one: StandIn, given: argparse.Namespace) -> int:
    seconds = float(given.lock_timeout.removesuffix("s") or 0)
    match given.words:
        case ["version"]:
            _say(f"Terraform v1.11.4\n{LABEL}")
        case ["init"]:
            one.data.mkdir(exist_ok=True)
            _say(f"{LABEL}\nTerraform has been successfully initialized!")
        case ["workspace", "show"]:
            _say(one.workspace)
        case ["workspace", "select", name]:
            if name != "default" and not (one.folder / "terraform.tfstate.d" / name).is_dir():
                raise Failed(f'Workspace "{name}" doesn\'t exist.')
            one.data.mkdir(exist_ok=True)
            (one.data / "environment").write_text(name)
        case ["plan"]:
            with one.locked(seconds):
                found, code = one.plan(given.out or None, None)
            _say(_text(found))
            return code if given.detailed_exitcode else 0
        case ["show", file]:
            found = json.loads((one.folder / file).read_text())
            _say(json.dumps(found) if given.json else _text(found))
        case ["state", "pull"]:
            _say(json.dumps(one.state()) if one.state()["serial"] else "")
        case ["apply", *files]:
            with one.locked(seconds):
                target = given.target.rpartition(".")[2] or None
                plan = json.loads((one.folder / files[0]).read_text()) if files else one.plan(None, target)[0]
                one.apply(plan)
            _say(f"{LABEL}\nApply complete! {_counts(plan, 'added', 'changed', 'destroyed')}")
        case words:
            raise Failed(f"The stand-in doesn't know {' '.join(words)}.")
    return 0


def _text(plan: Json) -> str:
    lines = [f"  # {one['address']} will be {one['change']['actions'][0]}d" for one in plan["resource_changes"]]
    if not lines:
        return f"{LABEL}\nNo changes. Your infrastructure matches the configuration."
    return "\n".join([LABEL, *lines, f"Plan: {_counts(plan, 'to add', 'to change', 'to destroy')}"])


def _counts(plan: Json, *words: str) -> str:
    actions = [one["change"]["actions"][0] for one in plan["resource_changes"]]
    numbers = (actions.count("create"), actions.count("update"), actions.count("delete"))
    resources = "Resources: " if words[0] == "added" else ""
    return resources + ", ".join(f"{number} {word}" for number, word in zip(numbers, words, strict=True)) + "."


def _say(text: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
