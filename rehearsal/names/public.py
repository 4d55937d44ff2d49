"""The world's clients, as one fixed port: it looks a name up for every connection and goes where the name leads.

A stand-in: on one machine, a name can't lead to two balancers on the same port, so that this knows the port of each.
"""

from __future__ import annotations

from collections.abc import Mapping

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

from rehearsal.machines.proxy import Proxy
from rehearsal.names.wire import DnsPort

LOOK_UP_SECONDS = 2.0


class PublicName:
    """A port that stands for http://NAME/. `ports` says on which port of this machine the balancer of each name listens."""

    def __init__(self, name: str, resolver: DnsPort, ports: Mapping[str, int]) -> None:
        self.name = name
        self._resolver = resolver
        self._ports = ports
        self._proxy = Proxy()

    @property
    def url(self) -> str:
        """The public address."""
        return f"http://{self._proxy.host}:{self._proxy.port}"

    async def leads_to(self) -> str:
        """The name of the balancer that clients get to now, as the resolver knows it; "" if it doesn't know any."""
        query = dns.message.make_query(self.name, dns.rdatatype.A)
        try:
            answer, _ = await dns.asyncquery.udp_with_fallback(query, self._resolver.host, LOOK_UP_SECONDS, self._resolver.port)
        except (dns.exception.DNSException, OSError):
            return ""
        names = [records[0].target.to_text().rstrip(".") for records in answer.answer if records.rdtype == dns.rdatatype.CNAME]
        return names[-1] if names else ""

    async def open(self) -> None:
        """Let clients in."""
        self._proxy.switch(self._port)
        await self._proxy.accept()

    async def close(self) -> None:
        """Let nobody in."""
        await self._proxy.close()

    async def _port(self) -> int:
        return self._ports.get(await self.leads_to(), 0)
