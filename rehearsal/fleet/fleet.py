"""The fleet as the rest of the rehearsal meets it: start it, break it, ask how it is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rehearsal.machines.processes import ProcessError, Processes
from rehearsal.waiting import until

START_SECONDS = 60.0
ORDER_SECONDS = 10.0
LONGEST_ANSWER = 16 * 2**20


class Fleet:
    """A fleet of so many hosts, as an async context. Its files are in `folder`.

    Its agents report to the address `heartbeats`, `every` so many seconds.
    """

    def __init__(
        self, processes: Processes, folder: Path, *, hosts: int, heartbeats: str = "", token: str = "", every: float = 1.0
    ) -> None:
        self.folder, self.hosts, self.heartbeats = folder, hosts, heartbeats
        self._processes, self._token, self._every = processes, token, every
        self._port = 0
        self.user = ""

    @property
    def inventory(self) -> Path:
        """The inventory file."""
        return self.folder / "agents.toml"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys."""
        return self.folder / "known_hosts"

    @property
    def key(self) -> Path:
        """The private key that every host lets in."""
        return self.folder / "agents_key"

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._processes.stop("fleet")

    def description(self) -> dict[str, Any]:
        """What scripts need to sign in to the hosts."""
        files = {"inventory": str(self.inventory), "known_hosts": str(self.known_hosts), "key": str(self.key)}
        return {"hosts": self.hosts, "user": self.user, **files}

    async def _start(self) -> None:
        program: list[str | Path] = [sys.executable, "-m", "rehearsal.fleet", "--folder", self.folder]
        argv = [*program, "--hosts", str(self.hosts), "--heartbeats", self.heartbeats, "--every", str(self._every)]
        environment = {**os.environ, "AGENT_TOKEN": self._token}
        pipe, home = asyncio.subprocess.PIPE, Path(__file__).parents[2]
        process = await self._processes.start("fleet", argv, env=environment, stdout=pipe, cwd=home)
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if not line:
            raise ProcessError("The fleet did not start.")
        told = json.loads(line)
        self._port, self.user = told["orders"], told["user"]

    async def put(self, name: str) -> None:
        """Cause a fault of `rehearsal.fleet.faults`."""
        await self.order(do="fault", name=name)

    async def heal(self) -> None:
        """Nothing is wrong with any host any more, and every agent is up."""
        await self.order(do="heal")

    async def trouble(self, hosts: Sequence[str], **what: Any) -> None:
        """From now on this is wrong with these hosts, and nothing else; a field of `Trouble` each."""
        await self.order(do="trouble", hosts=list(hosts), what=what)

    async def report(self) -> dict[str, Any]:
        """Each host: its zone, version and state, whether it sends heartbeats, and how often its agent was restarted."""
        return dict((await self.order(do="report"))["hosts"])

    async def beating(self, timeout: float = 20.0) -> None:
        """Wait until every agent sends heartbeats; NotSeen after `timeout` seconds."""

        async def all_beat() -> bool:
            return all(host["beats"] for host in (await self.report()).values())

        await until(all_beat, timeout, "heartbeats of the whole fleet", every=0.1)

    async def order(self, **order: Any) -> dict[str, Any]:
        """Give an order; returns the answer."""
        async with asyncio.timeout(ORDER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=LONGEST_ANSWER)
            try:
                writer.write(json.dumps(order).encode() + b"\n")
                await writer.drain()
                return dict(json.loads(await reader.readline()))
            finally:
                writer.close()
