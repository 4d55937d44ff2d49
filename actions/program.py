"""A program on this machine: without a terminal, with a deadline, and never longer than it is waited for.

Its output is scrubbed before anybody sees it. It gets no more of this process's environment than it needs: no token, no DSN.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actions.errors import Refused, Uncertain
from actions.scrub import scrub

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS")
MOST_OUTPUT = 64 * 1024  # bytes, the last ones


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended: its exit code and the end of what it printed, scrubbed."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line that it printed; "" if it printed nothing."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else ""


async def run_program(argv: Sequence[str], *, folder: str, environment: Mapping[str, str], timeout: float) -> Ended:
    """Run it to its end. Raises `Refused` if it could not be started, `Uncertain` if it had to be ended at the deadline."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ} | {**environment}
    nothing, pipe, both = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=folder, env=env, stdin=nothing, stdout=pipe, stderr=both, start_new_session=True
        )
    except OSError as error:
        raise Refused(f"{argv[0]} could not be started in {folder}: {error.strerror or error}.") from error
    try:
        async with asyncio.timeout(timeout):
            output = await _end_of_output(process)
            code = await process.wait()
    except TimeoutError as error:
        raise Uncertain(f"{argv[0]} had not ended after {timeout:g} s, and was ended.") from error
    finally:
        if process.returncode is None:  # at the deadline, or because the bot ends: with all that it started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Ended(code=code, output=scrub(output.decode(errors="replace")))


async def _end_of_output(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    kept = b""
    while chunk := await process.stdout.read(MOST_OUTPUT):
        kept = (kept + chunk)[-MOST_OUTPUT:]
    return kept
