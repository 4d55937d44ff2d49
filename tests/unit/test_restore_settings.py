"""What a restore carries over, what it cannot, what differs afterwards; and a secret's text pointed to another address."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actions.aws.call import Call
from actions.aws.secret_value import UnknownForm, address_of, pointed_to
from actions.aws.settings import (
    INHERITED,
    LEFT_OUT,
    LEFT_OUT_OF_SNAPSHOTS,
    SETTINGS,
    copied,
    differences,
    left_out,
    restorable,
    settings_of,
    tag_differences,
    tags_of,
    unsettled,
)

MODEL = botocore.session.Session().get_service_model("rds")
RAW: dict[str, Any] = {
    "DBInstanceClass": "db.r6g.large",
    "MultiAZ": True,
    "DBSubnetGroup": {"DBSubnetGroupName": "private"},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-2", "Status": "active"}, {"VpcSecurityGroupId": "sg-1"}],
    "DBParameterGroups": [{"DBParameterGroupName": "ours", "ParameterApplyStatus": "in-sync"}],
    "EnabledCloudwatchLogsExports": ["upgrade", "postgresql"],
    "IAMDatabaseAuthenticationEnabled": False,
    "StorageType": "gp3",
    "AllocatedStorage": 100,
    "MaxAllocatedStorage": 500,
    "Iops": 3000,
    "MonitoringInterval": 60,
    "Endpoint": {"Port": 5433},
    "EngineVersion": "18.6",
    "TagList": [
        {"Key": "a", "Value": "b"},
        {"Key": "aws:cloudformation:stack-name", "Value": "s"},
        {"Key": "dr-run", "Value": "1"},
    ],
}
SETTINGS_OF_RAW = settings_of(RAW)


def shape(operation: str) -> set[str]:
    return set(MODEL.operation_model(operation).input_shape.members)


def test_every_setting_has_a_request_that_takes_it() -> None:
    named = set(SETTINGS) - set(INHERITED)
    assert named - set(LEFT_OUT) <= shape("RestoreDBInstanceToPointInTime")
    assert named - set(LEFT_OUT_OF_SNAPSHOTS) <= shape("RestoreDBInstanceFromDBSnapshot")
    assert set(LEFT_OUT_OF_SNAPSHOTS) <= shape("ModifyDBInstance")
    assert not {*LEFT_OUT, *INHERITED} & shape("RestoreDBInstanceToPointInTime")
    assert not set(LEFT_OUT_OF_SNAPSHOTS) & shape("RestoreDBInstanceFromDBSnapshot")


def test_every_setting_is_read_where_rds_shows_it() -> None:
    members = MODEL.shape_for("DBInstance").members
    for _, path in SETTINGS.values():
        name, _, rest = path.partition(".")
        held = members[name.rstrip("[]0")]
        inner = held.member if held.type_name == "list" else held
        assert not rest or rest in inner.members, path


def test_the_settings_of_an_instance_are_read_in_the_words_of_requests() -> None:
    assert SETTINGS_OF_RAW == {
        "DBInstanceClass": "db.r6g.large",
        "MultiAZ": True,
        "DBSubnetGroupName": "private",
        "VpcSecurityGroupIds": ["sg-1", "sg-2"],
        "DBParameterGroupName": "ours",
        "EnableCloudwatchLogsExports": ["postgresql", "upgrade"],
        "EnableIAMDatabaseAuthentication": False,
        "StorageType": "gp3",
        "AllocatedStorage": 100,
        "MaxAllocatedStorage": 500,
        "Iops": 3000,
        "MonitoringInterval": 60,
        "Port": 5433,
        "EngineVersion": "18.6",
    }


def test_what_a_restore_takes_and_what_it_leaves_out_are_all_there_is() -> None:
    for from_snapshot in (False, True):
        both = restorable(SETTINGS_OF_RAW, from_snapshot=from_snapshot) | left_out(SETTINGS_OF_RAW, from_snapshot=from_snapshot)
        assert {**both, "Iops": 3000, "EngineVersion": "18.6"} == SETTINGS_OF_RAW
    assert left_out(SETTINGS_OF_RAW) == {"MonitoringInterval": 60}
    assert left_out(SETTINGS_OF_RAW, from_snapshot=True) == {"MonitoringInterval": 60, "MaxAllocatedStorage": 500}


@pytest.mark.parametrize(
    ("kind", "size", "named"),
    [("gp3", 399, False), ("gp3", 400, True), ("io1", 100, True), ("io2", 100, True), ("gp2", 1000, False)],
)
def test_iops_are_named_only_if_rds_takes_them(kind: str, size: int, named: bool) -> None:
    settings = {"StorageType": kind, "AllocatedStorage": size, "Iops": 12000, "StorageThroughput": 500}
    assert ("Iops" in restorable(settings)) is named
    assert ("StorageThroughput" in restorable(settings)) is named


def test_tags_of_aws_and_of_earlier_runs_are_not_handed_on() -> None:
    assert copied(tags_of(RAW)) == {"a": "b"}


def test_differences_are_in_words_and_leave_the_port_out() -> None:
    found = {"MultiAZ": False, "Port": 1, "VpcSecurityGroupIds": []}
    assert differences({"MultiAZ": True, "Port": 2, "VpcSecurityGroupIds": ["sg-1", "sg-2"], "Iops": None}, found) == [
        "Multi-AZ: off, not on",
        "security groups: none, not sg-1, sg-2",
    ]
    assert differences({"MultiAZ": True}, found, apart_from=("MultiAZ",)) == []
    assert tag_differences({"a": "b", "c": "d"}, {"a": "x", "e": "f"}) == ["tag a: x, not b", "tag c: missing, not d"]


def test_what_rds_has_put_off_is_named() -> None:
    raw = {
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "adding"}],
        "DBParameterGroups": [{"DBParameterGroupName": "ours", "ParameterApplyStatus": "pending-reboot"}],
        "PendingModifiedValues": {"MultiAZ": True, "PendingCloudwatchLogsExports": {}},
    }
    assert unsettled(raw) == ["sg-1 is adding", "ours is pending-reboot", "MultiAZ is pending"]
    assert unsettled(RAW) == []


# --- a call with a secret ---------------------------------------------------------------------------------------


def test_a_secret_parameter_is_sent_and_never_shown() -> None:
    names = {"SecretId": "s", "SecretString": "<the new value>"}
    call = Call(
        service="secretsmanager",
        operation="PutSecretValue",
        region="us-west-2",
        parameters=names,
        secret={"SecretString": SecretStr("hunter2")},
    )
    assert call.arguments == {"SecretId": "s", "SecretString": "hunter2"}
    assert "--secret-string '<the new value>'" in call.command()
    assert "hunter2" not in call.command() + repr(call) + str(call)


# --- the text of a secret ---------------------------------------------------------------------------------------

WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
HOST = st.lists(st.sampled_from(["db", "shielda-prod", "x9", "rds"]), min_size=1, max_size=4).map(".".join)
PORT = st.integers(1, 65535)


def dsn(user: str, password: str, host: str, port: int | None, database: str, query: str) -> str:
    place = f"{host}:{port}" if port else host
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{place}/{quote(database, safe='')}{query}"


DSNS = st.builds(dsn, WORD, WORD, HOST, st.none() | PORT, WORD, st.sampled_from(["", "?sslmode=verify-full", "?a=b&c=d"]))


@given(DSNS, HOST, PORT)
def test_only_the_address_of_a_dsn_changes(text: str, host: str, port: int) -> None:
    new = pointed_to(text, host, port)
    before, after = urlsplit(text), urlsplit(new)
    assert address_of(new) == (host, port)
    assert (after.username, after.password, after.path, after.query) == (
        before.username,
        before.password,
        before.path,
        before.query,
    )
    assert pointed_to(new, *address_of(text)) in (text, text.replace(f"@{before.hostname}/", f"@{before.hostname}:5432/"))


@given(st.dictionaries(WORD, WORD | st.integers() | st.none(), max_size=5), DSNS, HOST, PORT)
def test_only_addresses_in_a_json_secret_change(held: dict[str, Any], text: str, host: str, port: int) -> None:
    held = {name: value for name, value in held.items() if name not in ("host", "port")}
    before = {**held, "url": text}
    after = json.loads(pointed_to(json.dumps(before), host, port))
    assert {**after, "url": text} == before
    assert after["url"] == pointed_to(text, host, port)


@given(WORD)
def test_no_error_quotes_the_secret(password: str) -> None:
    for text in (
        password * 3,
        f"postgresql://u:{password}{password}@a@b/d",
        f"postgresql://u:p@a,b/{password * 2}",
        f"host={password}",
    ):
        assert said(text) in SAID


def said(text: str) -> str:
    """What a person reads if the address in a text can't be replaced."""
    try:
        pointed_to(text, "h", 1)
    except UnknownForm as error:
        return str(error)
    return ""


SAID = {
    "",
    "The secret's value is neither a DSN (postgresql://...) nor a JSON object.",
    "The DSN in the secret can't be read: one host is expected, and a password with special characters encoded.",
    "The DSN in the secret has its host or port among the parameters after the question mark.",
    "The secret's value leads to 0 addresses, and one is expected.",
}


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:p@a:1,b:2/d",
        "postgresql://u:p@/d",
        "postgresql://u:p@a:1/d?hostaddr=1.2.3.4",
        "postgresql://u:p@a@b:1/d",
        "host=a port=1 password=p",
        '{"host": "a", "port": "one"}',
        '{"host": "a", "url": "postgresql://u:p@b/d"}',
        "[1]",
        "",
    ],
)
def test_a_secret_that_cannot_be_pointed_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(UnknownForm):
        pointed_to(text, "h", 1)


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("postgres://u:p@[::1]:5432/d", "postgres://u:p@h:6/d"),
        ("postgresql://a", "postgresql://h:6"),
        ('{"host": "a", "port": "1"}', '{"host": "h", "port": "6"}'),
        ('{"host": "a"}', '{"host": "h", "port": 6}'),
    ],
)
def test_rare_forms(text: str, new: str) -> None:
    assert pointed_to(text, "h", 6) == new
