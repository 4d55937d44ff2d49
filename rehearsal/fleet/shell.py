"""What a host answers to a command line: the few commands that an agent's host allows, and no other."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from itertools import pairwise

from rehearsal.fleet.unit import NO_SPACE, UNIT, Unit

JOURNAL_LINES = 1000
TIMED_OUT = 124  # how timeout(1) says that it ended the command


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An exit code and what was printed. `restarts`: the unit is to be restarted, within `seconds` (0 is no limit)."""

    code: int = 0
    out: str = ""
    err: str = ""
    restarts: bool = False
    endless: bool = False
    seconds: float = 0.0


@dataclass(kw_only=True)
class Shell:
    """The commands of one host."""

    unit: Unit
    runtime: str
    disk_percent: int = 41
    hostile: bool = False
    no_sudo: bool = False
    commands: list[str] = field(default_factory=list)

    def answer(self, line: str) -> Answer:
        """The answer to a command line; one that restarts has no effect yet."""
        self.commands.append(line)
        try:
            words = shlex.split(line)
        except ValueError:
            return Answer(code=2, err="sh: syntax error\n")
        seconds = 0.0
        if words[:2] == ["timeout", "-k"] and len(words) > 4:
            seconds, words = float(words[3]), words[4:]
        return self._answer(words, seconds)

    def _answer(self, words: list[str], seconds: float) -> Answer:
        if words[:2] == ["sudo", "-n"]:
            return self._as_root(words[2:], seconds)
        name = words[0] if words else ""
        if name in ("systemctl", "journalctl", "docker") and (name == "docker") != (self.runtime == "docker"):
            return Answer(code=127, err=f"sh: 1: {name}: not found\n")
        match words:
            case ["systemctl", "is-active", unit] if unit == UNIT:
                return Answer(code=0 if self.unit.state == "active" else 3, out=f"{self.unit.state}\n")
            case ["systemctl", "show", "--property=ActiveState,InvocationID", unit] if unit == UNIT:
                return Answer(out=f"ActiveState={self.unit.state}\nInvocationID={self.unit.invocation}\n")
            case ["docker", "inspect", "--format", "{{.State.Status}} {{.State.StartedAt}}", unit] if unit == UNIT:
                state = "running" if self.unit.state == "active" else "exited"
                return Answer(out=f"{state} {self.unit.invocation}\n")
            case ["journalctl" | "docker", *options] if "logs" in options or "--since" in options:
                return self._log(options)
            case ["df", "-P", "/"]:
                return Answer(out=self._disk())
            case ["date", "+%s"]:
                return Answer(out=f"{time.time():.0f}\n")
            case ["true"]:
                return Answer()
        return Answer(code=127, err=f"sh: 1: {name}: not found\n")

    def _as_root(self, words: list[str], seconds: float) -> Answer:
        """What sudoers allows without a password: to restart the agent, exactly so."""
        restart = ["systemctl" if self.runtime == "systemd" else "docker", "restart", UNIT]
        if words == ["-l", *restart] and not self.no_sudo:  # whether it would be allowed
            return Answer(out=f"/usr/bin/{' '.join(restart)}\n")
        if words != restart or self.no_sudo:
            return Answer(code=1, err="sudo: a password is required\n")
        return Answer(restarts=True, seconds=seconds)

    def _log(self, options: list[str]) -> Answer:
        if self.hostile:
            return Answer(endless=True)
        most = next((int(after) for word, after in pairwise(options) if word in ("--lines", "--tail")), 0)
        lines = list(self.unit.log)[-(most or JOURNAL_LINES) :]
        return Answer(out="".join(f"{line}\n" for line in lines))

    def _disk(self) -> str:
        used = self.disk_percent
        return (
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
            f"/dev/nvme0n1p1 {100_000} {used * 1000} {(100 - used) * 1000} {used}% /\n"
        )


def fill_disk(shell: Shell) -> None:
    """The host's disk is full, and its agent has noticed."""
    shell.disk_percent = 100
    shell.unit.fall(NO_SPACE)
