"""The rehearsal's AWS for tests: two regions, a control plane in the first, and a real boto3 to ask it with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.aws.clock import Clock
from rehearsal.aws.cloudwatch import CloudWatch
from rehearsal.aws.ecr import ecr_handlers
from rehearsal.aws.ecs.api import Ecs, ecs_handlers, known_revisions
from rehearsal.aws.ecs.tasks import Spawn, spawn_child
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.logs import Logs
from rehearsal.aws.sts import iam_handlers, sts_handlers
from rehearsal.machines.balancer import Balancer

WEST, EAST = "us-west-2", "us-east-1"
SERVICE = {"cluster": "shielda", "service": "control-plane"}
SESSION = boto3.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="example")


class World:
    """The rehearsal's AWS in two regions with a control plane in the first."""

    def __init__(self, speed: float = 600, *, spawn: Spawn = spawn_child) -> None:
        self.clock, self.journal, self.faults = Clock(speed), Journal(), Faults()
        self.front = Front(regions={WEST: 0, EAST: 0}, clock=self.clock, journal=self.journal, faults=self.faults)
        self.logs = Logs(clock=self.clock)
        self.alarms = CloudWatch(clock=self.clock)
        self.balancer = Balancer(seconds=0.4)
        self.ecs = Ecs(
            clock=self.clock,
            logs=self.logs,
            balancer=self.balancer,
            spawn=spawn,
            environment=lambda: {"AGENT_TOKEN": "let-me-in"},
            revisions=known_revisions("no-database"),
        )
        self.endpoints: dict[str, str] = {}

    async def start(self) -> None:
        self.front.add("ecs", ecs_handlers([self.ecs]))
        self.front.add("ecr", ecr_handlers([self.ecs]))
        self.front.add("logs", self.logs.handlers())
        self.front.add("cloudwatch", self.alarms.handlers())
        self.front.add("sts", sts_handlers())
        self.front.add("iam", iam_handlers(self.faults))
        self.endpoints = await self.front.start()
        await self.balancer.start()

    async def close(self) -> None:
        await self.ecs.close()
        await self.balancer.close()
        await self.front.close()  # raises if an answer did not fit AWS's shapes

    async def call(
        self, aws: str, method: str, /, *, region: str = WEST, attempts: int = 1, seconds: float = 5, **params: Any
    ) -> dict[str, Any]:
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
        answer = await self.call("ecs", "describe_services", cluster="shielda", services=["control-plane"])
        return answer["services"][0]

    async def get(self, path: str = "/api/health") -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.balancer.url, timeout=5) as client:
            return await client.get(path)

    async def settled(self, deployment: str) -> dict[str, Any]:
        async def done() -> dict[str, Any] | None:
            service = await self.service()
            primary = service["deployments"][0]
            over = primary["id"] == deployment and primary["rolloutState"] == "COMPLETED"
            return service if over and len(service["deployments"]) == 1 else None

        return await until(done)


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 8) -> Any:
    """What `look` returns once it returns something; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
    return found


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]
