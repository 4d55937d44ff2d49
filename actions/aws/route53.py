"""Route 53: the record of the public name, and the one change that points it to the other region.

Its control plane is in us-east-1 alone. Records that follow health checks need none of it.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/disaster-recovery-resiliency.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from actions.aws.call import AwsUnreachable, Call
from actions.aws.follow import follow
from actions.errors import Unreachable
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

HOME = "us-east-1"
TTL = 60


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record set of the name. `failover` is PRIMARY or SECONDARY of a pair that follows a health check, "" for a simple one."""

    values: tuple[str, ...]
    ttl: int
    failover: str = ""
    health_check: str = ""
    alias: str = ""


async def zone_id(world: World, zone: str) -> str:
    """The id of the public hosted zone of this name. Raises `AwsUnreachable` if there is none, or not exactly one."""
    answer = await world.aws.probe(_call("ListHostedZonesByName", DNSName=f"{zone}."))
    found = [one for one in answer.get("HostedZones", []) if _plain(one.get("Name", "")) == zone]
    public = [one for one in found if not one.get("Config", {}).get("PrivateZone")]
    if len(public) != 1:
        raise AwsUnreachable(f"Route 53 has {len(public)} public zones {zone}, and one is expected.", final=True)
    return str(public[0]["Id"]).rpartition("/")[2]


async def records(world: World, zone: str, name: str, kind: str, *, briefly: bool = False) -> tuple[Record, ...]:
    """The record sets of a name and type; `zone` is the zone's id. Raises `AwsUnreachable`."""
    ask = world.aws.probe if briefly else world.aws.read
    answer = await ask(_call("ListResourceRecordSets", HostedZoneId=zone, StartRecordName=f"{name}.", StartRecordType=kind))
    found = answer.get("ResourceRecordSets", [])
    return tuple(_record(one) for one in found if _plain(one.get("Name", "")) == name and one.get("Type") == kind)


def follows_health(found: Sequence[Record]) -> bool:
    """Whether the name is a failover pair, which Route 53's data plane switches by itself."""
    return {"PRIMARY", "SECONDARY"} <= {one.failover for one in found}


@dataclass(frozen=True, kw_only=True)
class UpsertRecord(Action, kind="route53.upsert_record"):
    """Point the public name to another value. `was` is the value that the plan saw: another one since is not overwritten."""

    zone_id: str
    name: str
    type: str
    value: str
    was: str
    ttl: int = TTL

    region: ClassVar[str] = HOME
    timeout: ClassVar[float] = 300.0
    settle: ClassVar[float] = 60.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = (
        "route53:ChangeResourceRecordSets",
        "route53:ListResourceRecordSets",
        "route53:GetChange",
    )

    @property
    def title(self) -> str:
        return f"Point {self.name} to {self.value}"

    @property
    def target(self) -> str:
        return f"record {self.name}"

    @property
    def call(self) -> Call:
        """The one request."""
        record = {"Name": f"{self.name}.", "Type": self.type, "TTL": self.ttl, "ResourceRecords": [{"Value": self.value}]}
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        return _call("ChangeResourceRecordSets", HostedZoneId=self.zone_id, ChangeBatch=batch)

    def command(self) -> str:
        return self.call.command()

    @property
    def undo(self) -> UpsertRecord:
        """The action that takes it back."""
        return replace(self, value=self.was, was=self.value)

    async def observe(self, world: World) -> Facts:
        found = await records(world, self.zone_id, self.name, self.type)
        return {"values": [*_values(found)], "simple": all(not one.failover and not one.alias for one in found)}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["values"] == [self.value]:
            return already_done(f"{self.name} points to {self.value} already.")
        if not facts["simple"]:
            return stop(f"{self.name} has records of another policy, which an UPSERT would not replace. Change them by hand.")
        if facts["values"] != [self.was]:
            now = ", ".join(facts["values"]) or "nothing"
            return stop(f"{self.name} points to {now}, and this plan saw {self.was}: somebody changed it. Plan again.")
        return ok(f"{self.name} points to {self.was}, as when this was planned.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        answer = await world.aws.change(self.call)
        return {"request_id": answer.request_id, "change": str(answer.get("ChangeInfo", {}).get("Id", "")).rpartition("/")[2]}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            found = await records(world, self.zone_id, self.name, self.type)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_upsert(self.name, self.value, facts["values"], [*_values(found)])

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(passed: float) -> Outcome | str:
            now = _values(await records(world, self.zone_id, self.name, self.type))
            if now != (self.value,):
                return failed(f"{self.name} points to {', '.join(now) or 'nothing'}: somebody changed it. Plan again.")
            if change := receipt.get("change"):  # with a lost answer its id is lost, too; then the servers are asked alone
                status = (await world.aws.read(_call("GetChange", Id=change))).get("ChangeInfo", {}).get("Status")
                if status != "INSYNC":
                    return f"Route 53 hasn't told all its servers yet, {passed:.0f} s after the change."
            return done(f"Route 53 has {self.value} for {self.name}, seen after {passed:.0f} s. Undo: {self.undo.command()}")

        gave_up = f"Route 53 has not told all its servers about {self.name}"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=20.0)


def judge_upsert(name: str, wanted: str, before: Sequence[str], now: Sequence[str]) -> Proof:
    """Whether the record was changed. Not done only if it is as it was."""
    if [*now] == [wanted]:
        return Proof(verdict=Verdict.DONE, says=f"{name} has {wanted}.")
    if [*now] == [*before]:
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {name} still has {', '.join(before) or 'nothing'}.")
    return Proof(verdict=Verdict.UNKNOWN, says=f"{name} has {', '.join(now) or 'nothing'}: somebody else changed it.")


def _values(found: Sequence[Record]) -> tuple[str, ...]:
    return tuple(value for one in found for value in (one.values or (one.alias,)))


def _record(raw: Mapping[str, Any]) -> Record:
    return Record(
        values=tuple(_plain(one["Value"]) for one in raw.get("ResourceRecords", [])),
        ttl=int(raw.get("TTL") or 0),
        failover=raw.get("Failover", ""),
        health_check=raw.get("HealthCheckId", ""),
        alias=_plain(raw.get("AliasTarget", {}).get("DNSName", "")),
    )


def _plain(name: str) -> str:
    """A name without the final dot, in small letters."""
    return name.rstrip(".").lower()


def _call(operation: str, **parameters: Any) -> Call:
    return Call(service="route53", operation=operation, region=HOME, parameters=parameters)
