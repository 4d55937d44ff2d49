"""The IAM policies of docs/permissions.md are what the steps use: no step needs more, and nothing is allowed that none uses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from actions.aws import backups
from actions.step import Step
from commands.verify import TAG
from tests import catalogue
from tests.unit.test_actions import KINDS, example

assert catalogue  # importing it registers every step
PAGE = (Path(__file__).parents[2] / "docs/permissions.md").read_text()
OURS = ("postgresql:", "http:", "ssh:", "dns:", "terraform:")  # rights that aren't IAM's
BY_READS = {"sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy"}  # of `dr check` and of collecting facts
FACTS = re.compile(r"\w+:(Describe|List|Filter|Get)\w+")


def statements() -> list[dict[str, Any]]:
    """The statements of all policies on the page."""
    found = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    return [one for block in found for one in (block if isinstance(block, list) else [block])]


def allowed() -> set[str]:
    """The actions that the policies allow."""
    listed = [one["Action"] for one in statements() if one["Effect"] == "Allow"]
    return {action for actions in listed for action in ([actions] if isinstance(actions, str) else actions)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_policies_allow_what_a_step_needs(kind: str) -> None:
    needed = {permission for permission in example(kind).permissions if not permission.startswith(OURS)}
    assert needed <= allowed()


def test_the_policies_allow_what_the_reports_read() -> None:
    assert set(backups.PERMISSIONS) <= allowed()


def test_the_policies_allow_no_change_that_no_step_makes() -> None:
    used = {permission for kind in KINDS for permission in example(kind).permissions}
    assert {action for action in allowed() - used - BY_READS if not FACTS.fullmatch(action)} == set()


def test_what_is_deleted_or_changed_must_carry_our_tag() -> None:
    """And what a verification made may only be deleted: its tag key is another one."""
    found = {"rds:DeleteDBInstance": set[str](), "rds:ModifyDBInstance": set[str]()}
    for one in statements():
        named = {one["Action"]} if isinstance(one["Action"], str) else {*one["Action"]}
        for action in set(found) & named if one["Effect"] == "Allow" else ():
            ((test, (tag,)),) = one["Condition"].items()
            assert (test, one["Condition"][test][tag]) == ("StringLike", "*")
            found[action].add(tag)
    ours, verified = "aws:ResourceTag/dr-run", f"aws:ResourceTag/{TAG}"
    assert found == {"rds:DeleteDBInstance": {ours, verified}, "rds:ModifyDBInstance": {ours}}
    assert "rds.drop_instance" in Step.registry
