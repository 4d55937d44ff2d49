"""The world as steps meet it: clients that are made when first used, and the provider's sense of time."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from actions.errors import Unreachable
from actions.gate import Gate
from actions.items import Forgetful, Items
from actions.kept import Kept
from actions.site import Agents, DatabaseRef, Site

if TYPE_CHECKING:  # the clients are heavy: each is imported when it is first used
    from actions.aws.deployments import Own
    from actions.aws.gateway import Gateway
    from actions.db.connect import Connections
    from actions.http import Http
    from actions.ssh.client import Ssh


async def _no_memory(_target: str) -> Sequence[Own]:
    return ()


async def _no_rows(_target: str, _at: str) -> Mapping[str, int]:
    return {}


async def _nothing_kept(_name: str) -> Kept | None:
    return None


async def _attach_nothing(_name: str, _text: str) -> None:
    """What is attached by a step that no run carries out."""


def _nobody(_says: str) -> None:
    """What a step says if it is not followed."""


class World:
    """Everything a step may reach. One per process; `close()` ends the clients that were made.

    A change to the world passes the `gate` directly before it leaves. `own_deployments` gives the deployments of a target
    ("service shielda/control-plane") that this bot made; a bot that serves puts its memory there, and without one there are none.
    `last_rows` gives how many rows each table had when a database's backups were last verified, as of a moment or earlier.
    `items` is the record of what an action does to many things; a bot that serves keeps it in its state.
    `kept` gives what was kept of the world while all was well, and `attach` stores a text beside the step that is under way:
    people read it in the run's thread, and `dr show` prints it.
    A step that takes long says how far it is with `progress`; nobody listens unless it is `followed`.
    """

    def __init__(self, site: Site, gate: Gate | None = None) -> None:
        self.site = site
        self.own_deployments: Callable[[str], Awaitable[Sequence[Own]]] = _no_memory
        self.items: Items = Forgetful()
        self.last_rows: Callable[[str, str], Awaitable[Mapping[str, int]]] = _no_rows
        self.kept: Callable[[str], Awaitable[Kept | None]] = _nothing_kept
        self.attach: Callable[[str, str], Awaitable[None]] = _attach_nothing
        self.gate = gate or Gate()
        self._origin = self
        self._listener: Callable[[str], None] = _nobody

    def followed(self, listener: Callable[[str], None]) -> World:
        """This world with its clients for one step, whose `progress` goes to the listener."""
        view = copy.copy(self)
        view._origin, view._listener = self._origin, listener
        return view

    def progress(self, says: str) -> None:
        """Say how far a step is, in one sentence, as often as you like: "Restoring, 12 min so far"."""
        self._listener(says)

    @cached_property
    def aws(self) -> Gateway:
        """The gateway to AWS, in every region."""
        from actions.aws.gateway import Gateway

        if self._origin is not self:
            return self._origin.aws
        return Gateway(self.site.aws, self.gate)

    def database(self, database: DatabaseRef) -> Connections:
        """Connections to this database."""
        from actions.db.connect import Connections

        return Connections(database, self.gate)

    @cached_property
    def http(self) -> Http:
        """The HTTP prober."""
        from actions.http import Http

        if self._origin is not self:
            return self._origin.http
        return Http()

    @property
    def agents(self) -> Agents:
        """[agents] of dr.toml. Raises `Unreachable` if there is none."""
        if self.site.agents is None:
            raise Unreachable("dr.toml has no [agents], so no agent's host is known.")
        return self.site.agents

    @cached_property
    def ssh(self) -> Ssh:
        """The SSH client for the hosts of the inventory."""
        from actions.ssh.client import Ssh

        if self._origin is not self:
            return self._origin.ssh
        return Ssh(self.agents)

    def local(self, provider_seconds: float) -> float:
        """Seconds on this machine's clock; a rehearsal's AWS runs `speed` times faster than the real one."""
        return provider_seconds / self.site.aws.speed

    async def wait(self, provider_seconds: float) -> None:
        """Sleep for so many of the provider's seconds."""
        await asyncio.sleep(self.local(provider_seconds))

    async def ticks(
        self, *, timeout: float, every: float = 2.0, at_least: float = 0.0, is_steady: bool = False
    ) -> AsyncIterator[float]:
        """Provider seconds since the start, once per tick, until `timeout` is over; the last tick is at the deadline.

        The interval grows from `every` to five times as much, unless it `is_steady`. In a rehearsal no interval is under 20 ms.
        `at_least` seconds of this machine's clock are always given: a rehearsal's databases and web servers are no faster than
        real ones.
        """
        timeout = max(timeout, at_least * self.site.aws.speed)
        began = time.monotonic()
        interval = every
        while True:
            passed = (time.monotonic() - began) * self.site.aws.speed
            yield passed
            if passed >= timeout:
                return
            await asyncio.sleep(max(self.local(min(interval, timeout - passed)), 0.02))
            interval = interval if is_steady else min(interval * 1.2, every * 5)

    async def close(self) -> None:
        """End the clients that were made."""
        for name in ("aws", "http", "ssh"):
            client = self.__dict__.pop(name, None)
            if client is not None:
                await client.close()
