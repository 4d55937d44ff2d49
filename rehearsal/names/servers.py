"""The servers of names: authoritative ones, each with its own copy of the zone, and a resolver that keeps what it learnt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from rehearsal.names.wire import DnsPort
from rehearsal.names.zone import RecordSet, Snapshot

ASK_SECONDS = 1.0


class Authoritative:
    """One of a zone's servers; it serves the snapshot that it has, even if it's an old one.

    `shorten` makes the seconds of a TTL those of the rehearsal, and `healthy` says of a health check whether it succeeds.
    """

    def __init__(self, zone: Snapshot, *, shorten: Callable[[int], int], healthy: Callable[[str], bool]) -> None:
        self.zone = zone
        self.port = DnsPort(self._answer)
        self._shorten = shorten
        self._healthy = healthy

    async def _answer(self, question: dns.message.Message) -> dns.message.Message:
        asked = question.question[0]
        name, kind = asked.name.to_text().lower(), dns.rdatatype.to_text(asked.rdtype)
        answer = dns.message.make_response(question)
        if not self.zone.holds(name):
            answer.set_rcode(dns.rcode.REFUSED)
            return answer
        answer.flags |= dns.flags.AA
        found = self.zone.answer(name, kind, self._healthy)
        if found:
            answer.answer.append(self._records(found))
            return answer
        if not self.zone.exists(name):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        soa = next(one for one in self.zone.records if one.type == "SOA")
        answer.authority.append(self._records(soa))
        return answer

    def _records(self, one: RecordSet) -> dns.rrset.RRset:
        """Names among the values need no dot at the end: they are whole ones in any case."""
        ttl = self._shorten(one.ttl)
        return dns.rrset.from_text_list(one.name, ttl, "IN", one.type, one.values, origin=dns.name.root, relativize=False)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    records: tuple[dns.rrset.RRset, ...]
    rcode: dns.rcode.Rcode
    until: float

    @property
    def left(self) -> int:
        """The seconds that it's still good for; never said as 0, as others round up, too."""
        return max(1, round(self.until - time.monotonic()))


class Resolver:
    """A caching resolver. It asks the authoritative servers of the zone in turn, and knows some `others`: name -> address."""

    def __init__(self, zone: str, servers: Sequence[Authoritative], others: Mapping[str, str], *, ttl: int) -> None:
        self.port = DnsPort(self._answer)
        self._zone, self._servers, self._others, self._ttl = zone, servers, dict(others), ttl
        self._kept: dict[tuple[str, dns.rdatatype.RdataType], _Kept] = {}
        self._turn = 0

    def forget(self) -> None:
        """It starts over, with an empty cache."""
        self._kept.clear()

    async def _answer(self, question: dns.message.Message) -> dns.message.Message:
        asked = question.question[0]
        answer = dns.message.make_response(question, recursion_available=True)
        name = asked.name.to_text().lower()
        for _ in range(8):  # a chain of names is never longer
            kept = await self._look_up(name, asked.rdtype)
            if kept is None:
                answer.set_rcode(dns.rcode.SERVFAIL)
                return answer
            answer.set_rcode(kept.rcode)
            for records in kept.records:
                answer.answer.append(dns.rrset.from_rdata_list(records.name, kept.left, list(records)))
            last = answer.answer[-1] if kept.records else None
            if last is None or last.rdtype != dns.rdatatype.CNAME or asked.rdtype == dns.rdatatype.CNAME:
                return answer
            name = last[0].target.to_text().lower()
        return answer

    async def _look_up(self, name: str, kind: dns.rdatatype.RdataType) -> _Kept | None:
        kept = self._kept.get((name, kind))
        if kept is not None and kept.until > time.monotonic():
            return kept
        ours = name == self._zone or name.endswith(f".{self._zone}")
        if (fresh := await self._ask(name, kind) if ours else self._other(name, kind)) is not None:
            self._kept[name, kind] = fresh
        return fresh

    def _other(self, name: str, kind: dns.rdatatype.RdataType) -> _Kept:
        until = time.monotonic() + self._ttl
        if name not in self._others:
            return _Kept(records=(), rcode=dns.rcode.NXDOMAIN, until=until)
        found = kind == dns.rdatatype.A
        records = (dns.rrset.from_text(name, self._ttl, "IN", "A", self._others[name]),) if found else ()
        return _Kept(records=records, rcode=dns.rcode.NOERROR, until=until)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> _Kept | None:
        """What an authoritative server says; the next one is asked if it doesn't answer. None if none does."""
        for _ in self._servers:
            server = self._servers[self._turn % len(self._servers)].port
            self._turn += 1
            query = dns.message.make_query(name, kind, flags=0)
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(query, server.host, ASK_SECONDS, server.port)
            except (dns.exception.DNSException, OSError, asyncio.IncompleteReadError):
                continue
            ttl = min((one.ttl for one in [*answer.answer, *answer.authority]), default=self._ttl)
            return _Kept(records=tuple(answer.answer), rcode=answer.rcode(), until=time.monotonic() + ttl)
        return None
