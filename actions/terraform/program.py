"""Running terraform: found on PATH, without a terminal, with its output in files, and what its errors mean in a sentence.

A program whose bot dies goes on to its end: its output goes to files, not to a pipe that would break. Its lock on the state says
so to whoever comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actions.errors import Unreachable
from actions.scrub import scrub

PROGRAMS = ("terraform", "tofu")
SECONDS = 120.0
QUIET = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
LOCKED = "Error acquiring the state lock"
STALE = "Saved plan is stale"
FOREIGN = (
    "different state lineage",
    "does not match the given state",
    "created for a different workspace",
    "different workspace",
)
_DRAWN = re.compile(r"[╷│╵─]|\x1b\[[0-9;]*m")


class Blocked(Unreachable):
    """Terraform can't be asked as things are: asking again by ourselves would not help."""

    final = True


class TookTooLong(Unreachable):
    """Terraform was started and did not end in time; one that applies may still be at work."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended: its exit code, and what it wrote. `errors` has no drawing in it."""

    code: int
    out: str
    errors: str


class Stack:
    """Terraform in the folder of one stack, in one workspace."""

    def __init__(self, folder: str, workspace: str) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.workspace = workspace

    @property
    def plan_file(self) -> Path:
        """Where the plan of this workspace is kept from the question to the answer; only our account can read it."""
        return self.folder / ".terraform" / f"dr-{self.workspace}.tfplan"

    async def run(self, *words: str, seconds: float = SECONDS, apply: bool = False) -> Ran:
        """Run a command. Raises `Blocked` if there is no terraform or no folder, `TookTooLong` after so long.

        One that only looks is ended then; one that applies goes on, and its lock shows it.
        """
        program, scratch = found(), self.plan_file.parent
        if not self.folder.is_dir():
            raise Blocked(f"The folder of the stack, {self.folder}, does not exist. Look at terraform_dir in dr.toml.")
        scratch.mkdir(mode=0o700, exist_ok=True)
        name = "apply" if apply else f"look-{os.getpid()}-{id(asyncio.current_task())}"
        out, errors = (scratch / f"dr-{self.workspace}-{name}.{kind}" for kind in ("out", "err"))
        with _private(out) as out_file, _private(errors) as error_file:
            process = await asyncio.create_subprocess_exec(
                program, f"-chdir={self.folder}", *words, stdin=asyncio.subprocess.DEVNULL, stdout=out_file, stderr=error_file,
                env=environment(os.environ), start_new_session=True, umask=0o077,
            )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                code = await process.wait()
        except TimeoutError as error:
            if not apply:
                _end(process.pid)
            raise TookTooLong(f"terraform {words[0]} took longer than {seconds:g} s.") from error
        except asyncio.CancelledError:
            if not apply:
                _end(process.pid)
            raise
        ran = Ran(code=code, out=_text(out), errors=_DRAWN.sub("", _text(errors)))
        for file in (out, errors):
            file.unlink(missing_ok=True)
        return ran


def found() -> str:
    """The program on PATH. Raises `Blocked` if there is none."""
    for program in PROGRAMS:
        if path := shutil.which(program):
            return path
    raise Blocked("There is neither terraform nor tofu on the PATH of the bot. Install one, then retry.")


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What terraform gets: what we have, without a workspace or a settings file that would get in its way."""
    kept = {name: value for name, value in given.items() if name not in ("TF_WORKSPACE", "TF_LOG", "TF_CLI_ARGS")}
    if not Path(kept.get("TF_CLI_CONFIG_FILE", "/")).is_file():
        kept.pop("TF_CLI_CONFIG_FILE", None)
    return kept | QUIET


def meaning(ran: Ran, folder: Path) -> str:
    """What a command that failed says, in a sentence, and what to do."""
    if LOCKED in ran.errors:
        holder = re.search(r"Who:\s*(\S+)", ran.errors)
        by = f" by {holder[1]}" if holder else ""
        return f"The state is locked{by}: somebody else works on this stack. Wait until they are done, then retry."
    if STALE in ran.errors:
        return "The plan is stale: the state has changed since it was made. Nothing was applied; have the plan made again."
    if any(words in ran.errors for words in FOREIGN):
        return "The plan is of another workspace or stack. Nothing was applied; have the plan made again."
    if "Backend initialization required" in ran.errors or "not initialized" in ran.errors.lower():
        return f"The stack isn't initialized. Run `terraform -chdir={folder} init`, then retry."
    first = next((line for line in ran.errors.splitlines() if "Error" in line), ran.errors.strip()[:300] or "no reason")
    more = " ".join(" ".join(ran.errors.split()).split()[:80])
    return f"terraform says: {scrub(first.strip().rstrip('.'))}. {scrub(more)[:600]}"


@contextlib.contextmanager
def _private(path: Path) -> Iterator[int]:
    """A new file that only our account can read, as a descriptor that is closed afterwards."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGINT)
