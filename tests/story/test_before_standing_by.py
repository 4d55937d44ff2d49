"""What a bot checks before it stands by, and a run that is parked while the bot itself is upgraded."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rehearsal import settings
from rehearsal.machines.launch import launch
from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import Incident

ROOT = Path(__file__).parents[2]


async def serve(world: Rehearsal, **variables: str | None) -> tuple[int, str]:
    """A second bot on the same state with other variables (None: without it): its exit code, and all it printed."""
    environment = {name: value for name, value in (world.bot_environment | variables).items() if value is not None}
    argv = settings.bot_command(world.config, "serve")
    pipe = asyncio.subprocess.PIPE
    process = await launch(*argv, env=environment, stdout=pipe, stderr=pipe, cwd=world.work_dir)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, (out + err).decode()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SLACK_APP_TOKEN": None}, "SLACK_APP_TOKEN is not set"),
        ({"SLACK_APP_TOKEN": "xapp-rehearsal\n"}, "SLACK_APP_TOKEN has a blank or a line break around it"),
        ({"SLACK_APP_TOKEN": "xapp-of-another-app"}, "Slack refuses SLACK_APP_TOKEN (invalid_auth)"),
        ({"SLACK_BOT_TOKEN": "xoxb-of-another-app"}, "Slack refuses SLACK_BOT_TOKEN (invalid_auth)"),
        ({"SLACK_BOT_TOKEN": None}, "SLACK_BOT_TOKEN is not set"),
    ],
)
async def test_a_standby_whose_token_is_no_good_says_so_and_ends(
    incident: Incident, variables: dict[str, str | None], said: str
) -> None:
    code, printed = await serve(incident.world, **variables)
    assert code == 2
    assert said in printed
    assert "standing_by" not in printed
    assert len(printed.strip().splitlines()) == 1


@asynccontextmanager
async def standby(world: Rehearsal, **variables: str) -> AsyncIterator[Path]:
    """A second bot on the same state, while the block lasts; its log."""
    log = world.work_dir / "standby.log"
    log.unlink(missing_ok=True)
    environment = world.bot_environment | variables
    await world.processes.start("standby", settings.bot_command(world.config, "serve"), env=environment, stdout=log)
    try:
        yield log
    finally:
        await world.processes.kill("standby")


async def test_a_standby_waits_while_slack_is_away_and_ends_when_it_turns_out_to_refuse_the_token(incident: Incident) -> None:
    world = incident.world
    incident.slack.faults.outage(60)
    async with standby(world, SLACK_BOT_TOKEN="xoxb-of-another-app") as log:
        await until(lambda: log.exists() and "standing_by" in log.read_text(), 20)
        incident.slack.faults.recover()
        await until(lambda: world.processes.pid("standby") is None, 20)
        assert "Slack refuses SLACK_BOT_TOKEN (invalid_auth)" in log.read_text().splitlines()[-1]
    await until(lambda: incident.slack.sockets.open, 20)


async def test_a_run_that_waits_while_the_bot_is_upgraded_goes_on(incident: Incident, tmp_path: Path) -> None:
    world = incident.world
    world.aws_faults.put("access_denied", operation="UpdateService", times=None)
    run = await incident.approved()
    await incident.waiting(run)
    world.aws_faults.clear()
    await world.processes.stop("bot", grace=10)
    newer(tmp_path)
    argv = settings.bot_command(world.config, "serve")
    await world.processes.start("bot", argv, env=world.bot_environment, stdout=world.work_dir / "bot.log", cwd=tmp_path)
    await until(lambda: incident.slack.sockets.open, 20)
    await incident.click("carol", run, "dr_retry")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == [("UpdateService", 1)]
    await world.processes.stop("bot", grace=10)
    await world.start_bot()


def newer(folder: Path) -> None:
    """A later version of the bot: its workflows' source differs, and with it what the engine would call their version."""
    shutil.copytree(ROOT / "bot", folder / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    runs = folder / "bot" / "engine" / "runs.py"
    text = runs.read_text()
    assert text.count("bind_contextvars(run=run_id)") == 2
    runs.write_text(text.replace("bind_contextvars(run=run_id)", "bind_contextvars(run=run_id, version='next')"))
