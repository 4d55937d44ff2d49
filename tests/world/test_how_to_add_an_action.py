"""docs/how-to-add-an-action.md is true: its action is proven, survives a kill, and is as short as it says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actions.step import Step
from tests.reference import entry
from tests.world.fast_aws import Rig, fast_aws

PAGE = Path(__file__).parents[2] / "docs/how-to-add-an-action.md"
ACTION, TESTS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
AT_MOST = 60  # lines that aren't blank, with the tests

exec(compile(ACTION + TESTS, PAGE, "exec"), globals())  # which defines WANT, and tests that pytest finds here
WANT: Step = globals()["WANT"]
del Step.registry[WANT.kind]  # the page's action is nobody else's


@pytest.fixture(scope="module")
async def shared(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "how-to.sqlite") as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    """AWS with two tasks of the control plane."""
    shared.rehearsal.ecs.scheduler.desired = 2
    await shared.ready()
    return shared


def test_the_action_and_its_tests_are_short() -> None:
    assert len([line for line in (ACTION + TESTS).splitlines() if line.strip()]) < AT_MOST


def test_the_shown_line_and_the_reference_entry_are_the_actions_own() -> None:
    assert f"Here it is `{WANT.command()}`" in PAGE.read_text()
    assert "- permissions: `ecs:UpdateService`, `ecs:DescribeServices`" in list(entry(WANT.kind, type(WANT)))
