"""Route 53 and its DNS servers: changes spread, two servers may differ for a while, and resolvers keep what they learnt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import httpx
import pytest
from botocore.exceptions import ClientError

from rehearsal.aws.route53 import Route53
from rehearsal.names.public import PublicName
from rehearsal.names.servers import Resolver
from rehearsal.names.wire import DnsPort
from rehearsal.names.zone import RecordSet
from rehearsal.waiting import until
from tests.world.aws_world import EAST, WEST, LocalAws, code_of

ZONE, NAME = "shielda.dev.", "app.shielda.dev."
OLD, NEW = "shielda-us-west-2.elb.amazonaws.com", "shielda-us-east-1.elb.amazonaws.com"
APP = RecordSet(name=NAME, type="CNAME", ttl=60, values=(OLD,))
LOOPBACK = {f"{OLD}.": "127.0.0.1", f"{NEW}.": "127.0.0.1"}


@pytest.fixture(name="aws")
async def two_regions() -> AsyncIterator[LocalAws]:
    async with LocalAws(two_regions=True) as aws:
        assert aws.route53
        aws.route53.put(APP)
        yield aws


@pytest.fixture
def names(aws: LocalAws) -> Route53:
    assert aws.route53
    return aws.route53


@pytest.fixture
async def resolver(names: Route53) -> AsyncIterator[Resolver]:
    resolver = Resolver(ZONE, names.servers, LOOPBACK, ttl=names.shorten(60))
    await resolver.port.open()
    yield resolver
    await resolver.port.close()


async def ask(port: DnsPort, name: str = NAME, kind: str = "CNAME", *, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    how = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await how(query, port.host, timeout=3, port=port.port)


async def value(port: DnsPort) -> str:
    return (await ask(port)).answer[0][0].to_text().rstrip(".")


async def call(aws: LocalAws, method: str, **params: Any) -> dict[str, Any]:
    return await aws.call("route53", method, region=EAST, **params)


def upsert(value: str = NEW, action: str = "UPSERT", **more: Any) -> dict[str, Any]:
    record = {"Name": NAME, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": value}], **more}
    return {"Changes": [{"Action": action, "ResourceRecordSet": record}]}


async def change(aws: LocalAws, batch: dict[str, Any]) -> str:
    assert aws.route53
    answer = await call(aws, "change_resource_record_sets", HostedZoneId=aws.route53.zone_id, ChangeBatch=batch)
    assert answer["ChangeInfo"]["Status"] == "PENDING"
    return str(answer["ChangeInfo"]["Id"])


async def in_sync(aws: LocalAws, number: str) -> None:
    async def seen() -> bool:
        return (await call(aws, "get_change", Id=number))["ChangeInfo"]["Status"] == "INSYNC"

    await until(seen, 10, "a change in sync")


async def test_zones_are_listed_by_name_and_a_private_one_has_the_same(aws: LocalAws, names: Route53) -> None:
    zones = (await call(aws, "list_hosted_zones_by_name", DNSName="shielda.dev"))["HostedZones"]
    assert {(one["Name"], one["Config"]["PrivateZone"]) for one in zones} == {(ZONE, True), (ZONE, False)}
    assert (await call(aws, "list_hosted_zones_by_name", DNSName="aaa.dev"))["HostedZones"][0]["Name"] == ZONE  # from there on
    assert (await call(aws, "list_hosted_zones_by_name", DNSName="zzz.dev"))["HostedZones"] == []
    zone = await call(aws, "get_hosted_zone", Id=names.zone_id)
    assert len(zone["DelegationSet"]["NameServers"]) == len(names.servers) == 2
    with pytest.raises(ClientError) as error:
        await call(aws, "get_hosted_zone", Id="Z0NOBODY")
    assert code_of(error) == "NoSuchHostedZone"


async def test_records_are_listed_from_a_name_on_and_paged(aws: LocalAws, names: Route53) -> None:
    answer = await call(
        aws, "list_resource_record_sets", HostedZoneId=names.zone_id, StartRecordName="app.shielda.dev", MaxItems="1"
    )
    wanted = {"Name": NAME, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": OLD}]}
    assert (answer["ResourceRecordSets"], answer["IsTruncated"]) == ([wanted], False)
    answer = await call(aws, "list_resource_record_sets", HostedZoneId=names.zone_id, MaxItems="2")
    assert [one["Type"] for one in answer["ResourceRecordSets"]] == ["NS", "SOA"]
    assert (answer["IsTruncated"], answer["NextRecordName"], answer["NextRecordType"]) == (True, NAME, "CNAME")


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
async def test_both_servers_answer_with_authority(names: Route53, tcp: bool) -> None:
    for server in names.servers:
        answer = await ask(server.port, tcp=tcp)
        assert answer.flags & dns.flags.AA
        assert answer.answer[0][0].to_text() == f"{OLD}."
        assert answer.answer[0].ttl == 1  # 60 s at this speed, and never less than one
        missing = await ask(server.port, "nobody.shielda.dev.", tcp=tcp)
        assert (missing.rcode(), missing.authority[0].rdtype.name) == (dns.rcode.NXDOMAIN, "SOA")
        assert (await ask(server.port, NAME, "TXT", tcp=tcp)).answer[0].rdtype.name == "CNAME"
        assert (await ask(server.port, "example.com.", tcp=tcp)).rcode() == dns.rcode.REFUSED


async def test_an_upsert_spreads_is_in_sync_and_raises_the_serial(aws: LocalAws, names: Route53) -> None:
    serial = (await ask(names.servers[0].port, ZONE, "SOA")).answer[0][0].serial
    await in_sync(aws, await change(aws, upsert()))
    assert [await value(server.port) for server in names.servers] == [NEW, NEW]
    assert (await ask(names.servers[0].port, ZONE, "SOA")).answer[0][0].serial == serial + 1
    await in_sync(aws, await change(aws, upsert()))  # the same again changes nothing
    records = (await call(aws, "list_resource_record_sets", HostedZoneId=names.zone_id))["ResourceRecordSets"]
    assert [one["ResourceRecords"] for one in records if one["Name"] == NAME] == [[{"Value": NEW}]]
    assert [effect["region"] for effect in aws.journal.effects()] == [EAST]


async def test_a_stale_server_keeps_the_old_value_though_all_is_said_to_be_in_sync(aws: LocalAws, names: Route53) -> None:
    names.keep_stale()
    await in_sync(aws, await change(aws, upsert()))
    assert {await value(server.port) for server in names.servers} == {NEW, OLD}
    names.heal()
    assert {await value(server.port) for server in names.servers} == {NEW}


async def test_a_late_change_stays_pending_and_servers_stay_old(aws: LocalAws, names: Route53) -> None:
    names.late = True
    number = await change(aws, upsert())
    await asyncio.sleep(0.3)
    assert (await call(aws, "get_change", Id=number))["ChangeInfo"]["Status"] == "PENDING"
    assert {await value(server.port) for server in names.servers} == {OLD}
    await in_sync(aws, number)


@pytest.mark.parametrize(
    ("batch", "code", "words"),
    [
        (upsert(action="CREATE"), "InvalidChangeBatch", "already exists"),
        (upsert(action="DELETE"), "InvalidChangeBatch", "do not match the current values"),
        (upsert(Name="app.example.com"), "InvalidChangeBatch", "not permitted in zone"),
        (upsert(Type="A"), "InvalidChangeBatch", "conflicts with other records"),
        (upsert(Name="shielda.dev"), "InvalidChangeBatch", "apex"),
        (upsert(Failover="PRIMARY", SetIdentifier="west"), "InvalidChangeBatch", "simple"),
        (upsert(Failover="PRIMARY"), "InvalidInput", "together"),
        (upsert(HealthCheckId="nobody"), "InvalidInput", "does not exist"),
        (upsert(action="DELETE", Name="b.shielda.dev"), "InvalidChangeBatch", "not found"),
        ({"Changes": [*upsert()["Changes"], *upsert(Name="x.example.com")["Changes"]]}, "InvalidChangeBatch", "not permitted"),
    ],
)
async def test_a_batch_that_aws_would_refuse_changes_nothing(
    aws: LocalAws, names: Route53, batch: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(ClientError) as error:
        await change(aws, batch)
    assert code_of(error) == code
    assert words in error.value.response["Error"]["Message"]
    assert names.zone.get(APP.key) == APP


async def test_only_its_home_region_takes_calls_and_dns_goes_on_without_it(aws: LocalAws, names: Route53) -> None:
    with pytest.raises(ClientError) as error:
        await aws.call("route53", "list_hosted_zones", region=WEST)
    assert code_of(error) == "UnknownOperationException"
    await aws.cut_off(EAST)
    assert await value(names.servers[0].port) == OLD
    await aws.cut_off()
    assert len((await call(aws, "list_hosted_zones"))["HostedZones"]) == 2


async def test_a_resolver_keeps_the_old_value_until_its_ttl_is_over(aws: LocalAws, names: Route53, resolver: Resolver) -> None:
    before = await ask(resolver.port, kind="A")
    assert [records.rdtype.name for records in before.answer] == ["CNAME", "A"]
    assert not before.flags & dns.flags.AA
    await in_sync(aws, await change(aws, upsert()))
    names.put(RecordSet(name=NAME, type="CNAME", ttl=60, values=(NEW,)))
    await until(lambda: is_new(resolver), 5, "the new value")


async def is_new(resolver: Resolver) -> bool:
    return await value(resolver.port) == NEW


async def test_of_a_failover_pair_the_healthy_one_answers(aws: LocalAws, names: Route53) -> None:
    await aws.ecs.start(7)
    check = names.checks.add(port=aws.balancer.port, path="/api/health", name=OLD)
    pair = {"PRIMARY": ("west", OLD, check.id), "SECONDARY": ("east", NEW, "")}
    names.put(
        *(
            RecordSet(name=NAME, type="CNAME", ttl=60, values=(to,), set_id=id, failover=role, health_check=number)
            for role, (id, to, number) in pair.items()
        )
    )
    assert await value(names.servers[0].port) == OLD
    listed = (await call(aws, "list_resource_record_sets", HostedZoneId=names.zone_id))["ResourceRecordSets"]
    assert [(one["Failover"], one["SetIdentifier"]) for one in listed if one["Name"] == NAME] == [
        ("SECONDARY", "east"), ("PRIMARY", "west"),
    ]  # fmt: skip
    await aws.cut_off(WEST)
    await until(lambda: not check.healthy, 15, "a failed health check")
    assert await value(names.servers[0].port) == NEW
    status = await call(aws, "get_health_check_status", HealthCheckId=check.id)
    assert status["HealthCheckObservations"][0]["StatusReport"]["Status"].startswith("Failure: ")
    assert (await call(aws, "get_health_check", HealthCheckId=check.id))["HealthCheck"]["HealthCheckConfig"][
        "FailureThreshold"
    ] == 3
    assert len((await call(aws, "list_health_checks"))["HealthChecks"]) == 1
    await aws.cut_off()
    await until(lambda: check.healthy, 15, "a healthy check")
    assert await value(names.servers[0].port) == OLD


async def test_the_public_name_goes_where_the_resolver_says(aws: LocalAws, names: Route53, resolver: Resolver) -> None:
    assert aws.second
    await aws.ecs.start(7)
    ports = {OLD: aws.balancer.port, NEW: aws.second.balancer.port}
    public = PublicName(NAME, resolver.port, ports)
    await public.open()

    async def status() -> int:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(f"{public.url}/api/health")).status_code

    assert await status() == 200
    names.put(RecordSet(name=NAME, type="CNAME", ttl=60, values=(NEW,)))

    async def is_elsewhere() -> bool:
        return await status() == 503  # nobody serves there

    await until(is_elsewhere, 5, "the second region's answer")
    await public.close()
