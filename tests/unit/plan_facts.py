"""What scenarios have read, made up: every source answers, and a test says what is different."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from actions.aws.deployments import Deployment, Revision, Rollout, Service, StoppedTask
from actions.aws.rds import Instance
from actions.db.diagnosis import Diagnosis
from actions.db.sessions import IdleSession
from actions.health import Health
from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.world import World
from commands import database
from commands.control_plane.seen import Seen
from commands.facts import Fact

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
SITE = Site(
    aws=Aws(region="us-west-2"),
    services={"s": ServiceSection(cluster="c", service="s", log_group="/ecs/c-s", health_url="https://app.example/health")},
    databases={"primary": DatabaseSection(instance="prod")},
)
WORLD = World(SITE)


def fact(value: Any, error: str = "") -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value, error=error)


def missing() -> Fact[Any]:
    return fact(None, "It did not answer.")


def service(*, age: timedelta = timedelta(days=3), rollout: str = "COMPLETED", failed: int = 0, running: int = 2) -> Service:
    primary = Deployment(
        id="ecs-svc/1",
        status="PRIMARY",
        revision="s:7",
        rollout=rollout,
        reason="",
        created_at=NOW - age,
        running=running,
        failed=failed,
    )
    return Service(
        arn="arn:aws:ecs:us-west-2:1:service/c/s",
        status="ACTIVE",
        revision="s:7",
        desired=2,
        running=running,
        pending=0,
        breaker=True,
        rolls_back=True,
        deployments=(primary,),
        events=(),
        at=NOW,
    )


def crash(revision: str = "s:7") -> StoppedTask:
    return StoppedTask(revision=revision, reason="exited", code="EssentialContainerExited", exit_codes=(1,), stopped_at=NOW)


def health(*statuses: int) -> Fact[Any]:
    return fact(Health(url="https://app.example/health", statuses=statuses))


def rollout(revision: str, age: timedelta, status: str = "SUCCESSFUL") -> Rollout:
    name = f"{revision}@{age}"
    return Rollout(arn=name, status=status, reason="", created_at=NOW - age, target=name, revision=revision)


def seen(**other: Any) -> Seen:
    facts = {
        "site": SITE.service(),
        "service": fact(service()),
        "history": fact([]),
        "ours": fact([]),
        "stopped": fact([]),
        "previous": fact(Revision(name="s:6", found_by="service deployments", images=("image",))),
        "lines": fact(()),
        "health": health(504, 504, 504),
        "region_health": None,
        "database": fact(Diagnosis(kind="answers", says="The database answers.")),
    }
    return Seen(**(facts | other))


def instance(**other: Any) -> Instance:
    facts = {"status": "available", "multi_az": True, "zone": "a", "standby_zone": "b", "restorable_to": NOW, "at": NOW}
    return Instance(name="prod", arn="arn:aws:rds:us-west-2:1:db:prod", resource_id="db-1", **(facts | other))


def looked(kind: str = "refused", **other: Any) -> database.Seen:
    facts = {
        "database": SITE.database(),
        "instance": fact(instance()),
        "events": fact([]),
        "alarm": None,
        "diagnosis": fact(Diagnosis(kind=kind, says=f"It is {kind}.")),
        "idle": fact([]),
    }
    return database.Seen(**(facts | other))


def idle(seconds: float, application: str = "report") -> IdleSession:
    return IdleSession(application=application, idle_seconds=seconds, transaction_seconds=seconds + 1)
