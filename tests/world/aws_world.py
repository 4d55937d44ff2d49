"""The rehearsal's AWS for tests: two regions, a control plane in the first, and a real boto3 to ask them with."""

from __future__ import annotations

import asyncio
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.aws.cloud import PRIMARY as WEST
from rehearsal.aws.cloud import SECOND as EAST
from rehearsal.aws.cloud import Cloud
from rehearsal.aws.ecs.service import known_revisions
from rehearsal.aws.ecs.tasks import Spawn, spawn_child
from rehearsal.waiting import until

__all__ = ["EAST", "SERVICE", "SESSION", "WEST", "LocalAws", "code_of", "until"]

SERVICE = {"cluster": "shielda", "service": "control-plane"}
SESSION = boto3.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="example")


class LocalAws(Cloud):
    """The rehearsal's AWS without a database, and calls to it."""

    def __init__(self, speed: float = 600, *, spawn: Spawn = spawn_child, two_regions: bool = False) -> None:
        super().__init__(
            speed=speed,
            spawn=spawn,
            environment=lambda: {"AGENT_TOKEN": "let-me-in"},
            revisions=known_revisions("no-database"),
            balancer_seconds=1.0,
            second_environment=(lambda: {"AGENT_TOKEN": "let-me-in"}) if two_regions else None,
        )

    async def call(
        self, aws: str, method: str, /, *, region: str = WEST, attempts: int = 1, seconds: float = 5, **params: Any
    ) -> dict[str, Any]:
        """Call an AWS API with boto3."""
        retries = {"mode": "standard", "total_max_attempts": attempts}
        config = Config(retries=retries, connect_timeout=1, read_timeout=seconds, user_agent_extra="drbot/test")

        def ask() -> dict[str, Any]:
            client = SESSION.client(aws, region_name=region, endpoint_url=self.endpoints[region], config=config)
            try:
                return getattr(client, method)(**params)
            finally:
                client.close()

        return await asyncio.to_thread(ask)

    async def service(self) -> dict[str, Any]:
        """What DescribeServices says about the control plane."""
        answer = await self.call("ecs", "describe_services", cluster="shielda", services=["control-plane"])
        return answer["services"][0]

    async def get(self, path: str = "/api/health") -> httpx.Response:
        """Ask the control plane through the load balancer."""
        async with httpx.AsyncClient(base_url=self.balancer.url, timeout=5) as client:
            return await client.get(path)

    async def settled(self, deployment: str) -> dict[str, Any]:
        """Wait until this deployment is complete and alone; returns the service."""

        async def done() -> dict[str, Any] | None:
            service = await self.service()
            primary = service["deployments"][0]
            over = primary["id"] == deployment and primary["rolloutState"] == "COMPLETED"
            return service if over and len(service["deployments"]) == 1 else None

        return await until(done, what=f"the end of deployment {deployment}", every=0.05)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    """The error code that AWS answered with."""
    return error.value.response["Error"]["Code"]
