"""Did it happen? What reading back proves of counts, drops, settings and stages; "not done" only if all is as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from actions.aws.deployments import Service
from actions.aws.desired_count import judge_count
from actions.aws.drops import judge_change_of_settings, judge_drop
from actions.aws.instances import Described
from actions.aws.secrets import judge_move
from actions.values import FOUND as NOTHING_TO_CHANGE
from actions.values import Verdict

DONE, NOT_DONE, UNKNOWN = Verdict.DONE, Verdict.NOT_DONE, Verdict.UNKNOWN
FOUND = Described(
    name="copy",
    status="available",
    resource_id="db-1",
    host="copy.example",
    port=5432,
    protected=False,
    tags={},
    settings={"MonitoringInterval": 0},
    unsettled=(),
    restorable_to=None,
)
SERVICE = Service(
    arn="",
    status="ACTIVE",
    revision="s:1",
    desired=2,
    running=2,
    pending=0,
    breaker=False,
    rolls_back=False,
    deployments=(),
    events=(),
    at=datetime(2026, 1, 15, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ({"desired": 0}, DONE),
        ({"desired": 0, "running": 0}, DONE),
        ({}, NOT_DONE),
        ({"running": 1}, NOT_DONE),
        ({"desired": 3}, UNKNOWN),
        ({"status": "INACTIVE", "desired": 0}, UNKNOWN),
    ],
)
def test_a_count_was_set_if_the_service_wants_it(now: dict[str, Any], verdict: Verdict) -> None:
    assert judge_count(0, {"desired": 2}, replace(SERVICE, **now)).verdict is verdict


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ({"found": True, "resource_id": "db-1"}, None, DONE),
        ({"found": True, "resource_id": "db-1"}, {"status": "deleting"}, DONE),
        ({"found": True, "resource_id": "db-1"}, {}, NOT_DONE),
        ({"found": True, "resource_id": "db-1"}, {"status": "modifying"}, NOT_DONE),
        ({"found": True, "resource_id": "db-1"}, {"resource_id": "db-2"}, UNKNOWN),
        ({"found": True, "resource_id": "db-1"}, {"resource_id": "db-2", "status": "deleting"}, UNKNOWN),
        ({"found": False}, None, DONE),
        ({"found": False}, {}, NOT_DONE),
    ],
)
def test_a_drop_was_made_if_that_very_instance_goes(before: dict[str, Any], now: dict[str, Any] | None, verdict: Verdict) -> None:
    found = None if now is None else replace(FOUND, **now)
    assert judge_drop("copy", {"status": "available"} | before, found).verdict is verdict


@pytest.mark.parametrize("now", [None, {"status": "deleting"}])
def test_a_drop_by_somebody_else_is_not_credited_to_an_earlier_try(now: dict[str, Any] | None) -> None:
    found = None if now is None else replace(FOUND, **now)
    before = {"found": True, "resource_id": "db-1", "status": "deleting"}
    assert judge_drop("copy", before, found).receipt == NOTHING_TO_CHANGE
    assert judge_drop("copy", before | {"status": "available"}, found).receipt == {}


WRONG = "seconds between enhanced monitoring: 0, not 60"


@pytest.mark.parametrize(
    ("wrong", "now", "verdict"),
    [
        ([WRONG], {"settings": {"MonitoringInterval": 60}}, DONE),
        ([WRONG], {"settings": {"MonitoringInterval": 60}, "status": "modifying"}, DONE),
        ([WRONG], {"unsettled": ("MonitoringInterval is pending",)}, DONE),
        ([WRONG, "MultiAZ is pending"], {"unsettled": ("MultiAZ is pending",)}, NOT_DONE),
        ([WRONG], {}, NOT_DONE),
        ([WRONG], {"status": "modifying"}, UNKNOWN),
        ([WRONG], {"settings": {"MonitoringInterval": 30}}, UNKNOWN),
        ([WRONG], None, UNKNOWN),
    ],
)
def test_settings_were_changed_if_they_hold_or_wait(wrong: list[str], now: dict[str, Any] | None, verdict: Verdict) -> None:
    found = None if now is None else replace(FOUND, **now)
    assert judge_change_of_settings("copy", {"MonitoringInterval": 60}, {"wrong": wrong}, found).verdict is verdict


@pytest.mark.parametrize(("holder", "verdict"), [("new", DONE), ("old", NOT_DONE), ("other", UNKNOWN), ("", UNKNOWN)])
def test_a_stage_was_moved_if_it_is_where_it_should_be(holder: str, verdict: Verdict) -> None:
    assert judge_move("new", "old", holder).verdict is verdict
