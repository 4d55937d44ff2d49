"""Restores of the database through Slack: refused, declined, aborted, with other settings, killed, and with an answer lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from rehearsal.aws.cloud import DATABASE_SECRET
from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import WEST, Incident

RESTORE = "database restore"
LATEST = f"{RESTORE} time=latest"
PROD = "shielda-prod"
SECRETS = ("PutSecretValue", "UpdateSecretVersionStage")


class Restoring(Incident):
    """The incident channel while the database is restored."""

    @property
    def serves(self) -> int:
        """How often a bot has begun to serve."""
        return self.world.bot_log.read_text().count('"event": "serving"')

    async def begun(self) -> str:
        """A restore of Alice's to the latest moment, approved by Bob."""
        assert self.secret == self.production
        run = await self.plan("alice", LATEST, timeout=40)
        await self.click("bob", run, "dr_approve")
        return run

    async def asks(self, run: str) -> None:
        """Wait until the card asks whether the copy shall take over."""
        await until(lambda: "dr_hold_yes" in self.buttons(run), 60, lambda: self._state_of(run))

    async def revive(self) -> None:
        """Kill the bot with SIGKILL and start it again."""
        before = self.serves
        await self.world.kill_bot()
        await self.world.start_bot()
        await until(lambda: self.serves > before, 60, "a bot that serves again")

    def sent(self, operation: str) -> list[dict[str, Any]]:
        """The bot's calls of an operation, as they arrived."""
        return [dict(call) for call in self.world.journal.calls(source="bot", operation=operation)]

    @property
    def secret(self) -> str:
        """What the service reads when it starts."""
        return self.world.aws.secrets.current(DATABASE_SECRET)

    @property
    def instances(self) -> list[str]:
        """The names of all instances."""
        return [one.name for one in self.world.rds.registry.of(WEST)]

    @property
    def tasks(self) -> int:
        """How many tasks of the service run."""
        return sum(task.last == "RUNNING" for task in self.world.ecs.scheduler.tasks)

    async def leads_to_the_copy(self) -> bool:
        """Whether the secret leads to another database than production's, one that has left recovery."""
        async with await psycopg.AsyncConnection.connect(self.world.live_dsn("postgres")) as connection:
            row = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
        return row == (False,) and self.secret != self.production

    @property
    def production(self) -> str:
        """The address of the database that was restored."""
        return self.world.database.url("shielda")


@pytest.fixture
async def incident(world: Rehearsal) -> AsyncIterator[Restoring]:
    incident = Restoring(world)
    await until(lambda: incident.serves, 60, "a serving bot")
    world.journal.clear()
    yield incident
    for run in incident.ids():
        if "dr_hold_no" in incident.buttons(run):
            await incident.click("carol", run, "dr_hold_no")
            await incident.fill_in("carol", reason="The test is over.")
            await incident.ended(run, 60)
    await incident.calm_down()


@pytest.mark.parametrize(
    ("time", "says"),
    [
        (" time=2099-01-01T00:00", "2099-01-01 00:00:00 UTC is in the future, and a restore goes back."),
        (" time=soon", "'soon' is not a time that I can read."),
    ],
)
async def test_a_time_that_is_wrong_gets_one_line_and_nothing_else(incident: Restoring, time: str, says: str) -> None:
    plans = incident.ids()
    async with incident.told("alice", 2) as told:
        await incident.type("alice", RESTORE + time)
    assert told[-1].startswith(says)
    assert "`time=10:30`" in told[-1]
    assert "\n" not in told[-1]
    assert (incident.ids(), incident.effects(), incident.instances) == (plans, [], [PROD])


async def test_without_a_time_a_form_says_what_each_choice_gives_up(incident: Restoring) -> None:
    slack, known, now = incident.world.workspace, incident.ids(), int(time.time())
    assert "A form will open that asks for the time" in await incident.type("alice", RESTORE)
    form = await incident.form("alice")
    await until(lambda: "RDS can restore from" in said(slack.views("alice")), 30, "what RDS can restore to")
    for at, says in ((now + 7200, "is in the future"), (now - 86400 * 90, "from which on there are backups")):
        await slack.choose("alice", form["id"], "dr_time", at)
        await until(lambda says=says: says in said(slack.views("alice")), 30, says)
        answer = await incident.fill_in("alice", time=at)
        assert says in answer["errors"]["time"]
    latest = re.search(r"up to (2\d{3}-[\d-]+ [\d:]+) UTC", said(slack.views("alice")))
    assert latest
    at = int(datetime.fromisoformat(f"{latest[1]}+00:00").timestamp())
    await slack.choose("alice", form["id"], "dr_time", at)
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    await until(lambda: f"after {clock} is given up: the last " in said(slack.views("alice")), 30, "the loss")
    assert incident.ids() == known, "choosing makes no plan"
    await incident.fill_in("alice", time=at)
    await until(lambda: incident.ids() != known, 30, "a plan")
    assert f"Restore {PROD} to {clock}" in incident.card(incident.ids()[-1])["text"]
    assert not slack.views("alice")


async def test_whoever_may_not_ask_gets_no_form(incident: Restoring) -> None:
    async with incident.told("dave", 2) as told:
        await incident.type("dave", RESTORE)
    assert "can't ask for `/dr database restore`" in told[-1]
    assert not incident.world.workspace.views("dave")


def said(views: list[dict[str, Any]]) -> str:
    """What the topmost form says."""
    return json.dumps(views[-1]["blocks"], ensure_ascii=False) if views else ""


