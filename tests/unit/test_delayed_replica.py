"""What a delayed replica means for a restore: still without the damage, too late, or nothing at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.db.delayed import Delay
from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.values import Level
from actions.world import World
from commands.delayed_replica import delay_findings, read_delay
from commands.facts import Fact

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
AT = NOW - timedelta(minutes=12)
WEB = ServiceSection(cluster="c", service="web", log_group="/web", health_url="https://web.example/health")
DATABASES = {
    "primary": DatabaseSection(instance="prod", replica="late"),
    "late": DatabaseSection(instance="prod-late", dsn_env="LATE_URL"),
}
WORLD = World(Site(aws=Aws(region="us-west-2"), services={"web": WEB}, databases=DATABASES))


def found(seconds: float, ago: float | None) -> Fact[Delay]:
    stands = None if ago is None else NOW - timedelta(minutes=ago)
    return Fact(source="The replica late", at=NOW, value=Delay(seconds=seconds, stands_at=stands, now=NOW))


def told(fact: Fact[Delay] | None) -> list[tuple[Level, str, str]]:
    return [(one.level, one.says, one.evidence) for one in delay_findings(WORLD, WORLD.site.database("primary"), fact, AT)]


def test_a_replica_that_stands_before_the_damage_is_minutes_away() -> None:
    ((level, says, evidence),) = told(found(3600, 60))
    assert level is Level.WARN
    assert says.startswith(
        "prod-late is a replica that is delayed by 60.0 min on purpose. It stands at 2026-01-15 09:30:00 UTC, before that moment."
    )
    assert evidence == 'psql "$LATE_URL" -c "SELECT pg_wal_replay_pause()"'


def test_a_replica_that_has_replayed_the_damage_is_said_to_be_too_late() -> None:
    ((level, says, _),) = told(found(300, 5))
    assert (level, "after that moment, so it has replayed what this restore gives up" in says) == (Level.OK, True)


@pytest.mark.parametrize("fact", [None, found(0, 1), found(60, None)])
def test_a_replica_that_is_not_delayed_is_not_mentioned(fact: Any) -> None:
    assert told(fact) == []


async def test_a_replica_that_cannot_be_read_is_said() -> None:
    fact = await read_delay(WORLD, WORLD.site.database("primary"))
    assert fact
    ((_, says, evidence),) = told(fact)
    assert says.startswith("The replica late could not be read")
    assert "LATE_URL" in evidence
