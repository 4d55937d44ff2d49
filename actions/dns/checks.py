"""After a change of the public name: every authoritative server says the new value, and then resolvers forget the old one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.dns.client import Reply, ask, nameservers
from actions.errors import Unreachable
from actions.site import Dns
from actions.step import Check
from actions.values import Outcome, count, done, failed

if TYPE_CHECKING:
    from actions.world import World

LEAST = 20.0  # seconds of our own clock
Seen = Reply | Unreachable


@dataclass(frozen=True, kw_only=True)
class _OfName(Check):
    """What both checks share: the public name, and the value that it must have."""

    name: str
    type: str
    value: str

    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("dns:query",)

    @property
    def target(self) -> str:
        return f"record {self.name}"


@dataclass(frozen=True, kw_only=True)
class AuthoritativeAgree(_OfName, kind="dns.authoritative_agree"):
    """Wait until every authoritative server of the zone answers the new value, and speaks for the zone."""

    timeout: ClassVar[float] = 600.0

    @property
    def title(self) -> str:
        return f"Wait until every name server answers {self.value} for {self.name}"

    def command(self) -> str:
        return f"dig +norecurse {self.name} {self.type} @NAMESERVER  # each of the zone"

    async def look(self, world: World) -> Outcome:
        said = "no server was asked"
        async for passed in world.ticks(timeout=self.timeout, at_least=LEAST):
            try:
                servers = await nameservers(_settings(world))
            except Unreachable as error:
                said = str(error)
                continue
            replies = await _all(servers, self.name, self.type, recursive=False)
            said = behind(replies, self.value)
            if not said:
                agree = f"All {len(servers)} name servers answer" if len(servers) > 1 else "The name server answers"
                return done(f"{agree} {self.value} for {self.name}, seen after {passed:.0f} s.")
            world.progress(said)
        return failed(f"Not every name server has the new value after {self.timeout:g} s: {said} Wait, then retry.")


@dataclass(frozen=True, kw_only=True)
class ResolversAgree(_OfName, kind="dns.resolvers_agree"):
    """Count down until the resolvers have forgotten the old value; one that keeps it is named with the time that is left."""

    timeout: ClassVar[float] = 900.0

    @property
    def title(self) -> str:
        return f"Wait until resolvers answer {self.value} for {self.name}"

    def command(self) -> str:
        return f"dig {self.name} {self.type} @RESOLVER  # each of [dns] resolvers"

    async def look(self, world: World) -> Outcome:
        resolvers, said = _settings(world).resolvers, "no resolver was asked"
        async for passed in world.ticks(timeout=self.timeout, at_least=LEAST):
            replies = await _all(resolvers, self.name, self.type, recursive=True)
            said = stale(replies, self.value)
            if not said:
                return done(
                    f"{count(len(resolvers), 'resolver answers', 'resolvers answer')} {self.value}, after {passed:.0f} s."
                )
            world.progress(said)
        return failed(f"Some clients still go to the old place after {self.timeout:g} s: {said} Wait, then retry.")


def behind(replies: Sequence[Seen], value: str) -> str:
    """Which authoritative servers do not have the value, in sentences; "" if all have."""
    said = []
    for reply in replies:
        if isinstance(reply, Unreachable):
            said.append(str(reply))
        elif not reply.authoritative:
            said.append(f"DNS server {reply.server} does not speak for the zone: its answer isn't authoritative.")
        elif reply.values != (value.lower(),):
            said.append(f"DNS server {reply.server} still answers {', '.join(reply.values) or 'nothing'}.")
    return " ".join(said) if replies else "The zone has no name server."


def stale(replies: Sequence[Seen], value: str) -> str:
    """Which resolvers still have another value, and for how long, in sentences; "" if none has."""
    said = []
    for reply in replies:
        if isinstance(reply, Unreachable):
            said.append(str(reply))
        elif reply.values != (value.lower(),):
            has = ", ".join(reply.values) or "nothing"
            said.append(f"Resolver {reply.server} still has {has}, for {reply.ttl} s more at most.")
    return " ".join(said)


async def _all(servers: Sequence[str], name: str, kind: str, *, recursive: bool) -> list[Seen]:
    async def one(server: str) -> Seen:
        try:
            return await ask(server, name, kind, recursive=recursive)
        except Unreachable as error:
            return error

    return list(await asyncio.gather(*(one(server) for server in servers)))


def _settings(world: World) -> Dns:
    if world.site.dns is None:
        raise Unreachable("dr.toml has no [dns].")
    return world.site.dns
