"""A health address is asked once if its first answer is good, and several times before it counts as down."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from actions.health import PAUSE, Health, ask_health
from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.world import World


@contextlib.asynccontextmanager
async def answering(statuses: Sequence[int]) -> AsyncIterator[tuple[str, list[float]]]:
    """A server that answers with these statuses, one after the other (0: it hangs up), and the moments it was asked."""
    asked: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = statuses[len(asked)]
        asked.append(time.monotonic())
        if status:
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/health", asked


async def ask(url: str) -> Health:
    endpoints = {"us-west-2": "http://127.0.0.1:1"}
    site = Site(
        aws=Aws(region="us-west-2", endpoints=endpoints, speed=60.0),
        services={"control-plane": ServiceSection(cluster="c", service="s", log_group="/g", health_url=url)},
        databases={"primary": DatabaseSection(instance="prod")},
    )
    world = World(site)
    try:
        return await ask_health(world, url)
    finally:
        await world.close()


async def test_a_healthy_address_is_asked_once() -> None:
    async with answering([200]) as (url, asked):
        health = await ask(url)
    assert (health.good, health.says, len(asked)) == (True, f"{url} answers 200.", 1)


@pytest.mark.parametrize(
    ("statuses", "good", "says"),
    [
        ([502, 502, 502], False, "answered 502 in 3 of 3 tries."),
        ([502, 200, 200], True, "answered 200 in 2 of 3 tries and answered 502 in 1 of 3 tries."),
        ([502, 503, 502], False, "answered 502 in 2 of 3 tries and answered 503 in 1 of 3 tries."),
        ([0, 0, 0], False, "gave no answer in 3 of 3 tries."),
    ],
)
async def test_a_bad_answer_is_asked_for_again(statuses: list[int], good: bool, says: str) -> None:
    async with answering(statuses) as (url, asked):
        health = await ask(url)
    assert (health.good, health.says) == (good, f"{url} {says}")
    assert len(asked) == 3
    assert bool(health.error) is (0 in statuses)


async def test_each_try_waits_a_pause_longer_than_the_one_before() -> None:
    async with answering([502, 502, 502]) as (url, asked):
        began = time.monotonic()
        await ask(url)
    assert all(at - began >= number * PAUSE for number, at in enumerate(asked))
