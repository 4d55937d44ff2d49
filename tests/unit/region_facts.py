"""Facts of two regions, and the plan that is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from actions.aws.deployments import Service
from actions.aws.promotion import ReplicaSeen
from actions.aws.route53 import Record
from actions.db.diagnosis import State
from actions.db.heartbeat import Beat
from actions.db.replication import Replica
from actions.db.rhythm import Rhythm
from actions.kept import Kept
from actions.site import Aws, DatabaseSection, Dns, ServiceSection, Site
from actions.step import Step
from actions.world import World
from commands import region
from commands.facts import Fact
from commands.plan import Plan
from commands.region.meant import Meant
from commands.region.seen import Name, Seen, User
from commands.region.stability import whole

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
WEB = ServiceSection(
    cluster="c", service="web", log_group="/web", health_url="https://app.example/health",
    region_health_url="https://west.example/health", dr_health_url="https://east.example/health", terraform_dir="/srv/stack",
)  # fmt: skip
DNS = Dns(zone="example.dev", name="app.example.dev", primary="west.example", dr="east.example")
SITE = Site(
    aws=Aws(region="us-west-2", dr_region="us-east-1"),
    services={"web": WEB},
    databases={
        "primary": DatabaseSection(instance="prod", replica="replica", heartbeat_table="dr_heartbeat"),
        "replica": DatabaseSection(instance="prod-east", region="us-east-1", dsn_env="DR_DATABASE_URL"),
    },
    dns=DNS,
)
WORLD = World(SITE)
WEST, EAST = whole("us-west-2"), whole("us-east-1")
DEAD: Fact[Any] = Fact(source="The source", at=NOW, error="It did not answer.")


def fact(value: Any) -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def instance(**other: Any) -> ReplicaSeen:
    facts: dict[str, Any] = {"status": "available", "source": "", "arn": "arn", "resource_id": "db-1", "replicas": ("arn",)}
    return ReplicaSeen(**(facts | {"retention": 7, "multi_az": True, "settings": {}, "tags": {}} | other))


def position(**other: Any) -> Replica:
    facts: dict[str, Any] = {"now": NOW, "in_recovery": True, "received": 9000, "replayed": 9000, "replayed_at": ago(30)}
    return Replica(**(facts | {"heard_at": ago(29)} | other))


def state(**other: Any) -> State:
    facts: dict[str, Any] = {"in_recovery": False, "read_only": False, "started_at": NOW, "slots": 9, "kept": 0, "used": 1}
    return State(**(facts | {"oldest_transaction": 0.0} | other))


def service(desired: int = 2) -> Service:
    facts: dict[str, Any] = {"arn": "arn", "status": "ACTIVE", "revision": "web:7", "running": desired, "pending": 0}
    facts |= {"breaker": True, "rolls_back": True, "deployments": (), "events": (), "at": NOW}
    return Service(desired=desired, **facts)


def rhythm(*, failing: float | None = 27.0) -> Rhythm:
    """A beat every 5 s until 32 s ago, with 40 rows a second."""
    beats = tuple(Beat(at=ago(32 + 5 * n), flushed=9000 - n, rows=10_000 - 200 * n) for n in reversed(range(5)))
    return Rhythm(beats=beats, failing_since=ago(failing) if failing is not None else None)


def seen(*, alive: bool = False, **other: Any) -> Seen:
    """What is seen when the primary region is dead; or alive, and then nothing is wrong."""
    there = fact(service()) if alive else DEAD
    health = fact(200) if alive else DEAD
    user = User(site=WEB, service=there, dr_service=DEAD, health=health, region_health=health, dr_leads=None)
    facts: dict[str, Any] = {
        "meant": Meant.of(SITE, SITE.database()),
        "now": NOW,
        "instance": fact(instance()) if alive else DEAD,
        "server": fact(state()) if alive else DEAD,
        "replica": fact(instance(source="arn:prod", multi_az=False, retention=0)),
        "position": fact(position()),
        "users": (user,),
        "name": fact(Name(settings=DNS, zone="Z1", records=(Record(values=("west.example",), ttl=60),))),
        "rhythm": rhythm(failing=None if alive else 27.0),
        "kept": Kept(name="region of primary", at=NOW, facts={"tasks": {"web": 2}, "rows": {"public.organizations": 40}}),
    }
    return Seen(**(facts | other))


def plan(found: Seen | None = None, **arguments: str) -> Plan:
    return region.plan_for(WORLD, found or seen(), arguments)


def kinds(found: Plan) -> list[str]:
    return [step.kind for _, step in found.steps()]


def of(found: Plan, kind: type[Step]) -> Iterator[Any]:
    return (step for _, step in found.steps() if isinstance(step, kind))
