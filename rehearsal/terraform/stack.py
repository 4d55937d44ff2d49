"""The stack in a folder of a rehearsal's own, with the workspaces default and dr, and what can be wrong with it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

FILES = Path(__file__).parent / "files"
WORKSPACE = "dr"
STATE = Path("terraform.tfstate.d") / WORKSPACE / "terraform.tfstate"
APPLY_SECONDS = 60.0
OLD = 'resource "terraform_data" "old_queue" {\n  input = { name = "shielda-jobs" }\n}\n'


class TerraformFailed(Exception):
    """Terraform did not do what the rehearsal itself asked of it; the message has its last words."""


class Stack:
    """A copy of the files, planned and applied by `program`: a real terraform or tofu, if the machine has one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stand_in = program() is None
        self._holding: IO[Any] | None = None

    def renew(self, *, endpoint: str, region: str) -> None:
        """As on the first day: nothing is applied, and nobody has locked anything. `endpoint` is AWS's in that region."""
        self.unlock()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(FILES, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / STATE).parent.mkdir(parents=True)  # which is all that makes a workspace exist
        values = {"python": sys.executable, "endpoint": endpoint, "region": region}
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        (self.folder / "terraform.tfvars").write_text(lines)

    def on_path(self) -> str:
        """A folder for PATH in which the labelled stand-in is called terraform; "" if the machine has a real one."""
        if not self.stand_in:
            return ""
        folder = self.folder.parent / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        script, here = folder / "terraform", Path(__file__).resolve().parents[2]
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{here}" exec "{sys.executable}" -m rehearsal.terraform.stand_in "$@"\n')
        script.chmod(0o755)
        return str(folder)

    def close(self) -> None:
        """Nobody has locked anything any more."""
        self.unlock()

    @property
    def state(self) -> dict[str, Any]:
        """The state of the workspace dr; empty before its first apply."""
        file = self.folder / STATE
        return dict(json.loads(file.read_text())) if file.exists() and file.stat().st_size else {}

    @property
    def applied(self) -> int:
        """How often the state has changed."""
        return int(self.state.get("serial", 0))

    def heal(self) -> None:
        """Provisioners work, and nobody has locked anything. What would be destroyed stays so until it is."""
        self.unlock()
        (self.folder / "fails").unlink(missing_ok=True)

    def break_provisioner(self) -> None:
        """Fault: what the stack does to AWS fails."""
        (self.folder / "fails").touch()

    def lock(self) -> None:
        """Fault: somebody is in the middle of an apply, and holds the lock of the state as terraform does."""
        file = self.folder / STATE
        self._holding = file.open("a+")
        fcntl.lockf(self._holding, fcntl.LOCK_EX | fcntl.LOCK_NB)
        info = {
            "ID": str(uuid.uuid4()),
            "Operation": "OperationTypeApply",
            "Info": "",
            "Who": "carol@carols-laptop",
            "Version": "1.11.4",
            "Created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "Path": str(STATE),
        }
        self._lock_info.write_text(json.dumps(info))

    def unlock(self) -> None:
        """The lock is free again."""
        if self._holding is None:
            return
        self._lock_info.unlink(missing_ok=True)
        self._holding.close()
        self._holding = None
        file = self.folder / STATE
        if file.exists() and not file.stat().st_size:
            file.unlink()

    async def add_what_is_gone(self) -> None:
        """Fault: the state has a resource that nobody's files have any more: a plan destroys it."""
        (self.folder / "old.tf").write_text(OLD)
        try:
            await self._run("init", "-input=false")
            await self._run("apply", "-input=false", "-auto-approve", "-target=terraform_data.old_queue")
        finally:
            (self.folder / "old.tf").unlink()

    @property
    def _lock_info(self) -> Path:
        return self.folder / STATE.parent / f".{STATE.name}.lock.info"

    async def _run(self, *words: str) -> None:
        found = program()
        argv = [found, f"-chdir={self.folder}", *words] if found else [*stand_in_argv(), f"-chdir={self.folder}", *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        # A data folder of its own: the one beside the files belongs to who plans and applies there.
        environment |= {"TF_WORKSPACE": WORKSPACE, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        environment |= {"TF_DATA_DIR": str(self.folder / ".rehearsal")}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        out, _ = await asyncio.wait_for(process.communicate(), APPLY_SECONDS)
        if process.returncode:
            raise TerraformFailed(f"terraform {words[0]} failed: {out.decode()[-400:]}")


def program() -> str | None:
    """Where terraform or tofu is; None if the machine has neither."""
    return shutil.which("terraform") or shutil.which("tofu")


def stand_in_argv() -> list[str]:
    """The command line of the labelled stand-in for terraform."""
    return [sys.executable, "-m", "rehearsal.terraform.stand_in"]
