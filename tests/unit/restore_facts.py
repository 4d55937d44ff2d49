"""Facts before a restore, and the plan that is made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from actions.aws.deployments import Service
from actions.aws.instances import Described
from actions.aws.restore_window import RestoreWindow
from actions.aws.secrets import Leads
from actions.aws.snapshots import Snapshot
from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.step import Step
from actions.world import World
from commands import restore
from commands.facts import Fact
from commands.plan import Plan
from commands.restore import Seen, User
from commands.restore_migrations import Migrated

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
AT = NOW - timedelta(minutes=12)
NAME = "prod-restored-20260115-101800"
ARGUMENTS = {"time": "2026-01-15T10:18:00Z"}
WEB = ServiceSection(cluster="c", service="web", log_group="/web", health_url="https://web.example/health", database_secret="url")
JOBS = ServiceSection(
    cluster="c", service="jobs", log_group="/jobs", health_url="https://jobs.example/health", database_secret="url"
)
SITE = Site(
    aws=Aws(region="us-west-2"), services={"web": WEB}, databases={"primary": DatabaseSection(instance="prod", dsn_env="THE_DSN")}
)
WORLD = World(SITE)


def fact(value: Any) -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value)


def unread() -> Fact[Any]:
    return Fact(source="The source", at=NOW, error="It did not answer.")


def instance(**other: Any) -> Described:
    facts: dict[str, Any] = {
        "status": "available",
        "resource_id": "db-1",
        "host": "prod.example",
        "port": 5432,
        "protected": True,
    }
    facts |= {"tags": {"Environment": "production"}, "unsettled": (), "restorable_to": NOW - timedelta(minutes=3)}
    facts |= {"settings": {"MultiAZ": True, "BackupRetentionPeriod": 7, "MonitoringInterval": 60}}
    return Described(name="prod", **(facts | other))


def service(desired: int = 2) -> Service:
    facts: dict[str, Any] = {"arn": "arn", "status": "ACTIVE", "revision": "web:7", "running": desired, "pending": 0}
    facts |= {"breaker": True, "rolls_back": True, "deployments": (), "events": (), "at": NOW}
    return Service(desired=desired, **facts)


def leads(version: str = "version-1", host: str = "prod.example", port: int = 5432) -> Fact[Any]:
    return fact(Leads(version=version, host=host, port=port))


def user(site: ServiceSection = WEB, *, tasks: int = 2, **other: Any) -> User:
    return User(**({"site": site, "service": fact(service(tasks)), "leads": leads()} | other))


def seen(**other: Any) -> Seen:
    facts = {"database": SITE.database(), "at": AT, "now": NOW, "source": fact(instance()), "snapshots": fact([])}
    facts["migrations"] = Migrated()
    facts["window"] = fact(RestoreWindow(earliest=NOW - timedelta(days=9), latest=NOW))
    return Seen(**(facts | {"users": (user(),), "name": NAME} | other))


def plan(world: World = WORLD, **other: Any) -> Plan:
    return restore.plan_for(world, seen(**other), ARGUMENTS)


def steps(found: Plan, kind: type[Step]) -> list[Any]:
    return [step for _, step in found.steps() if isinstance(step, kind)]


def snapshot(name: str) -> Snapshot:
    facts: dict[str, Any] = {"kind": "manual", "status": "available", "percent": 100, "instance": "prod", "resource_id": "db-1"}
    return Snapshot(name=name, taken_at=NOW, encrypted=True, tags={}, **facts)
