"""What can go wrong with a fleet, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from rehearsal.fleet.shell import fill_disk
from rehearsal.fleet.trouble import Trouble

if TYPE_CHECKING:  # it imports asyncssh, which only the fleet's own process needs
    from rehearsal.fleet.host import Host

Cause = Callable[["Sequence[Host]"], Awaitable[None]]


async def all_down(hosts: Sequence[Host]) -> None:
    """Every agent has given up."""
    for host in hosts:
        host.unit.fall()


def one_in_trouble(trouble: Trouble) -> Cause:
    """The last host has this trouble, and its agent is down."""

    async def cause(hosts: Sequence[Host]) -> None:
        hosts[-1].unit.fall()
        await hosts[-1].suffer(trouble)

    return cause


async def zone_away(hosts: Sequence[Host]) -> None:
    """Half of the hosts of the largest zone can't be reached any more, nor can they reach anybody."""
    zones = [host.zone for host in hosts]
    largest = max(sorted(set(zones)), key=zones.count)
    there = [host for host in hosts if host.zone == largest]
    for host in there[: max(1, len(there) // 2)]:
        await host.suffer(Trouble(away=True))


async def bad_version(hosts: Sequence[Host]) -> None:
    """A new version is installed everywhere. It runs once an agent is restarted, and ends at once."""
    for host in hosts:
        host.unit.crashes = True


async def disk_full(hosts: Sequence[Host]) -> None:
    """The disk of every host is full, and no agent can run."""
    for host in hosts:
        fill_disk(host.shell)
        host.unit.crashes = True


async def no_sudo(hosts: Sequence[Host]) -> None:
    """Somebody took the bot's line out of sudoers, on every host."""
    for host in hosts:
        host.shell.no_sudo = True


async def hostile(hosts: Sequence[Host]) -> None:
    """The last host answers with endless output that is no text."""
    hosts[-1].unit.fall()
    hosts[-1].shell.hostile = True


# name: title, explanation, cause
FAULTS: dict[str, tuple[str, str, Cause]] = {
    "agents-down": ("All agents are down", "They gave up after an outage; their hosts are well.", all_down),
    "agent-sshd-hangs": ("A host's sshd hangs", "It accepts connections and says nothing.", one_in_trouble(Trouble(hung=True))),
    "agent-refuses": ("A host refuses connections", "Nothing listens on its SSH port.", one_in_trouble(Trouble(refuses=True))),
    "agent-other-key": ("A host has another key", "As after a rebuild, or an attack.", one_in_trouble(Trouble(other_key=True))),
    "agent-restart-fails": ("A restart fails", "The agent's settings can't be read.", one_in_trouble(Trouble(restart="fails"))),
    "agent-restart-hangs": ("A restart hangs", "The command never returns.", one_in_trouble(Trouble(restart="hangs"))),
    "agent-restart-lost": (
        "The connection breaks after a restart",
        "The agent is restarted, but nobody is told.",
        one_in_trouble(Trouble(restart="lost")),
    ),
    "agent-zone-away": ("Half a zone is unreachable", "Neither SSH nor heartbeats get through.", zone_away),
    "agent-bad-version": ("A new agent version crashes", "It ends half a second after each start.", bad_version),
    "agent-disk-full": ("The hosts' disks are full", "No agent can run.", disk_full),
    "agent-no-sudo": ("sudo refuses the bot", "Its line in sudoers is gone.", no_sudo),
    "agent-hostile": ("A host pours out rubbish", "Its log is endless, and no text.", hostile),
}


async def heal(hosts: Sequence[Host]) -> None:
    """Nothing is wrong with any host, and every agent is up."""
    for host in hosts:
        await host.suffer(Trouble())
        host.unit.crashes, host.shell.hostile, host.shell.no_sudo, host.shell.disk_percent = False, False, False, 41
        if host.unit.state != "active":
            host.unit.start()
