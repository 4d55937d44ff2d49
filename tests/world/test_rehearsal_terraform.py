"""The stand-in for terraform: it refuses what terraform refuses, in the same words, and always says what it is."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from rehearsal.terraform.stack import Stack, stand_in_argv
from rehearsal.terraform.stand_in import LABEL
from rehearsal.waiting import until
from tests.world.aws_world import EAST, LocalAws

PLAN = ("plan", "-input=false", "-out=go.tfplan", "-lock-timeout=0s")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack whose AWS nobody is: its provisioner can only fail."""
    stack = Stack(tmp_path / "terraform")
    stack.renew(endpoint="http://127.0.0.1:1", region=EAST)
    stack.break_provisioner()
    return stack


async def run(stack: Stack, *words: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    argv, pipe = [*stand_in_argv(), f"-chdir={stack.folder}", *words], asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_stand_in_makes_the_service_once_and_finds_nothing_left(tmp_path: Path) -> None:
    async with LocalAws(two_regions=True) as aws:
        assert aws.second
        stack = Stack(tmp_path / "terraform")
        stack.renew(endpoint=aws.endpoints[EAST], region=EAST)
        for words in (("init", "-input=false"), ("workspace", "select", "dr")):
            assert (await run(stack, *words))[0] == 0
        code, says = await run(stack, *PLAN, "-detailed-exitcode")
        assert (code, LABEL in says, "2 to add, 0 to change, 0 to destroy." in says) == (2, True, True)
        plan = json.loads((await run(stack, "show", "-json", "go.tfplan"))[1])
        assert [one["change"]["actions"] for one in plan["resource_changes"]] == [["create"], ["create"]]
        code, says = await run(stack, "apply", "-input=false", "go.tfplan")
        assert (code, "Resources: 2 added, 0 changed, 0 destroyed." in says) == (0, True)
        balancer = aws.second.balancer
        await until(lambda: balancer.targets, 20, "a healthy service")
        assert (await run(stack, *PLAN, "-detailed-exitcode"))[0] == 0
        code, says = await run(stack, "apply", "go.tfplan")
        assert code == 0  # it is empty: nothing was left to do
        assert [effect["count"] for effect in aws.journal.effects(source="terraform")] == [1]


async def test_the_stand_in_refuses_what_terraform_refuses(stack: Stack) -> None:
    assert "doesn't exist" in (await run(stack, "workspace", "select", "nobody"))[1]
    await run(stack, "workspace", "select", "dr")
    await run(stack, *PLAN)
    stack.lock()
    code, says = await run(stack, *PLAN)
    assert (code, "Error acquiring the state lock" in says, "carol@carols-laptop" in says) == (1, True, True)
    stack.unlock()
    code, says = await run(stack, "apply", "go.tfplan")
    assert (code, "local-exec provisioner error" in says) == (1, True)
    code, says = await run(stack, "apply", "go.tfplan")
    assert (code, "Saved plan is stale" in says) == (1, True)
    await run(stack, "workspace", "select", "default")
    assert "different state lineage" in (await run(stack, "apply", "go.tfplan"))[1]
