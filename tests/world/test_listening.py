"""A listener that ends: whoever is in the doorway at that moment is cut, and never left waiting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from rehearsal.machines.balancer import Balancer
from rehearsal.machines.proxy import Proxy
from tests.world.aws_world import WEST, LocalAws

TURNS = range(6)  # of the loop between coming in and the end
Place = tuple[int, Callable[[], Awaitable[None]]]


@asynccontextmanager
async def region() -> AsyncIterator[Place]:
    """A region of AWS, and its end."""
    async with LocalAws() as aws:
        yield int(aws.endpoints[WEST].rpartition(":")[2]), lambda: aws.front.region_down(WEST)


@asynccontextmanager
async def endpoint() -> AsyncIterator[Place]:
    """A database's endpoint without a database, and its end."""
    proxy = Proxy()
    await proxy.accept()
    yield proxy.port, proxy.close
    await proxy.close()


@asynccontextmanager
async def public_name() -> AsyncIterator[Place]:
    """The control plane's public name without a task, and its end."""
    balancer = Balancer()
    await balancer.start()
    yield balancer.port, balancer.close
    await balancer.close()


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("place", [region, endpoint, public_name])
async def test_who_comes_in_at_the_very_end_is_cut_at_once(
    place: Callable[[], AbstractAsyncContextManager[Place]], turns: int
) -> None:
    async with place() as (port, end):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(2)
            for _ in range(turns):
                await asyncio.sleep(0)
            await end()
            assert await asyncio.to_thread(what_came, client) == "the end"


def what_came(client: socket.socket) -> str:
    """What the client gets, "the end" being a closed connection of either kind."""
    try:
        return "the end" if client.recv(1) == b"" else "a byte"
    except ConnectionResetError:
        return "the end"
    except TimeoutError:
        return "nothing"