async def test_an_approval_counts_only_with_the_instances_name_typed(incident: Restoring) -> None:
    run = await incident.plan("alice", LATEST, timeout=40)
    assert incident.name_to_type(run) == PROD
    async with incident.told("alice") as told:
        await incident.press("alice", run, "dr_approve")
    assert "You asked for this plan yourself" in told[0]
    assert incident.slack.views("alice") == []
    await incident.press("bob", run, "dr_approve")
    wrong = await incident.fill_in("bob", typed="shielda-prd")
    assert wrong["errors"] == {"typed": "That isn't shielda-prod. Type exactly this name, or go back; nothing was done."}
    await incident.quiet()
    assert (incident.effects(), incident.title(run), "dr_approve" in incident.buttons(run)) == ([], f"Plan {run}", True)
    await incident.click("carol", run, "dr_reject")
    await until(lambda: "dr_approve" not in incident.buttons(run), 20)
    async with incident.told("bob") as told:
        await incident.fill_in("bob", typed=PROD)
    assert f"Plan {run} was rejected by <@U0CAROL>" in told[0]
    assert (incident.effects(), incident.instances) == ([], [PROD])


async def test_after_a_no_the_service_runs_as_before_and_the_copy_is_kept(incident: Restoring) -> None:
    before, tasks = incident.secret, incident.tasks
    run = await incident.begun()
    await incident.asks(run)
    assert incident.tasks == 0
    await incident.click("carol", run, "dr_hold_no")
    await incident.fill_in("carol", reason="Rows are missing.")
    assert await incident.ended(run, 60) == "Aborted"
    lines = incident.thread(run)
    assert any("answered No. Reason: Rows are missing. What was done before stays done" in line for line in lines)
    assert lines[-1].startswith("The clean-up is done and proven")
    assert (incident.secret, incident.tasks) == (before, tasks)
    assert not [operation for operation, _ in incident.effects() if operation in SECRETS]
    (copy,) = [name for name in incident.instances if name != PROD]
    assert copy.startswith("shielda-prod-restored-")
    assert any(f"database {copy} is available" in line for line in lines)
    await incident.world.witness.healthy()


async def test_after_an_abort_the_service_runs_as_before(incident: Restoring) -> None:
    await incident.world.faults.put("restore-incompatible")
    before, tasks = incident.secret, incident.tasks
    run = await incident.begun()
    await incident.waiting(run, 60)
    assert any("incompatible-restore" in line for line in incident.thread(run))
    assert incident.tasks == 0
    await incident.click("carol", run, "dr_abort")
    assert await incident.ended(run, 60) == "Aborted"
    assert "The clean-up is done and proven" in incident.thread(run)[-1]
    assert (incident.secret, incident.tasks) == (before, tasks)
    assert ("RestoreDBInstanceToPointInTime", 1) in incident.effects()
    await incident.world.witness.healthy()


async def test_a_copy_with_other_settings_is_reported_before_anybody_waits_for_it(incident: Restoring) -> None:
    await incident.world.faults.put("restore-other-settings")
    run = await incident.begun()
    await incident.waiting(run, 60)
    (said,) = [line for line in incident.thread(run) if "is not set up as shielda-prod is" in line]
    for setting in (
        "subnet group: default, not shielda-private",
        "parameter group: default.",
        "deletion protection: off, not on",
    ):
        assert setting in said
    assert "dr_abort" in incident.buttons(run)
    assert not [line for line in incident.thread(run) if "has recovered" in line]
    await incident.click("carol", run, "dr_abort")
    assert await incident.ended(run, 60) == "Aborted"
    assert (incident.secret, incident.tasks) == (incident.production, 1)


async def test_a_bot_killed_during_the_restore_and_at_the_question_restores_once(incident: Restoring) -> None:
    run = await incident.begun()
    await until(lambda: incident.sent("RestoreDBInstanceToPointInTime"), 60, lambda: incident._state_of(run), every=0.02)
    await incident.revive()
    await incident.asks(run)
    await incident.quiet()
    lines = incident.thread(run)
    await incident.revive()
    await incident.quiet()
    assert incident.thread(run) == lines
    await incident.click("bob", run, "dr_hold_yes")
    assert await incident.ended(run, 90) == "Done", incident.thread(run)
    assert len(incident.sent("RestoreDBInstanceToPointInTime")) == 1
    done = {operation: count for operation, count in incident.effects() if operation != "UpdateService"}
    once = ("CreateDBSnapshot", "RestoreDBInstanceToPointInTime", "ModifyDBInstance", *SECRETS)
    assert done == dict.fromkeys(once, 1)
    assert await incident.leads_to_the_copy()
    assert incident.tasks == 1


async def test_a_lost_answer_about_the_secret_is_read_back(incident: Restoring) -> None:
    incident.world.aws_faults.put("after_drop", operation="UpdateSecretVersionStage")
    run = await incident.begun()
    await incident.asks(run)
    (loss,) = [line for line in incident.thread(run) if "newest commit" in line]
    assert re.search(r"restored to 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d UTC", loss)
    await incident.click("carol", run, "dr_hold_yes")
    assert await incident.ended(run, 90) == "Done", incident.thread(run)
    assert len(incident.sent("UpdateSecretVersionStage")) == 1
    assert ("UpdateSecretVersionStage", 1) in incident.effects()
    assert any("Undo: aws secretsmanager update-secret-version-stage" in line for line in incident.thread(run))
    assert await incident.leads_to_the_copy()
    assert PROD in incident.instances
