"""The command lines for an agent's host, by its runtime, and what their output means. Nothing of them comes from a person."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from actions.site import Agents
from actions.ssh.inventory import Host

INSPECT = "{{.State.Status}} {{.State.StartedAt}}"
KILL_AFTER = 2  # seconds after which a restart that ignores the end of its time is killed
TIMED_OUT = 124  # what timeout(1) ends with if time was up


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """Whether an agent runs, in its runtime's word, and an id that is another one after each start ("" before the first)."""

    running: bool
    word: str
    start: str


def unit(site: Agents, host: Host) -> str:
    """What the agent is called on this host."""
    return site.unit if host.runtime == "systemd" else site.container or site.unit


def restart(site: Agents, host: Host) -> str:
    """Restart the agent: the only line that changes something. sudoers allows its end, after `timeout`, exactly so."""
    program = "systemctl" if host.runtime == "systemd" else "docker"
    limit = ["timeout", "-k", str(KILL_AFTER), f"{site.restart_seconds:g}"]
    return shlex.join([*limit, "sudo", "-n", program, "restart", unit(site, host)])


def may_restart(site: Agents, host: Host) -> str:
    """Ask sudo whether it would allow the restart; nothing is restarted."""
    program = "systemctl" if host.runtime == "systemd" else "docker"
    return shlex.join(["sudo", "-n", "-l", program, "restart", unit(site, host)])


def show(site: Agents, host: Host) -> str:
    """Ask for the agent's state."""
    if host.runtime == "systemd":
        return shlex.join(["systemctl", "show", "--property=ActiveState,InvocationID", unit(site, host)])
    return shlex.join(["docker", "inspect", "--format", INSPECT, unit(site, host)])


def logs(site: Agents, host: Host, *, lines: int = 200) -> str:
    """Ask for the end of the agent's log of the last hour."""
    if host.runtime == "systemd":
        options = ["--since", "1 hour ago", "--no-pager", "--output", "short-iso", "--lines", str(lines)]
        return shlex.join(["journalctl", "-u", unit(site, host), *options])
    return shlex.join(["docker", "logs", "--since", "1h", "--tail", str(lines), unit(site, host)])


DISK = "df -P /"
CLOCK = "date +%s"


def state_of(host: Host, out: str) -> UnitState:
    """What `show` printed."""
    if host.runtime == "docker":
        word, _, start = out.strip().partition(" ")
        return UnitState(running=word == "running", word=word or "unknown", start=start.strip())
    told = dict(line.partition("=")[::2] for line in out.splitlines())
    word = told.get("ActiveState", "") or "unknown"
    return UnitState(running=word in ("active", "reloading"), word=word, start=told.get("InvocationID", "").strip())


def disk_percent(out: str) -> int | None:
    """How full the disk is, as `df -P` printed it."""
    for line in out.splitlines()[1:]:
        parts = line.split()
        if len(parts) >= 6 and parts[4].rstrip("%").isdecimal():
            return int(parts[4].rstrip("%"))
    return None
