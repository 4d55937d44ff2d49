"""What the tests against real servers share: one pair of database servers per session, and a fresh AWS for each test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from tests.conftest import SetVariable
from tests.world.aws_world import LocalAws
from tests.world.outbox_world import Told, open_told
from tests.world.rds_account import Account, rds_account
from tests.world.slack_world import SlackWorld, slack_world


@pytest.fixture(scope="session")
async def processes(work_dirs: Path) -> AsyncIterator[Processes]:
    """The processes of this session."""
    async with Processes(work_dirs / "processes.json") as processes:
        yield processes


@pytest.fixture(scope="session")
async def servers(work_dirs: Path, cache: Path, processes: Processes) -> AsyncIterator[ServerPair]:
    """The database servers of this session."""
    async with ServerPair(processes, work_dirs / "postgres", cache=cache) as servers:
        yield servers


@pytest.fixture
async def database(servers: ServerPair) -> AsyncIterator[ServerPair]:
    """The database servers, healthy before and after the test."""
    yield servers
    await servers.heal()
    await servers.redundant()


@pytest.fixture(scope="session")
async def shared_account(servers: ServerPair) -> AsyncIterator[Account]:
    """An AWS account with RDS, in which the database servers of this session are production."""
    async with rds_account(servers) as account:
        yield account


@pytest.fixture
async def account(shared_account: Account, database: ServerPair) -> AsyncIterator[Account]:
    """The account with production only, before and after the test."""
    await shared_account.rds.reset()
    yield shared_account
    await shared_account.rds.production.settled()
    shared_account.rds.heal()
    await shared_account.rds.reset()


@pytest.fixture
async def aws() -> AsyncIterator[LocalAws]:
    """AWS without any service deployed."""
    async with LocalAws() as aws:
        yield aws


@pytest.fixture
async def deployed(aws: LocalAws) -> LocalAws:
    """AWS with control-plane:7 running."""
    await aws.ecs.start(7)
    return aws


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of moto's own server, empty at first: it says of a request whether its parameters exist and fit."""
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    address = next(line.split()[-1] for line in process.stderr if "Running on http" in line)
    yield address
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.fixture(name="world")
async def slack() -> AsyncIterator[SlackWorld]:
    """Slack with a small bot connected to it."""
    async with slack_world() as world:
        yield world


@pytest.fixture
async def told(tmp_path: Path, set_variable: SetVariable) -> AsyncIterator[Told]:
    """A workspace and an empty store, from which an outbox tells it."""
    set_variable("SLACK_BOT_TOKEN", "xoxb-rehearsal")
    async with open_told(tmp_path) as told:
        yield told
