"""What is read about the fleet from the server's side: the gate, the inventory, and who sends heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from actions.errors import Unreachable
from actions.site import Agents, ServiceSection
from actions.ssh.heartbeats import Beats, heartbeats
from actions.ssh.inventory import BadInventory, Host, Inventory
from actions.world import World
from commands.agents.gate import Door, Gate, ask_gate
from commands.facts import Fact, read
from commands.scenario import BadCommand

HOW_TO = "docs/how-to/agents.md says what it takes"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read. `chosen` are the hosts that were asked about."""

    site: Agents
    chosen: Sequence[Host]
    gate: Fact[Gate]
    beats: Fact[Beats]

    @property
    def control_plane_down(self) -> bool:
        """Whether no heartbeat can get through."""
        return self.gate.value is not None and self.gate.value.door is Door.DOWN

    @property
    def healthy(self) -> set[str]:
        """The agents with a fresh heartbeat; none if that is not known."""
        return self.beats.value.fresh(self.site.fresh_seconds) if self.beats.value else set()

    @property
    def offline(self) -> list[Host]:
        """The hosts of the others."""
        healthy = self.healthy
        return [host for host in self.chosen if host.name not in healthy]


async def inventory(world: World) -> tuple[Agents, Inventory]:
    """[agents] and the inventory. Raises `BadCommand` if there is none, or it can't be used."""
    try:
        site = world.agents
        await asyncio.to_thread(import_module, "actions.ssh.client")  # it is heavy, and people wait for their acknowledgement
        return site, await world.ssh.inventory()
    except BadInventory as error:
        raise BadCommand(str(error)) from error
    except Unreachable as error:
        raise BadCommand(f"{error} {HOW_TO[0].upper()}{HOW_TO[1:]}.") from error


def chosen(known: Inventory, group: str) -> list[Host]:
    """The hosts of `hosts=GROUP`. Raises `BadCommand`."""
    try:
        return known.chosen(group)
    except KeyError as error:
        raise BadCommand(str(error.args[0])) from error


async def look(world: World, hosts: Sequence[Host]) -> Seen:
    """Ask the gate and the database at once."""
    gate, beats = await asyncio.gather(read_gate(world), read_beats(world, hosts))
    return Seen(site=world.agents, chosen=hosts, gate=gate, beats=beats)


async def read_gate(world: World, *, seconds: float = 10.0) -> Fact[Gate]:
    """Ask the gate; no answer within so many seconds is one, too."""
    return await read("The heartbeat address", ask_gate(world, world.agents.heartbeat_url, seconds=seconds), timeout=2 * seconds)


async def read_beats(world: World, hosts: Sequence[Host], *, seconds: float = 12.0) -> Fact[Beats]:
    """Ask the database for the newest heartbeats."""
    names = [host.name for host in hosts]
    return await read("The heartbeats in the database", heartbeats(world, names), timeout=seconds)


def service_of(world: World) -> str:
    """The service that takes the heartbeats: the one with the same host in its health address, else the first ("")."""
    host = world.agents.heartbeat_url.split("/")[2]
    return next((name for name, service in world.site.services.items() if _host(service) == host), "")


def _host(service: ServiceSection) -> str:
    return service.health_url.split("/")[2]
