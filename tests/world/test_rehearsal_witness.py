"""The witness: what it measures of a real outage, and how it counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import psycopg
import pytest
from aiohttp import web

from rehearsal.postgres.pair import ServerPair
from rehearsal.waiting import until
from rehearsal.witness import Ledger, Track, Witness
from tests.world.sql import query


@pytest.fixture
async def service(database: ServerPair) -> AsyncIterator[str]:
    """A stand-in for the control plane: writes rows through the endpoint, one connection for each request."""

    async def write(request: web.Request) -> web.Response:
        row = await request.json()
        try:
            await query(database.dsn("shielda"), "INSERT INTO records VALUES (%s, %s)", [row["id"], row["body"]])
        except psycopg.Error as error:
            return web.Response(status=503, text=str(error))
        return web.Response(status=201)

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/api/records", write), web.get("/api/health", health)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_witness_measures_an_outage_and_counts_a_lost_row(database: ServerPair, service: str) -> None:
    witness = Witness(service, database.dsn("postgres"), interval=0.03)
    async with witness:
        await witness.healthy()
        await database.kill_primary()
        await until(lambda: witness.report()["state"] == "down", 5)
        await database.failover()
        await witness.healthy()

    report = await witness.verify()
    assert (report["state"], len(report["outages"]), report["rows_lost"]) == ("healthy", 1, 0)
    assert 0 < report["outage_seconds"] < 5
    assert report["rpo_seconds"] == 0.0
    newest = max(witness.acknowledged)  # a row whose answer was cut off at the end is nobody's loss
    await query(database.dsn("postgres"), f"DELETE FROM records WHERE id = {newest}")
    report = await witness.verify()
    assert report["rows_lost"] == 1
    assert 0 < report["rpo_seconds"] < 5
    assert json.loads(json.dumps(report)) == report


def test_an_outage_ends_at_the_beginning_of_sustained_success_of_every_kind() -> None:
    ledger = Ledger({"write": Track(), "health": Track()})
    for at in (1, 2):
        ledger.note("health", True, at, at)
        ledger.note("write", True, at, at)
    ledger.note("write", False, 3, 4)
    ledger.note("write", True, 5, 5)
    ledger.note("write", False, 6, 7)
    for at in range(8, 13):
        assert not ledger.healthy
        ledger.note("write", True, at, at)
        ledger.note("health", True, at, at)
    assert [(outage.began, outage.ended) for outage in ledger.outages] == [(3, 8)]
