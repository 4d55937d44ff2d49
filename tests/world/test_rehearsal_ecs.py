"""The rehearsal's ECS, met by a real boto3: deployments and faults of real processes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from rehearsal.machines.balancer import Balancer
from tests.world.aws_world import SERVICE, LocalAws, code_of, until


async def test_a_forced_deployment_really_replaces_the_process(deployed: LocalAws) -> None:
    old = deployed.ecs.scheduler.tasks[0].process
    assert old is not None
    answer = await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    states = [(one["status"], one["rolloutState"]) for one in answer["service"]["deployments"]]
    assert states == [("PRIMARY", "IN_PROGRESS"), ("ACTIVE", "COMPLETED")]
    service = await deployed.settled(answer["service"]["deployments"][0]["id"])
    with pytest.raises(ProcessLookupError):
        os.kill(old.pid, 0)
    assert (await deployed.get()).json()["image"] == "shielda/control-plane:2026.11.18"
    assert service["events"][0]["message"] == "(service control-plane) has reached a steady state."
    arn = service["currentServiceDeployment"]
    record = await deployed.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
    assert record["serviceDeployments"][0]["status"] == "SUCCESSFUL"


async def test_updating_to_the_same_revision_makes_no_new_deployment(deployed: LocalAws) -> None:
    before = (await deployed.service())["deployments"][0]["id"]
    answer = await deployed.call("ecs", "update_service", **SERVICE, taskDefinition="control-plane:7")
    assert [one["id"] for one in answer["service"]["deployments"]] == [before]


async def test_the_service_is_never_without_a_task_during_a_forced_deployment(deployed: LocalAws) -> None:
    answer = await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    finished = asyncio.create_task(deployed.settled(answer["service"]["deployments"][0]["id"]))
    while not finished.done():
        answer = await deployed.get()
        assert answer.status_code == 200, answer.text
    await finished


async def test_a_task_is_asked_to_end_only_after_its_requests_are_answered() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    target = await asyncio.start_server(slow, "127.0.0.1", 0)
    port = target.sockets[0].getsockname()[1]
    balancer = Balancer(seconds=10)
    async with httpx.AsyncClient(base_url=await balancer.start()) as client, target:
        balancer.set_targets([port])
        request = asyncio.create_task(client.get("/"))
        await asked.wait()
        balancer.set_targets([])
        drained = asyncio.create_task(balancer.drained(port, 10))
        await asyncio.sleep(0.1)
        assert not drained.done()
        answer.set()
        assert (await request).status_code == 200
        await drained
    await balancer.close()


async def test_a_bad_deploy_keeps_failing_and_the_previous_revision_recovers(deployed: LocalAws) -> None:
    await deployed.ecs.deploy_badly()

    async def failing() -> dict[str, Any] | None:
        primary = (await deployed.service())["deployments"][0]
        return primary if primary["failedTasks"] >= 2 else None

    primary = await until(failing)
    assert primary["rolloutState"] == "IN_PROGRESS"
    assert primary["taskDefinition"].endswith(":8")
    assert (await deployed.get()).status_code in (500, 502, 503)
    stopped = await deployed.call("ecs", "list_tasks", cluster="shielda", desiredStatus="STOPPED")
    tasks = (await deployed.call("ecs", "describe_tasks", cluster="shielda", tasks=stopped["taskArns"]))["tasks"]
    failed = [task for task in tasks if task.get("stopCode") == "EssentialContainerExited"]
    assert failed[0]["stoppedReason"] == "Essential container in task exited"
    assert failed[0]["containers"][0]["exitCode"] == 1
    answer = await deployed.call("ecs", "update_service", **SERVICE, taskDefinition="control-plane:7")
    await deployed.settled(answer["service"]["deployments"][0]["id"])
    assert (await deployed.get()).status_code == 200


async def test_stopping_a_bad_deployment_rolls_back_to_the_last_good_revision(deployed: LocalAws) -> None:
    await deployed.ecs.deploy_badly()
    arn = (await deployed.service())["currentServiceDeployment"]
    await deployed.call("ecs", "stop_service_deployment", serviceDeploymentArn=arn, stopType="ROLLBACK")

    async def status() -> bool:
        found = await deployed.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
        return found["serviceDeployments"][0]["status"] == "ROLLBACK_SUCCESSFUL"

    await until(status)
    assert (await deployed.service())["taskDefinition"].endswith(":7")
    with pytest.raises(ClientError) as error:
        await deployed.call("ecs", "stop_service_deployment", serviceDeploymentArn=arn)
    assert code_of(error) == "ConflictException"


async def test_the_circuit_breaker_fails_the_deployment_and_rolls_back(deployed: LocalAws) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    answer = await deployed.call(
        "ecs", "update_service", **SERVICE, taskDefinition="control-plane:8", deploymentConfiguration=breaker
    )
    arn = answer["service"]["currentServiceDeployment"]

    async def status() -> bool:
        found = await deployed.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
        return found["serviceDeployments"][0]["status"] == "ROLLBACK_SUCCESSFUL"

    await until(status)
    assert (await deployed.get()).status_code == 200


async def test_a_hung_task_is_counted_running_and_cured_by_a_forced_deployment(deployed: LocalAws) -> None:
    frozen = await deployed.ecs.hang()
    answer = await deployed.get()
    assert answer.status_code == 504
    assert answer.json() == {"error": "The task did not answer within 1 seconds."}
    assert (await deployed.service())["runningCount"] == 1
    update = await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    await deployed.settled(update["service"]["deployments"][0]["id"])
    assert (await deployed.get()).status_code == 200
    with pytest.raises(ProcessLookupError):
        os.kill(frozen[0], 0)


async def test_a_task_that_dies_is_started_again(deployed: LocalAws) -> None:
    first = deployed.ecs.scheduler.tasks[0]
    assert first.process is not None
    first.process.kill()

    async def another() -> bool:
        return any(task.serving and task is not first for task in deployed.ecs.scheduler.tasks)

    await until(another)
    assert first.exit_code == 137
    assert (await deployed.get()).status_code == 200


async def test_scaling_to_nothing_and_back(deployed: LocalAws) -> None:
    await deployed.call("ecs", "update_service", **SERVICE, desiredCount=0)

    async def empty() -> bool:
        return (await deployed.service())["runningCount"] == 0

    await until(empty)
    answer = await deployed.get()
    assert (answer.status_code, answer.json()) == (503, {"error": "No task of the control plane is running."})
    await deployed.call("ecs", "update_service", **SERVICE, desiredCount=1)

    async def healthy() -> bool:
        return (await deployed.get()).status_code == 200

    await until(healthy)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("update_service", {**SERVICE, "taskDefinition": "control-plane:99"}, "ClientException"),
        ("update_service", {**SERVICE, "service": "nobody"}, "ServiceNotFoundException"),
        ("update_service", {**SERVICE, "cluster": "nowhere"}, "ClusterNotFoundException"),
        ("list_tasks", {"cluster": "nowhere"}, "ClusterNotFoundException"),
        ("describe_task_definition", {"taskDefinition": "other:1"}, "ClientException"),
        ("stop_service_deployment", {"serviceDeploymentArn": "arn:none"}, "ServiceDeploymentNotFoundException"),
    ],
)
async def test_ecs_refuses_with_the_right_codes(deployed: LocalAws, method: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as error:
        await deployed.call("ecs", method, **params)
    assert code_of(error) == code


async def test_the_history_names_the_previous_revision_and_its_image(deployed: LocalAws) -> None:
    listed = await deployed.call("ecs", "list_service_deployments", **SERVICE)
    assert [one["status"] for one in listed["serviceDeployments"]] == ["SUCCESSFUL", "SUCCESSFUL"]
    newest = await deployed.call("ecs", "list_task_definitions", familyPrefix="control-plane", sort="DESC")
    assert [arn.rpartition(":")[2] for arn in newest["taskDefinitionArns"]] == ["8", "7", "6"]
    told = await deployed.call("ecs", "describe_task_definition", taskDefinition="control-plane:6")
    registry, _, image = told["taskDefinition"]["containerDefinitions"][0]["image"].partition("/")
    assert registry.endswith(".dkr.ecr.us-west-2.amazonaws.com")
    repository, _, tag = image.partition(":")
    images = await deployed.call("ecr", "describe_images", repositoryName=repository, imageIds=[{"imageTag": tag}])
    assert images["imageDetails"][0]["imageTags"] == ["2026.11.04"]
    with pytest.raises(ClientError) as error:
        await deployed.call("ecr", "describe_images", repositoryName=repository, imageIds=[{"imageTag": "gone"}])
    assert code_of(error) == "ImageNotFoundException"
