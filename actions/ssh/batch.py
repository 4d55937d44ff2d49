"""Restart the agents of one batch of hosts, and judge the batch by the heartbeats that the server gets afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

from actions.errors import Unreachable
from actions.items import INTENDED, Item
from actions.ssh.heartbeats import Beats, heartbeats
from actions.ssh.inventory import Host
from actions.ssh.lines import UnitState
from actions.ssh.restarts import (
    BAD,
    HEALTHY,
    LEFT_ALONE,
    RESTARTED,
    SILENT,
    UNKNOWN,
    is_settled,
    look,
    restart,
    settle,
    to_read_back,
)
from actions.step import Action, Check
from actions.values import Facts, Finding, Outcome, Proof, Verdict, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

NAMED = 8  # hosts that a sentence names; the record has them all


@dataclass(frozen=True, kw_only=True)
class RestartBatch(Action, kind="ssh.restart_batch"):
    """Restart the agents of a batch of hosts, each once, and wait until the server gets heartbeats of all of them again.

    Hosts whose agents are healthy by then are left alone, unless `healthy_too`. At most `budget` hosts of the whole run may
    fail, and `batch_budget` of this batch; no more are under way at a time than may still fail, and no host is begun once too
    many have. A host that can't be reached counts as a failure.
    """

    systemd: tuple[str, ...]
    docker: tuple[str, ...]
    systemd_line: str
    docker_line: str
    batch: int
    of: int
    budget: int
    batch_budget: int
    healthy_too: bool

    timeout: ClassVar[float] = 1500.0
    settle: ClassVar[float] = 2.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("ssh:restart", "postgresql:select")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the batch, by the names of the inventory."""
        return (*self.systemd, *self.docker)

    @property
    def title(self) -> str:
        which = "the canary" if self.batch == 1 and len(self.hosts) == 1 else f"batch {self.batch} of {self.of}"
        return f"Restart {count(len(self.hosts), 'agent')} ({which}) and wait for heartbeats"

    @property
    def target(self) -> str:
        return self.hosts[0] if len(self.hosts) == 1 else f"{self.hosts[0]} and {len(self.hosts) - 1} more hosts"

    def command(self) -> str:
        kinds = ((self.systemd, self.systemd_line), (self.docker, self.docker_line))
        return "; ".join(f"for host in {' '.join(hosts)}; do ssh $host '{line}'; done" for hosts, line in kinds if hosts)

    async def observe(self, world: World) -> Facts:
        beats = await heartbeats(world, self.hosts)
        known = await world.items.known()
        (await world.ssh.inventory()).named(self.hosts)
        fresh = [] if self.healthy_too else sorted(beats.fresh(world.agents.fresh_seconds))
        others = [item for item in known.values() if item.name not in self.hosts and item.state in BAD]
        return {"at": beats.now.isoformat(), "fresh": fresh, "failed_before": len(others)}

    def precheck(self, facts: Facts) -> Finding:
        if facts["failed_before"] > self.budget:
            return stop(f"{count(facts['failed_before'], 'agent')} failed in earlier batches, and at most {self.budget} may.")
        return ok(f"{count(len(self.hosts) - len(facts['fresh']), 'agent')} to restart.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        hosts = (await world.ssh.inventory()).named(self.hosts)
        known, attempt = await world.items.known(), world.items.attempt
        left = [name for name in facts["fresh"] if name not in known or known[name].state in BAD]
        await asyncio.gather(*(world.items.end(name, LEFT_ALONE, f"{name} was healthy.") for name in left))
        due = [host for host in hosts if host.name not in left and not is_settled(known.get(host.name), attempt)]
        tried = sum(known[name].attempt == attempt and known[name].state in BAD for name in self.hosts if name in known)
        await self._all_of(world, deque(due), known, tried, facts["failed_before"])
        return {}

    async def _all_of(self, world: World, due: deque[Host], known: Mapping[str, Item], bad: int, failed_before: int) -> None:
        """Restart them side by side, as many at a time as may still fail; `bad` have failed already in this attempt."""
        running: set[asyncio.Task[str]] = set()
        try:
            while due or running:
                while due and len(running) < max(1, self.budget - failed_before - bad) and not self._too_many(bad, failed_before):
                    host = due.popleft()
                    running.add(asyncio.create_task(self._once(world, host, known.get(host.name))))
                if not running:
                    return
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                bad += sum(task.result() in BAD for task in ended)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _once(self, world: World, host: Host, item: Item | None) -> str:
        """The outcome of one host. What a bot that died may have done, or what is unknown, is read back first."""
        if item is not None and to_read_back(item):
            verdict = await settle(world, host, item)
            if verdict is not Verdict.NOT_DONE:
                return RESTARTED if verdict is Verdict.DONE else UNKNOWN
        return await restart(world, host, self.docker_line if host.name in self.docker else self.systemd_line)

    async def applied(self, world: World, facts: Facts) -> Proof:
        known, attempt = await world.items.known(), world.items.attempt
        open_ones = [name for name in self.hosts if not is_settled(known.get(name), attempt)]
        if not open_ones or (self._too_many(self._bad(known), facts["failed_before"]) and _begun(known, self.hosts, attempt)):
            return Proof(verdict=Verdict.DONE, says="Every host of the batch that was begun has an outcome.")
        return Proof(verdict=Verdict.NOT_DONE, says=f"{count(len(open_ones), 'agent')} of the batch not restarted yet.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        known = await world.items.known()
        mine = [known[name] for name in self.hosts if name in known]
        waited = {item.name for item in mine if item.state in (RESTARTED, SILENT)}
        unsure = {item.name for item in mine if item.state == UNKNOWN and item.name not in facts["fresh"]}
        if self.healthy_too:  # an agent that may never have stopped proves nothing by a heartbeat
            unsure = set()
        try:
            proven, seen = await gate(world, waited | unsure)
        except Unreachable as error:  # then no agent may be called silent
            restarted = count(len(waited), "agent was", "agents were")
            return failed(
                f"{restarted} restarted, and whether they are healthy can't be told: {error} Retry restarts none of them."
            )
        await asyncio.gather(*(world.items.end(name, HEALTHY) for name in sorted(proven)))
        await self._silent(world, sorted(waited - proven), seen)
        known = await world.items.known()
        if bad := [known[name] for name in self.hosts if name in known and known[name].state in BAD]:
            await world.attach(f"Hosts of batch {self.batch} that are not well", listing(bad))
        return self.judge(known, facts["failed_before"])

    async def _silent(self, world: World, names: Sequence[str], seen: set[str]) -> None:
        """Record that these were restarted and don't send heartbeats, and what the first of their hosts say."""
        hosts = (await world.ssh.inventory()).named(names) if names else []
        looks = await asyncio.gather(*(look(world, host) for host in hosts[:NAMED]))
        for host, found in zip_longest(hosts, looks):
            says = "its heartbeats stopped" if host.name in seen else "it sent no heartbeat"
            after = "again" if host.name in seen else f"within {world.agents.heartbeat_seconds:g} s"
            there = f"; on its host it is {found.word}" if isinstance(found, UnitState) else ""
            await world.items.end(host.name, SILENT, f"{host.name}: restarted, but {says} {after}{there}.")

    def judge(self, known: Mapping[str, Item], failed_before: int) -> Outcome:
        """How the batch went, by the outcome of each host."""
        states = Counter(known[name].state if name in known else "not tried" for name in self.hosts)
        bad = self._bad(known)
        says = table([known[name] for name in self.hosts if name in known], states)
        if self._too_many(bad, failed_before):
            return failed(f"{self._why(bad, failed_before)} {says}")
        return done(says) if not states["not tried"] else failed(f"Not every host was tried. {says}")

    def _why(self, bad: int, failed_before: int) -> str:
        if bad > self.batch_budget:
            allowed = f"at most {self.batch_budget} may in this batch" if self.batch_budget else "none may in this batch"
            return f"{count(bad, 'agent')} failed, and {allowed}: no more are restarted."
        return f"{count(bad + failed_before, 'agent')} failed so far, and at most {self.budget} may: no more are restarted."

    def _bad(self, known: Mapping[str, Item]) -> int:
        return sum(known[name].state in BAD for name in self.hosts if name in known)

    def _too_many(self, bad: int, failed_before: int) -> bool:
        return bad > self.batch_budget or (bad > 0 and bad + failed_before > self.budget)


@dataclass(frozen=True, kw_only=True)
class AgentsHealthy(Check, kind="ssh.agents_healthy"):
    """Wait until the server has got heartbeats of all of these agents for a while; at most `budget` of them may be missing."""

    hosts: tuple[str, ...]
    budget: int

    timeout: ClassVar[float] = 1500.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:select",)

    @property
    def title(self) -> str:
        return f"Check that {count(len(self.hosts), 'agent')} keep sending heartbeats"

    @property
    def target(self) -> str:
        return "the heartbeats table"

    def command(self) -> str:
        return "# the newest heartbeat of each of these agents in [agents] heartbeat_table, every 2 s"

    async def look(self, world: World) -> Outcome:
        try:
            proven, _ = await gate(world, set(self.hosts), most_missing=self.budget)
        except Unreachable as error:
            return failed(f"Whether the agents are healthy can't be told: {error}")
        missing = sorted(set(self.hosts) - proven)
        says = f"{len(proven)} of {count(len(self.hosts), 'agent')} send heartbeats."
        if missing:
            says += f" Silent: {named(missing)}."
        return done(says) if len(missing) <= self.budget else failed(says)


async def gate(world: World, agents: set[str], *, most_missing: int = 0) -> tuple[set[str], set[str]]:
    """Wait until the server gets heartbeats of these agents, and still does a while later; returns who did, and who at all.

    Raises `Unreachable` if time is up and the heartbeats could not be read at the end.
    """
    site = world.agents
    limit = site.heartbeat_seconds + site.healthy_seconds
    since: datetime | None = None
    first: dict[str, datetime] = {}  # the first heartbeat that was seen of each
    proven: set[str] = set()
    unread: Unreachable | None = None
    if not agents:
        return proven, set()
    async for _ in world.ticks(timeout=limit, every=2.0, at_least=limit):
        try:
            beats: Beats = await heartbeats(world, agents)
        except Unreachable as error:
            world.progress(f"The heartbeats can't be read: {error}")
            unread = error
            continue
        unread = None
        since = since or beats.now
        for agent, at in beats.since(since).items():
            if at >= first.setdefault(agent, at) + timedelta(seconds=site.healthy_seconds):
                proven.add(agent)
        world.progress(f"{len(first)} of {count(len(agents), 'agent')} send heartbeats again, {len(proven)} long enough")
        if len(agents - proven) <= most_missing:
            break
    if unread is not None:
        raise unread
    return proven, set(first)


def table(items: Iterable[Item], states: Mapping[str, int]) -> str:
    """How many hosts ended how, and the first of those that did not end well, as sentences."""
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items(), key=lambda s: (-s[1], s[0])) if number)
    bad = [item.says or f"{item.name}: {item.state}." for item in items if item.state in BAD]
    more = f" And {len(bad) - NAMED} more." if len(bad) > NAMED else ""
    return " ".join([f"Agents: {counted}.", *bad[:NAMED]]) + more


def listing(items: Iterable[Item]) -> str:
    """A line for each host: how it ended, its name, and why."""
    rows = sorted((item.state, item.name, item.says) for item in items)
    width = max((len(name) for _, name, _ in rows), default=0)
    return "\n".join(
        ["outcome      host and reason", *(f"{state:12} {name:{width}}  {says}".rstrip() for state, name, says in rows)]
    )


def named(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _begun(known: Mapping[str, Item], hosts: Iterable[str], attempt: int) -> bool:
    """Whether this attempt has tried some of the hosts, and left none of them without an outcome."""
    mine = [known[name] for name in hosts if name in known]
    return any(item.attempt == attempt for item in mine) and all(item.state != INTENDED for item in mine)
