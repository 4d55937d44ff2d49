"""A whole rehearsal of two regions, without a bot: one is lost, and its work is moved by hand, as a bot would do it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.config import Config
from psycopg.conninfo import make_conninfo

from rehearsal.accepting import Spans
from rehearsal.terraform.stack import program
from rehearsal.two_regions import TwoRegions
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal
from tests.world.aws_world import EAST, SESSION
from tests.world.sql import query

REPLICA, PROD = "shielda-replica-us-east-1", "shielda-prod"
READ_ONLY = "ALTER DATABASE shielda SET default_transaction_read_only = on"
WRITABLE = "ALTER DATABASE shielda RESET default_transaction_read_only"


@pytest.fixture(scope="module")
async def rehearsal(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    options = Options(
        work_dir=work_dirs / "regions", cache=cache, port=0, speed=600, with_bot=False, two_regions=True, witness_every=0.1
    )
    async with Rehearsal(options) as world:
        yield world


@pytest.fixture(name="world")
async def restored(rehearsal: Rehearsal) -> AsyncIterator[Rehearsal]:
    await rehearsal.witness.healthy()
    yield rehearsal
    await rehearsal.restore()


@pytest.fixture
def regions(world: Rehearsal) -> TwoRegions:
    assert world.regions
    return world.regions


async def aws(world: Rehearsal, service: str, method: str, /, **params: Any) -> dict[str, Any]:
    """A call to the second region, without retries."""

    def ask() -> dict[str, Any]:
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
        client = SESSION.client(service, region_name=EAST, endpoint_url=world.endpoints[EAST], config=config)
        return dict(getattr(client, method)(**params))

    return await asyncio.to_thread(ask)


async def terraform(regions: TwoRegions, *words: str) -> tuple[int, str]:
    """Run the real terraform, as the product does."""
    found = program()
    assert found
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    argv = [found, f"-chdir={regions.stack.folder}", *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def promote(world: Rehearsal, regions: TwoRegions) -> None:
    await aws(world, "rds", "promote_read_replica", DBInstanceIdentifier=REPLICA, BackupRetentionPeriod=35)
    await until(lambda: regions.replica.status == "available" and not regions.replica.follows, 20, "a promoted replica")


async def serve_there(world: Rehearsal, regions: TwoRegions) -> None:
    """Apply the stack, and lead the name to the second region."""
    await terraform(regions, "init", "-input=false")
    await terraform(regions, "workspace", "select", "dr")
    assert (await terraform(regions, "plan", "-out=go.tfplan", "-input=false", "-detailed-exitcode"))[0] == 2
    code, says = await terraform(regions, "apply", "-input=false", "go.tfplan")
    assert code == 0, says
    await until(lambda: bool(regions.second.balancer.targets), 20, "a healthy service in the second region")
    record = {"Name": "app.shielda.dev", "Type": "CNAME", "TTL": 60}
    value = {"ResourceRecords": [{"Value": "shielda-us-east-1.elb.amazonaws.com"}]}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record | value}]}
    await aws(world, "route53", "change_resource_record_sets", HostedZoneId=regions.names.zone_id, ChangeBatch=batch)


@pytest.mark.skipif(program() is None, reason="there is no terraform on this machine")
async def test_a_lost_region_is_replaced_and_the_witness_counts_what_is_lost(world: Rehearsal, regions: TwoRegions) -> None:
    await world.faults.put("replication-link-cut")
    await asyncio.sleep(0.5)  # what is written now is lost
    await world.faults.put("region-down")
    await until(lambda: world.witness.sees_outage, 10, "an outage")
    await promote(world, regions)
    await serve_there(world, regions)
    await world.witness.healthy()
    report = await world.witness.verify()
    assert report["rows_lost"] > 0
    assert 0.2 < report["rpo_seconds"] < 5
    assert regions.serving == EAST
    assert world.writers
    assert world.writers.now == [REPLICA]
    assert world.writers.report()["two_accepting"] == []
    effects = {(one["operation"], one["region"]): one["count"] for one in world.journal.effects()}
    assert effects == {("PromoteReadReplica", EAST): 1, ("CreateService", EAST): 1, ("ChangeResourceRecordSets", EAST): 1}
    assert [call["source"] for call in world.journal.calls(operation="CreateService")] == ["terraform"]
    await world.faults.put("heal")  # the old primary comes back, as writable as it was
    await until(lambda: world.writers is not None and len(world.writers.now) == 2, 10, "two databases that take writes")
    await until(lambda: world.writers is not None and world.writers.report()["two_accepting"], 5, "the witness's proof")


async def test_after_a_fence_nothing_is_lost_and_two_never_take_writes(world: Rehearsal, regions: TwoRegions) -> None:
    assert world.writers
    began = world.writers.spans.found[-1].last_sent
    await query(world.database.dsn("shielda"), READ_ONLY)
    (fenced,) = (await query(world.database.dsn("postgres"), "SELECT pg_current_wal_flush_lsn()::text"))[0]

    async def replayed() -> bool:
        return bool((await query(regions.databases()[REPLICA], f"SELECT pg_last_wal_replay_lsn() >= '{fenced}'"))[0][0])

    await until(replayed, 10, "all that the fenced primary wrote")
    await promote(world, regions)
    may_write = make_conninfo(regions.databases()[REPLICA], options="-c default_transaction_read_only=off")
    await query(may_write, WRITABLE)  # the fence was replicated, too
    await until(lambda: world.writers is not None and world.writers.now == [REPLICA], 10, "the new primary alone")
    assert world.writers.spans.overlaps(began) == []
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await query(world.database.dsn("shielda"), "INSERT INTO records (id, body) VALUES (7, '')")
    lost = await query(
        regions.databases()[REPLICA], "SELECT count(*) FROM records WHERE id = ANY(%s)", [[*world.witness.acknowledged]]
    )
    assert lost == [(len(world.witness.acknowledged),)]


@pytest.mark.skipif(program() is None, reason="there is no terraform on this machine")
async def test_terraform_meets_a_lock_a_destroy_and_a_failing_provisioner(world: Rehearsal, regions: TwoRegions) -> None:
    await terraform(regions, "init", "-input=false")
    await terraform(regions, "workspace", "select", "dr")
    await world.faults.put("terraform-locked")
    code, says = await terraform(regions, "plan", "-out=go.tfplan", "-input=false", "-lock-timeout=0s")
    assert code == 1
    assert "carol@carols-laptop" in says
    await world.faults.put("heal")
    await world.faults.put("terraform-destroys")
    _, says = await terraform(regions, "plan", "-out=go.tfplan", "-input=false", "-no-color")
    assert "2 to add, 0 to change, 1 to destroy" in says
    await world.faults.put("terraform-fails")
    code, says = await terraform(regions, "apply", "-input=false", "go.tfplan")
    assert code == 1
    assert "CannotPullContainerError" in says
    assert not regions.second.ecs.exists


async def test_the_settings_name_both_regions_and_the_servers_of_names(world: Rehearsal, regions: TwoRegions) -> None:
    text = world.config.read_text()
    for line in ('terraform_workspace = "dr"', 'instance = "shielda-replica-us-east-1"', 'name = "app.shielda.dev"'):
        assert line in text
    assert f'health_url = "{regions.public.url}/api/health"' in text
    assert f'dr_health_url = "{regions.second.balancer.url}/api/health"' in text
    assert world.bot_environment["DR_DATABASE_URL"] == regions.replica_url("dr_bot")
    assert await query(world.bot_environment["DR_DATABASE_URL"], "SELECT pg_is_in_recovery()") == [(True,)]
    assert len(world.description()["dns"]["nameservers"]) == 2


def test_two_databases_took_writes_if_one_did_before_and_after_the_other() -> None:
    spans = Spans()
    spans.note("a", True, 1.0, 1.1)
    spans.note("a", True, 2.0, 2.1)
    spans.note("b", True, 2.0, 2.2)  # perhaps just after
    assert spans.overlaps() == []
    spans.note("a", True, 3.0, 3.1)
    spans.note("b", True, 3.0, 3.1)
    assert spans.overlaps() == [("a", "b", 2.2, 3.0)]
    spans.note("a", False, 4.0, 4.1)
    spans.note("b", True, 5.0, 5.1)
    assert spans.overlaps(since=3.5) == []
    spans.note("a", True, 6.0, 6.1)
    spans.note("b", True, 7.0, 7.1)
    assert spans.overlaps(since=3.5) == []  # a took no second write yet
    spans.note("a", True, 8.0, 8.1)
    assert spans.overlaps(since=3.5) == [("b", "a", 6.1, 7.0)]
