"""Route 53: zones whose record sets two real DNS servers serve, after a while, and health checks that really ask.

Its control plane is in one region; the DNS servers are nobody's region, and go on without it.
https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import Handler
from rehearsal.aws.record_changes import Batch, backwards, dotted
from rehearsal.aws.wire import AwsError
from rehearsal.machines.health_checks import HealthChecks
from rehearsal.names.servers import Authoritative
from rehearsal.names.zone import RecordSet, Zone

SETTLE_SECONDS = (10.0, 60.0)  # "Changes generally propagate to all Route 53 name servers within 60 seconds."
LATE_SECONDS = (900.0, 1200.0)
SERVERS = ("ns-421.awsdns-52.com.", "ns-1637.awsdns-12.co.uk.")
PRIVATE_SERVERS = ("ns-0.awsdns-00.com.",)
Params = dict[str, Any]


@dataclass(kw_only=True, eq=False)
class Change:
    """A batch of changes on its way to the servers."""

    id: str
    submitted_at: datetime
    status: str = "PENDING"

    def view(self) -> Params:
        """The ChangeInfo of AWS's answers."""
        return {"Id": f"/change/{self.id}", "Status": self.status, "SubmittedAt": self.submitted_at}


class Route53:
    """The zones of the account. Of the public one there are two servers; nobody outside a VPC sees the private one's names."""

    def __init__(self, clock: Clock, *, home: str, public: str = "shielda.dev.", seed: int = 0) -> None:
        self.home = home
        self.zone_id, self.private_id = "Z0SHIELDAPUBLIC00001", "Z0SHIELDAPRIVATE0001"
        self.zone = Zone(public, SERVERS)
        self.zones = {self.private_id: Zone(public, PRIVATE_SERVERS), self.zone_id: self.zone}
        self.checks = HealthChecks(clock.real)
        self.late = False
        self.stale: Authoritative | None = None
        self.changes: dict[str, Change] = {}
        self._clock, self._random = clock, random.Random(seed)
        self._settling: set[asyncio.Task[None]] = set()
        snapshot = self.zone.snapshot()
        self.servers = [Authoritative(snapshot, shorten=self.shorten, healthy=self.checks.healthy) for _ in SERVERS]

    def shorten(self, ttl: int) -> int:
        """The TTL that servers give: a rehearsal's seconds, and one at the least."""
        return max(1, round(self._clock.real(ttl)))

    def put(self, *records: RecordSet) -> None:
        """These record sets are there, and all servers have them."""
        gone = [one.key for one in self.zone.records if any(one.name == new.name and one.type == new.type for new in records)]
        snapshot = self.zone.change(records, gone)
        for server in self.servers:
            server.zone = snapshot

    async def open(self) -> None:
        """The servers answer."""
        for server in self.servers:
            await server.port.open()

    async def close(self) -> None:
        """No server answers, and nothing is under way."""
        for task in list(self._settling):
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        await self.checks.close()
        for server in self.servers:
            await server.port.close()

    def keep_stale(self) -> None:
        """Fault: the last server keeps what it has, and Route 53 doesn't know."""
        self.stale = self.servers[-1]

    def heal(self) -> None:
        """The servers have all that there is, and changes are as fast as ever."""
        self.late, self.stale = False, None
        for server in self.servers:
            server.zone = self.zone.snapshot()

    def handlers(self) -> dict[str, Handler]:
        """For `Front.add("route53", ...)`."""
        answers: dict[str, Callable[[Params], Params]] = {
            "ListHostedZones": lambda params: self._list_zones(params, sorted(self.zones, key=self._zone_order)),
            "ListHostedZonesByName": self._list_zones_by_name,
            "GetHostedZone": self._get_zone,
            "ListResourceRecordSets": self._list_records,
            "ChangeResourceRecordSets": self._change,
            "GetChange": self._get_change,
            "ListHealthChecks": self.checks_listed,
            "GetHealthCheck": lambda params: {"HealthCheck": self._check(params).view()},
            "GetHealthCheckStatus": lambda params: {"HealthCheckObservations": self._check(params).observations()},
        }

        def handler(name: str) -> Handler:
            def answer(region: str, params: Params) -> Params:
                if region != self.home:
                    message = f"There is no Route 53 in {region}: its control plane is in {self.home}."
                    raise AwsError("UnknownOperationException", message, 404)
                return answers[name](params)

            return answer

        return {name: handler(name) for name in answers}

    # Zones ------------------------------------------------------------------------------------------------------------

    def _zone(self, number: str) -> Zone:
        found = self.zones.get(number.rpartition("/")[2])
        if found is None:
            raise AwsError("NoSuchHostedZone", f"No hosted zone found with ID: {number}")
        return found

    def _zone_order(self, number: str) -> tuple[list[str], str]:
        return backwards(self.zones[number].name), number

    def _zone_view(self, number: str) -> Params:
        zone, private = self.zones[number], number == self.private_id
        return {
            "Id": f"/hostedzone/{number}",
            "Name": zone.name,
            "CallerReference": f"made-by-terraform-{number[-8:]}",
            "Config": {"Comment": "inside our VPCs" if private else "", "PrivateZone": private},
            "ResourceRecordSetCount": len(zone.records),
        }

    def _list_zones(self, params: Params, found: Sequence[str]) -> Params:
        most = _most(params, 100)
        listed = {"HostedZones": [self._zone_view(one) for one in found[:most]], "IsTruncated": len(found) > most}
        return {**listed, "Marker": "", "MaxItems": str(most)}

    def _list_zones_by_name(self, params: Params) -> Params:
        """All zones from this name on, in the order of their names: also those with other names, as AWS does."""
        start = backwards(dotted(params["DNSName"])) if params.get("DNSName") else []
        found = [one for one in sorted(self.zones, key=self._zone_order) if backwards(self.zones[one].name) >= start]
        if (first := params.get("HostedZoneId", "").rpartition("/")[2]) and first in found:
            found = found[found.index(first) :]
        most = _most(params, 100)
        answer: Params = {"HostedZones": [self._zone_view(one) for one in found[:most]], "IsTruncated": len(found) > most}
        answer |= {"MaxItems": str(most), "DNSName": params.get("DNSName")}
        if len(found) > most:
            answer |= {"NextDNSName": self.zones[found[most]].name, "NextHostedZoneId": found[most]}
        return answer

    def _get_zone(self, params: Params) -> Params:
        zone, number = self._zone(params["Id"]), params["Id"].rpartition("/")[2]
        if number == self.private_id:
            return {"HostedZone": self._zone_view(number), "VPCs": [{"VPCRegion": "us-west-2", "VPCId": "vpc-0a1b2c3d4e5f60718"}]}
        servers = [name.rstrip(".") for name in zone.servers]
        return {"HostedZone": self._zone_view(number), "DelegationSet": {"NameServers": servers}}

    # Records ----------------------------------------------------------------------------------------------------------

    def _list_records(self, params: Params) -> Params:
        """All record sets from a name (and type) on: also those of other names, as AWS does."""
        zone = self._zone(params["HostedZoneId"])
        if params.get("StartRecordType") and not params.get("StartRecordName"):
            raise AwsError("InvalidInput", "StartRecordType is given, and StartRecordName is not.")
        start: tuple[Any, ...] = ([], "", "")
        if name := params.get("StartRecordName"):
            start = (backwards(dotted(name)), params.get("StartRecordType", ""), params.get("StartRecordIdentifier", ""))
        found = [one for one in zone.records if one.order >= start]
        most = _most(params, 300)
        answer: Params = {"ResourceRecordSets": [record_view(one) for one in found[:most]], "MaxItems": str(most)}
        answer["IsTruncated"] = len(found) > most
        if len(found) > most:
            following = found[most]
            answer |= {"NextRecordName": following.name, "NextRecordType": following.type}
            answer |= {"NextRecordIdentifier": following.set_id} if following.set_id else {}
        return answer

    def _change(self, params: Params) -> Params:
        zone = self._zone(params["HostedZoneId"])
        batch = Batch(zone, self.checks.known)
        batch.take(params["ChangeBatch"]["Changes"])
        snapshot = zone.change(batch.added.values(), batch.gone)
        number = "C" + "".join(self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=20))
        change = self.changes[number] = Change(id=number, submitted_at=self._clock.now())
        servers = self.servers if zone is self.zone else []
        task = asyncio.create_task(self._spread(change, snapshot, servers), name=f"route53 {number}")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return {"ChangeInfo": change.view()}

    async def _spread(self, change: Change, snapshot: Any, servers: Sequence[Authoritative]) -> None:
        """Each server gets it at a moment of its own; the change is in sync once the last one should have it."""
        between = LATE_SECONDS if self.late else SETTLE_SECONDS

        async def reach(server: Authoritative) -> None:
            await self._clock.wait(self._random.uniform(*between))
            if server is not self.stale and snapshot.serial > server.zone.serial:
                server.zone = snapshot

        await asyncio.gather(*(reach(server) for server in servers), self._clock.wait(between[0]))
        change.status = "INSYNC"

    def _get_change(self, params: Params) -> Params:
        found = self.changes.get(params["Id"].rpartition("/")[2])
        if found is None:
            raise AwsError("NoSuchChange", f"Could not find resource with ID: {params['Id']}")
        return {"ChangeInfo": found.view()}

    # Health checks ----------------------------------------------------------------------------------------------------

    def checks_listed(self, params: Params) -> Params:
        """The answer to ListHealthChecks."""
        found, most = list(self.checks.known.values()), _most(params, 100)
        listed = {"HealthChecks": [one.view() for one in found[:most]], "IsTruncated": len(found) > most}
        return {**listed, "Marker": "", "MaxItems": str(most)}

    def _check(self, params: Params) -> Any:
        found = self.checks.known.get(params["HealthCheckId"])
        if found is None:
            message = f"A health check with id {params['HealthCheckId']} does not exist."
            raise AwsError("NoSuchHealthCheck", message)
        return found


def record_view(one: RecordSet) -> Params:
    """The ResourceRecordSet of AWS's answers."""
    view: Params = {"Name": one.name, "Type": one.type}
    view |= {"SetIdentifier": one.set_id} if one.set_id else {}
    view |= {"Failover": one.failover} if one.failover else {}
    view |= {"TTL": one.ttl, "ResourceRecords": [{"Value": value} for value in one.values]}
    return {**view, **({"HealthCheckId": one.health_check} if one.health_check else {})}


def _most(params: Params, default: int) -> int:
    """MaxItems, which Route 53 takes as a text."""
    text = str(params.get("MaxItems", default))
    if not text.isdigit() or int(text) < 1:
        raise AwsError("InvalidInput", f"MaxItems is {text}; a number above 0 is expected.")
    return min(int(text), default)
