"""The shown lines are for people, too: the real AWS CLI takes each of them, and sends what the bot would send.

The CLI is version 2, found as `aws` on the PATH or named by AWS_CLI.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.postgres.pair import ServerPair
from tests.command_line import request_of
from tests.world.action_examples import BUILDERS
from tests.world.aws_world import WEST
from tests.world.fast_aws import Rig, fast_aws
from tests.world.rds_account import KEYS
from tests.world.test_actions_on_the_wire import SECRET, comparable


@pytest.fixture(scope="module")
def aws_cli() -> str:
    """The program."""
    program = os.environ.get("AWS_CLI") or shutil.which("aws") or ""
    if not program:
        pytest.skip("there is no AWS CLI: neither AWS_CLI nor `aws` on the PATH")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("aws-cli/2"):
        pytest.skip(f"the AWS CLI is {version.split()[0]}, and the shown lines are for version 2")
    return program


@pytest.fixture(scope="module")
async def rig(aws_cli: str, work_dirs: Path, servers: ServerPair) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "cli.sqlite", servers=servers) as rig:
        yield rig


@pytest.mark.parametrize("kind", sorted(BUILDERS))
async def test_the_aws_cli_takes_the_shown_line(rig: Rig, aws_cli: str, kind: str, tmp_path: Path) -> None:
    await rig.ready()
    action: Any = await BUILDERS[kind](rig)
    rig.rehearsal.journal.clear()
    _, *words = shlex.split(action.command())
    keys = {"AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"]}
    process = await asyncio.create_subprocess_exec(
        *[aws_cli, *words, "--endpoint-url", rig.rehearsal.endpoints[WEST], "--no-cli-pager"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**keys, "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    (sent,) = rig.rehearsal.journal.calls(changing=True)
    shown = request_of(action.command())
    assert (sent["service"], sent["operation"], sent["result"]) == (shown.service, shown.operation, "ok")
    assert hidden(sent["parameters"]) == hidden(shown.parameters)


def hidden(parameters: Any) -> dict[str, Any]:
    """The parameters in a form that can be compared, without the secret: the journal doesn't keep it."""
    return {name: value for name, value in comparable(dict(parameters)).items() if name != SECRET}
