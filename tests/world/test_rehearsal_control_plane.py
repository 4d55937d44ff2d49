"""The rehearsal's control plane on a real database: what it answers while the database is well, gone and hung."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest

from rehearsal.aws.clock import Clock
from rehearsal.aws.ecs.service import Ecs
from rehearsal.aws.logs import Logs
from rehearsal.machines.balancer import Balancer
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from rehearsal.waiting import until

GROUP = "/ecs/shielda-control-plane"


@pytest.fixture
async def logs() -> Logs:
    return Logs(clock=Clock(600))


@pytest.fixture
async def client(database: ServerPair, logs: Logs, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the public name, with a control plane deployed behind it as a child of `Processes`."""
    balancer = Balancer(seconds=3)
    await balancer.start()
    async with Processes(tmp_path / "processes.json") as processes:
        ecs = Ecs(
            clock=Clock(600),
            logs=logs,
            balancer=balancer,
            environment=lambda: {"DATABASE_URL": database.dsn("shielda"), "AGENT_TOKEN": "let-me-in"},
            spawn=lambda name, argv, env: processes.start(name, argv, env=env, stdout=subprocess.PIPE),
        )
        await ecs.start(7)
        async with httpx.AsyncClient(base_url=balancer.url, timeout=10) as client:
            yield client
        await ecs.close()
    await balancer.close()


async def test_whatever_is_acknowledged_is_in_the_database(client: httpx.AsyncClient, database: ServerPair) -> None:
    async with await psycopg.AsyncConnection.connect(database.dsn("shielda")) as connection:
        await connection.execute("DELETE FROM heartbeats")
    assert (await client.get("/api/health")).json()["database"] == "ok"
    assert (await client.get("/api/organizations/count")).json() == {"count": 40}
    for _ in range(2):  # a writer that asks again makes no second record
        assert (await client.post("/api/records", json={"id": 7001, "body": "kept"})).status_code == 201
    headers = {"Authorization": "Bearer let-me-in"}
    assert (await client.post("/api/agents/heartbeat", json={"agent": "edge-1"}, headers=headers)).status_code == 200
    async with await psycopg.AsyncConnection.connect(database.dsn("shielda")) as connection:
        records = await (await connection.execute("SELECT body FROM records WHERE id = 7001")).fetchall()
        beats = await (await connection.execute("SELECT DISTINCT agent FROM heartbeats")).fetchall()
    assert records == [("kept",)]
    assert beats == [("edge-1",)]  # the health check leaves none


async def test_no_statement_leaves_a_lock_if_the_program_freezes_after_it(
    client: httpx.AsyncClient, database: ServerPair
) -> None:
    """A frozen task that keeps its health probe's row locked would let no other become healthy in its place."""
    async with await psycopg.AsyncConnection.connect(database.dsn("postgres"), autocommit=True) as connection:
        await connection.execute("ALTER ROLE shielda SET log_statement = 'all'")
        assert (await client.get("/api/health")).status_code == 200
        assert (await client.post("/api/records", json={"id": 7002})).status_code == 201
        await connection.execute("ALTER ROLE shielda RESET log_statement")
    statements = database.statements("shielda")
    assert [word for word in ("health_probe", "records", "BEGIN") if word in " ".join(statements)] == ["health_probe", "records"]


async def test_health_fails_with_a_sentence_and_comes_back_by_itself(
    client: httpx.AsyncClient, database: ServerPair, logs: Logs
) -> None:
    await database.hang_primary()
    answer = await client.get("/api/health")
    assert answer.status_code == 503
    assert answer.json()["database"] == "The database did not answer in time."
    await database.heal()

    async def healthy() -> bool:
        return (await client.get("/api/health")).status_code == 200

    await until(healthy, every=0.05)
    assert any("the health check failed" in line for line in logs.lines("us-west-2", GROUP))
