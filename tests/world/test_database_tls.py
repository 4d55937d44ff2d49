"""The database's endpoint speaks TLS with clients that ask for it, as RDS does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import conninfo

from rehearsal.machines.proxy import SSL_REQUEST, Proxy
from rehearsal.postgres.pair import ServerPair


@pytest.fixture
async def endpoint(database: ServerPair) -> AsyncIterator[Proxy]:
    """An endpoint with TLS in front of the primary."""
    proxy = Proxy(tls=True)
    proxy.switch(lambda: database.primary.port)
    await proxy.accept()
    yield proxy
    await proxy.close()


def dsn(database: ServerPair, endpoint: Proxy, sslmode: str) -> str:
    return conninfo.make_conninfo(database.url("postgres"), port=endpoint.port, sslmode=sslmode)


@pytest.mark.parametrize(("sslmode", "encrypted"), [("require", True), ("prefer", True), ("disable", False)])
async def test_a_client_gets_what_it_asks_for(database: ServerPair, endpoint: Proxy, sslmode: str, encrypted: bool) -> None:
    async with await psycopg.AsyncConnection.connect(dsn(database, endpoint, sslmode)) as connection:
        assert connection.pgconn.ssl_in_use is encrypted
        row = await (await connection.execute("SELECT repeat('x', 3000000), %s::text", ["y" * 500_000])).fetchone()
    assert row is not None
    assert (len(row[0]), len(row[1])) == (3_000_000, 500_000)


async def test_a_cut_endpoint_cuts_clients_in_tls_too(database: ServerPair, endpoint: Proxy) -> None:
    connection = await psycopg.AsyncConnection.connect(dsn(database, endpoint, "require"), autocommit=True)
    endpoint.abort()
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    await connection.close()
    async with await psycopg.AsyncConnection.connect(dsn(database, endpoint, "require")) as again:
        assert await (await again.execute("SELECT 1")).fetchone() == (1,)


async def _asks_for_tls(endpoint: Proxy) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(SSL_REQUEST)
    assert await reader.readexactly(1) == b"S"
    return writer


async def test_an_endpoint_closes_though_a_client_is_between_yes_and_its_handshake(endpoint: Proxy) -> None:
    writer = await _asks_for_tls(endpoint)
    async with asyncio.timeout(10):
        await endpoint.close()
    writer.close()


@pytest.mark.parametrize("goodbye", [b"", b"this is no handshake"])
async def test_a_client_that_leaves_before_its_handshake_leaves_nothing(endpoint: Proxy, goodbye: bytes) -> None:
    for _ in range(5):
        writer = await _asks_for_tls(endpoint)
        writer.write(goodbye)
        await writer.drain()
        writer.transport.abort()
    async with asyncio.timeout(10):
        await endpoint.close()


async def test_a_server_without_tls_still_says_so(database: ServerPair) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        await psycopg.AsyncConnection.connect(conninfo.make_conninfo(database.url("postgres"), sslmode="require"))
