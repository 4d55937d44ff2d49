"""A fleet of the rehearsal for tests, with a control plane that only takes heartbeats."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh

from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.control_plane import Reply, Request, serve_with
from rehearsal.machines.processes import Processes

TOKEN = "fleet-secret"
Json = dict[str, Any]


class Sink:
    """Takes heartbeats and counts them by agent."""

    def __init__(self) -> None:
        self.beats: Counter[str] = Counter()

    async def answer(self, request: Request) -> Reply:
        """What the control plane would answer."""
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {}
        self.beats.update(request.json()["agents"])
        return 200, {}


@asynccontextmanager
async def fleet_of(processes: Processes, folder: Path, hosts: int) -> AsyncIterator[tuple[Fleet, Sink]]:
    """A fleet whose heartbeats go to a sink."""
    sink = Sink()
    server = await asyncio.start_server(serve_with(sink.answer), "127.0.0.1", 0)
    heartbeats = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/agents/heartbeat"
    async with Fleet(processes, folder, hosts=hosts, heartbeats=heartbeats, token=TOKEN, every=0.2) as fleet:
        yield fleet, sink
    server.close()


def hosts_of(fleet: Fleet) -> dict[str, Json]:
    """The hosts of the inventory file."""
    return dict(tomllib.loads(fleet.inventory.read_text())["hosts"])


async def connect(fleet: Fleet, host: str, **changed: Any) -> asyncssh.SSHClientConnection:
    """A connection to a host, as asyncssh itself makes it."""
    given = {"client_keys": [str(fleet.key)], "known_hosts": str(fleet.known_hosts), "username": "dr", **changed}
    return await asyncssh.connect("127.0.0.1", hosts_of(fleet)[host]["port"], config=None, agent_path=None, **given)


async def order(fleet: Fleet, **what: Any) -> None:
    """Give the fleet an order."""
    assert json.dumps(await fleet.order(**what))
