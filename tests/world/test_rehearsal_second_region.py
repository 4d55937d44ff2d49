"""The second region, and what it is like when a region is gone: nothing answers, and nothing refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from rehearsal.waiting import until
from tests.world.aws_world import EAST, SERVICE, WEST, LocalAws, code_of

CREATE: dict[str, Any] = {
    "region": EAST, "cluster": "shielda", "serviceName": "control-plane", "taskDefinition": "control-plane:7", "desiredCount": 1,
}  # fmt: skip


@pytest.fixture(name="aws")
async def two_regions() -> AsyncIterator[LocalAws]:
    """AWS in which the second region is prepared."""
    async with LocalAws(two_regions=True) as aws:
        yield aws


async def health(aws: LocalAws) -> int:
    assert aws.second
    async with httpx.AsyncClient(timeout=5) as client:
        return (await client.get(f"{aws.second.balancer.url}/api/health")).status_code


async def test_the_second_region_has_a_cluster_a_secret_and_no_service(aws: LocalAws) -> None:
    assert aws.second
    (cluster,) = (await aws.call("ecs", "describe_clusters", region=EAST, clusters=["shielda"]))["clusters"]
    assert (cluster["activeServicesCount"], ":us-east-1:" in cluster["clusterArn"]) == (0, True)
    answer = await aws.call("ecs", "describe_services", region=EAST, cluster="shielda", services=["control-plane"])
    assert [one["reason"] for one in answer["failures"]] == ["MISSING"]
    with pytest.raises(ClientError) as error:
        await aws.call("ecs", "update_service", region=EAST, **SERVICE)
    assert code_of(error) == "ServiceNotFoundException"
    aws.second.secrets.create("shielda/database-url", "postgresql://there")
    secret = await aws.call("secretsmanager", "get_secret_value", region=EAST, SecretId="shielda/database-url")
    assert (secret["SecretString"], ":us-east-1:" in secret["ARN"]) == ("postgresql://there", True)
    with pytest.raises(ClientError) as error:
        await aws.call("secretsmanager", "get_secret_value", SecretId="shielda/database-url")
    assert code_of(error) == "ResourceNotFoundException"


async def test_a_created_service_serves_and_is_created_once(aws: LocalAws) -> None:
    assert await health(aws) == 503
    answer = await aws.call("ecs", "create_service", **CREATE, clientToken="one")
    assert answer["service"]["desiredCount"] == 1
    assert (await aws.call("ecs", "create_service", **CREATE, clientToken="one"))["service"]["serviceArn"]
    with pytest.raises(ClientError) as error:
        await aws.call("ecs", "create_service", **CREATE, clientToken="two")
    assert code_of(error) == "InvalidParameterException"

    async def serves() -> bool:
        return await health(aws) == 200

    await until(serves, 15, "a healthy service in the second region")
    assert aws.second
    await aws.second.ecs.remove()
    assert await health(aws) == 503
    answer = await aws.call("ecs", "describe_services", region=EAST, cluster="shielda", services=["control-plane"])
    assert answer["services"] == []


@pytest.mark.parametrize("change", [{"serviceName": "other"}, {"desiredCount": -1}, {"taskDefinition": "control-plane:8"}])
async def test_a_service_that_aws_would_refuse_is_refused(aws: LocalAws, change: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        await aws.call("ecs", "create_service", **{**CREATE, **change})


async def test_a_region_that_is_cut_off_answers_nothing_and_the_other_does(aws: LocalAws) -> None:
    await aws.cut_off(WEST)
    began = time.monotonic()
    with pytest.raises((ConnectTimeoutError, ReadTimeoutError)):
        await aws.call("sts", "get_caller_identity", seconds=1)
    assert time.monotonic() - began > 0.9
    async with httpx.AsyncClient(timeout=1) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(f"{aws.balancer.url}/api/health")
    await aws.call("sts", "get_caller_identity", region=EAST)
    assert [call["region"] for call in aws.journal.entries] == [EAST]
    await aws.cut_off()
    await aws.call("sts", "get_caller_identity")


async def test_an_open_connection_is_not_heard_while_its_region_is_cut_off(aws: LocalAws) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        url = aws.endpoints[WEST]
        assert (await client.post(url)).status_code == 403  # nobody has signed this; the connection stays open
        await aws.cut_off(WEST)
        asked = asyncio.create_task(client.post(url))
        await asyncio.sleep(0.3)
        assert not asked.done()
        await aws.cut_off()
        assert (await asked).status_code == 403


async def test_a_call_under_way_takes_effect_and_its_answer_comes_late(aws: LocalAws) -> None:
    aws.faults.put("slow", operation="CreateService", seconds=0.3)
    asked = asyncio.create_task(aws.call("ecs", "create_service", **CREATE))
    await until(lambda: not aws.faults.rules[0].times, 5, "the call")
    await aws.cut_off(EAST)
    assert aws.second
    ecs = aws.second.ecs
    await until(lambda: ecs.exists, 5, "the effect")
    await asyncio.sleep(0.2)
    assert not asked.done()
    await aws.cut_off()
    assert (await asked)["service"]["serviceName"] == "control-plane"
