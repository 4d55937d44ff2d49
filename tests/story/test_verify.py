"""A verification of a backup through Slack: killed, and with an answer lost. No temporary instance is left behind."""

from __future__ import annotations

import json
import re

from rehearsal.waiting import until
from tests.story.conftest import WEST, Incident

VERIFY = "backup verify"
ONCE = {"RestoreDBInstanceFromDBSnapshot": 1, "RestoreDBInstanceToPointInTime": 1, "DeleteDBInstance": 2}


def instances(incident: Incident) -> list[str]:
    return [one.name for one in incident.world.rds.registry.of(WEST)]


async def begun(incident: Incident) -> str:
    run = await incident.plan("alice", VERIFY, timeout=60)
    await incident.click("bob", run, "dr_approve")
    return run


async def test_a_bot_killed_after_the_restore_leaves_no_instance_behind(incident: Incident) -> None:
    run = await begun(incident)
    await until(
        lambda: re.search(r'"4\.1 [^"]*", "status": "in_progress"', incident.says(run)), 120, lambda: incident._state_of(run)
    )
    await incident.world.kill_bot()
    assert len(instances(incident)) == 3
    await incident.world.start_bot()
    assert await incident.ended(run, 120) == "Done"
    assert (dict(incident.effects()), instances(incident)) == (ONCE, ["shielda-prod"])
    _, out, _ = await incident.dr("report", "backup status", "--json")
    lines = {one["check"]: one for one in json.loads(out)["findings"]}
    assert (lines["verifications"]["object"], lines["verifications"]["level"]) == (f"run {run}", "ok")
    assert "The last verified restore took" in lines["restore time"]["says"]
    assert "left over" not in lines


async def test_a_restore_in_doubt_is_not_skipped_and_is_dropped(incident: Incident) -> None:
    faults = incident.world.aws_faults
    run = await incident.plan("alice", VERIFY, timeout=60)
    slow = faults.put("slow", operation="RestoreDBInstanceFromDBSnapshot", seconds=3.0)
    faults.put("after_drop", operation="RestoreDBInstanceFromDBSnapshot")
    await incident.click("bob", run, "dr_approve")
    await until(lambda: slow.times == 0, 60, "the restore of the snapshot")
    newest = ("RestoreDBInstanceToPointInTime", 1)  # the other one of the stage
    await until(lambda: newest in incident.effects(), 60, "the restore of the newest point")
    faults.put("access_denied", operation="DescribeDBInstances", times=None)
    await incident.waiting(run, 120)
    assert incident.buttons(run) == ["dr_retry", "dr_happened", "dr_abort"], "what is skipped isn't proven"
    faults.clear()
    await incident.click("carol", run, "dr_abort")
    assert await incident.ended(run, 120) == "Aborted"
    assert (dict(incident.effects()), instances(incident)) == (ONCE, ["shielda-prod"])
    assert "The clean-up is done and proven (steps 8.1 and 8.2)." in incident.thread(run)[-1]
    _, out, _ = await incident.dr("targets", "--json")
    (verified,) = [one for one in json.loads(out)["findings"] if one["check"] == "verified restore"]
    assert (verified["level"], "aborted, so not verified" in verified["says"]) == ("missed", True)
