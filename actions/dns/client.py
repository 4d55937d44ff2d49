"""Questions to single DNS servers. The system's resolver is not asked: its cache would answer for a server that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from actions.errors import Unreachable
from actions.site import Dns

SECONDS = 2.0  # for one question; over TCP once more if the answer does not fit


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one server says of a name: its values, for how many seconds they may be kept, and whether it speaks for the zone."""

    server: str
    values: tuple[str, ...]
    ttl: int
    authoritative: bool


async def ask(server: str, name: str, kind: str, *, recursive: bool) -> Reply:
    """Ask one server, ADDRESS:PORT. Raises `Unreachable` if it doesn't answer, or with an error."""
    host, _, port = server.rpartition(":")
    question = dns.message.make_query(name, kind)
    if not recursive:
        question.flags &= ~dns.flags.RD
    try:
        answer, _ = await dns.asyncquery.udp_with_fallback(question, host.strip("[]"), timeout=SECONDS, port=int(port))
    except (dns.exception.DNSException, OSError) as error:
        raise Unreachable(f"DNS server {server} does not answer ({type(error).__name__}).") from error
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise Unreachable(f"DNS server {server} answers {dns.rcode.to_text(answer.rcode())} to {name}.")
    kinds = dns.rdatatype.from_text(kind)
    sets = [one for one in answer.answer if one.rdtype == kinds]
    values = sorted(record.to_text().rstrip(".").lower() for one in sets for record in one)
    ttl = min((one.ttl for one in answer.answer), default=0)
    return Reply(server=server, values=tuple(values), ttl=ttl, authoritative=bool(answer.flags & dns.flags.AA))


async def nameservers(settings: Dns) -> tuple[str, ...]:
    """The zone's authoritative servers, ADDRESS:PORT. Raises `Unreachable` if no resolver knows them."""
    if settings.nameservers:
        return settings.nameservers
    names = (await _first(settings.resolvers, settings.zone, "NS")).values
    found = await asyncio.gather(*(_first(settings.resolvers, name, "A") for name in names))
    servers = tuple(f"{address}:53" for reply in found for address in reply.values)
    if not servers:
        raise Unreachable(f"No resolver knows the name servers of {settings.zone}.")
    return servers


async def _first(resolvers: Sequence[str], name: str, kind: str) -> Reply:
    """The answer of the first resolver that has one."""
    said = Unreachable(f"No resolver knows {name}.")
    for resolver in resolvers:
        try:
            reply = await ask(resolver, name, kind, recursive=True)
        except Unreachable as error:
            said = error
            continue
        if reply.values:
            return reply
    raise said
