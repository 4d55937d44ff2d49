"""What a verification left behind is dropped after an approval; nothing else is, whatever it is called."""

from __future__ import annotations

from typing import Any

import pytest

from actions.aws.drops import DropInstance
from commands import left_over
from commands.facts import Fact
from commands.plan import Plan
from commands.scenario import BadCommand
from tests.unit.test_verify import SITE, WORLD, fact, instance, unread

OLD = "prod-verify-20260108-1"
MINE = {"tags": {"dr-verify": OLD}, "protected": False}


def plan(found: Fact[Any]) -> Plan:
    return left_over.plan_for(WORLD, SITE.database(), OLD, found, {"instance": OLD})


def test_a_left_over_is_dropped_by_its_own_tag_once_its_name_is_typed() -> None:
    found = plan(fact(instance(OLD, **MINE)))
    assert found.stages == ((DropInstance(instance=OLD, region="us-west-2", tag=f"dr-verify={OLD}"),),)
    assert (found.confirm, found.target) == (OLD, "backups of database prod"), "no verification may be under way"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (unread(), "RDS could not be read"),
        (fact(None), "has no instance"),
        (fact(instance(OLD, tags={"dr-run": OLD}, protected=False)), "no verification made it. It is left alone."),
        (fact(instance(OLD, **(MINE | {"protected": True}))), "has deletion protection: somebody may need it"),
    ],
)
def test_what_is_no_left_over_stays(found: Fact[Any], says: str) -> None:
    made = plan(found)
    assert (made.stages, [says in one.says for one in made.forbidden]) == ((), [True])


def test_a_database_of_the_settings_is_never_a_left_over() -> None:
    made = left_over.plan_for(WORLD, SITE.database(), "prod", fact(instance("prod", **MINE)), {"instance": "prod"})
    assert (made.stages, "is a database of dr.toml" in made.forbidden[0].says) == ((), True)


async def test_without_a_name_nothing_is_asked() -> None:
    with pytest.raises(BadCommand, match="needs the instance"):
        await left_over.drop(WORLD)
