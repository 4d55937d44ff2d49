"""What people approve is what is sent: each action's shown line is the request on the wire, and moto takes the same."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from actions.step import Action, Step
from rehearsal.postgres.pair import ServerPair
from tests import catalogue
from tests.command_line import request_of
from tests.world.action_examples import BUILDERS
from tests.world.fast_aws import DATABASE_SECRET, PROD, Rig, fast_aws
from tests.world.rds_account import KEYS

assert catalogue  # importing it registers every step
WEST = "us-west-2"
KINDS = sorted(BUILDERS)
SECRET = "SecretString"


@pytest.fixture(scope="module")
async def shared(work_dirs: Path, servers: ServerPair) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "wire.sqlite", servers=servers) as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    await shared.ready()
    return shared


def test_every_action_has_its_request_looked_at() -> None:
    assert sorted(kind for kind, cls in Step.registry.items() if issubclass(cls, Action) and hasattr(cls, "call")) == KINDS


@pytest.mark.parametrize("kind", KINDS)
async def test_the_shown_line_is_the_request_on_the_wire(rig: Rig, kind: str) -> None:
    action: Any = await BUILDERS[kind](rig)
    facts, outcome = await rig.runner.observe(action)
    assert outcome is None, outcome
    await action.apply(rig.world, facts)
    (sent,) = rig.rehearsal.journal.calls(changing=True, source="bot")
    shown = request_of(action.command())
    assert (shown.service, shown.operation, shown.region) == (sent["service"], sent["operation"], sent["region"])
    shown_parameters, sent_parameters = dict(shown.parameters), dict(sent["parameters"])
    if SECRET in shown_parameters:  # of which people see where it comes from, and the journal nothing
        assert shown_parameters.pop(SECRET).startswith("<the value of version ")
        assert sent_parameters.pop(SECRET) == "***"
    if region := shown_parameters.pop("SourceRegion", ""):  # a client, the AWS command line as well, signs a URL for it instead
        assert f"%2F{region}%2Frds%2F" in sent_parameters.pop("PreSignedUrl")
    assert comparable(sent_parameters) == comparable(shown_parameters)
    assert action.permissions[0] == f"{sent['service']}:{sent['operation']}"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_action_asks_for_no_more_permissions_than_it_names(rig: Rig, kind: str) -> None:
    action: Any = await BUILDERS[kind](rig)
    rig.rehearsal.journal.clear()
    await rig.carry_out(action)
    used = {f"{call['service']}:{call['operation']}" for call in rig.rehearsal.journal.calls()}
    assert used <= set(action.permissions)


def comparable(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with times in one form."""
    found = dict(parameters)
    for name, value in parameters.items():
        with contextlib.suppress(TypeError, ValueError):
            moment = datetime.fromisoformat(value)
            found[name] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return found


# --- moto -------------------------------------------------------------------------------------------------------


class Oracle:
    """moto with what the rehearsal has: a cluster with a service, a database in its network, and a secret."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._clients: dict[str, Any] = {}
        self.prepare()

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(service, region_name=WEST, endpoint_url=self._address, **KEYS)
        return self._clients[service]

    def prepare(self) -> None:
        ecs, ec2, rds = self.client("ecs"), self.client("ec2"), self.client("rds")
        ecs.create_cluster(clusterName="shielda")
        for _ in range(7):
            ecs.register_task_definition(family="control-plane", containerDefinitions=[{"name": "x", "image": "x", "memory": 64}])
        ecs.create_service(cluster="shielda", serviceName="control-plane", taskDefinition="control-plane:7", desiredCount=1)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        names = [group["DBSubnetGroupName"] for group in rds.describe_db_subnet_groups()["DBSubnetGroups"]]
        if "shielda-private" not in names:  # another module's tests may have asked the same server
            rds.create_db_subnet_group(
                DBSubnetGroupName="shielda-private", SubnetIds=[subnet], DBSubnetGroupDescription="private"
            )
            group = {"DBParameterGroupName": "shielda-postgres", "DBParameterGroupFamily": "postgres18", "Description": "ours"}
            rds.create_db_parameter_group(**group)
        self.add_instance(PROD)

    def add_instance(self, name: str) -> None:
        size = {"DBInstanceClass": "db.r6g.large", "AllocatedStorage": 100, "Engine": "postgres"}
        user = {"MasterUsername": "shielda_admin", "MasterUserPassword": "not-a-secret"}
        self.client("rds").create_db_instance(DBInstanceIdentifier=name, **size, **user)

    def make_room(self, action: Any) -> None:
        """What the action needs beside production, and nothing that is in its way."""
        kind = action.kind
        if kind in ("rds.drop_instance", "rds.change_settings"):
            self.add_instance(action.instance)
        rds = self.client("rds")
        if kind == "rds.restore_to_time":
            with contextlib.suppress(rds.exceptions.DBInstanceNotFoundFault):
                rds.delete_db_instance(DBInstanceIdentifier=action.instance, SkipFinalSnapshot=True)
        if kind == "rds.restore_snapshot":
            rds.create_db_snapshot(DBInstanceIdentifier=PROD, DBSnapshotIdentifier=action.snapshot)
        if kind == "rds.promote_replica":
            names = {"DBInstanceIdentifier": action.database.instance, "SourceDBInstanceIdentifier": PROD}
            rds.create_db_instance_read_replica(**names, DBInstanceClass="db.r6g.large")
        if kind.startswith("secrets."):
            secrets = self.client("secretsmanager")
            with contextlib.suppress(secrets.exceptions.ResourceNotFoundException):
                secrets.delete_secret(SecretId=DATABASE_SECRET, ForceDeleteWithoutRecovery=True)
            secrets.create_secret(Name=DATABASE_SECRET, SecretString="first", ClientRequestToken=action.current)
        if kind == "secrets.move_stage":
            token = {"ClientRequestToken": action.version, "VersionStages": ["dr-staged"]}
            secrets.put_secret_value(SecretId=DATABASE_SECRET, SecretString="second", **token)

    def zone(self) -> str:
        """The id of a new hosted zone."""
        made = self.client("route53").create_hosted_zone(Name="shielda.dev", CallerReference=str(uuid.uuid4()))
        return str(made["HostedZone"]["Id"]).rpartition("/")[2]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@pytest.fixture(scope="module")
def oracle(moto: str) -> Iterator[Oracle]:
    oracle = Oracle(moto)
    yield oracle
    oracle.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_moto_accepts_the_request_of_every_action(rig: Rig, oracle: Oracle, kind: str) -> None:
    action: Any = await BUILDERS[kind](rig)
    if kind == "rds.restore_snapshot":
        action = replace(action, snapshot="by-hand")  # moto makes no snapshot with the name of an automated one
    if kind == "route53.upsert_record":
        action = replace(action, zone_id=await asyncio.to_thread(oracle.zone))
    if kind.startswith("rds.restore"):  # moto has no default option groups
        action = replace(action, settings={k: v for k, v in action.settings.items() if k != "OptionGroupName"})

    def ask() -> Any:
        oracle.make_room(action)
        return getattr(oracle.client(action.call.service), action.call.method)(**action.call.arguments)

    answer = await asyncio.to_thread(ask)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    if kind.startswith("rds.restore"):
        made = answer["DBInstance"]
        assert made["MultiAZ"] is True
        assert made["DBSubnetGroup"]["DBSubnetGroupName"] == "shielda-private"
        assert {"Key": "dr-run", "Value": "test"} in made["TagList"]
