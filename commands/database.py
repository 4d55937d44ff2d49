"""Scenario 2, database failure: first find out what is wrong, then fail over, end idle sessions, or only watch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from actions.aws import cloudwatch, rds
from actions.aws.cloudwatch import Alarm
from actions.aws.rds import FailOver, FailoverFinished, Instance
from actions.db.health import ConnectionsFree, DatabaseWrites, PrimaryServes
from actions.db.sessions import EndIdleSessions, IdleSession, idle_sessions
from actions.health import HealthAnswers
from actions.site import DatabaseRef
from actions.values import Finding, Json, count, ok, stop, warn
from actions.world import World
from commands.facts import Fact, read
from commands.plan import Plan, Stage, spelled
from commands.scenario import scenario, suggest
from commands.shared import chosen_database, given, if_the_region_is_down

if TYPE_CHECKING:
    from actions.db.diagnosis import Diagnosis

FAILOVER = "database failover"
IDLE_FOR = 60
LIMITS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # on how many sessions a plan may end
NOT_CURED = {  # what no failover cures, and what does
    "dns": "A failover changes no name: look at the DSN's host and at the resolver",
    "tls": "A failover changes no certificate: look at sslmode, sslrootcert and the host in the DSN",
    "auth": "A failover changes no password; look at the role, the password and the database name in the DSN",
}

SLOTS_USED_UP = "No connection slot is free. A failover does not cure that: the applications would take them all again."
COSTS = {
    "failover": (
        "All connections are cut. No write is taken for 60 to 120 s, which AWS gives as typical; long recovery takes longer.",
        "Nothing that was acknowledged is lost: the standby is synchronous. Transactions in flight are rolled back.",
    ),
    "end idle sessions": (
        "The transaction of each ended session is rolled back; its application sees a lost connection.",
        "Whatever opened these sessions can open them again: look for it.",
    ),
    "watch": ("Nothing is changed.",),
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read about the database. The idle sessions are asked for only if no slot is free."""

    database: DatabaseRef
    instance: Fact[Instance]
    events: Fact[list[rds.Event]]
    alarm: Fact[Alarm] | None
    diagnosis: Fact[Diagnosis]
    idle: Fact[list[IdleSession]] | None

    @property
    def kind(self) -> str:
        """The diagnosis in a word; "unknown" if there is none."""
        return self.diagnosis.value.kind if self.diagnosis.value else "unknown"

    @property
    def sessions(self) -> list[IdleSession] | None:
        """The idle sessions, the longest first; None if they are not known."""
        return self.idle.value if self.idle else None

    @property
    def failing_over(self) -> bool:
        """Whether RDS is failing over or rebooting by now."""
        rebooting = self.instance.value is not None and self.instance.value.status == "rebooting"
        return rebooting or rds.under_way(self.events.value or [])


@scenario(FAILOVER)
async def failover(world: World, *, database: str = "", idle_for: int = IDLE_FOR) -> Plan:
    """Bring the database back: fail over to the standby, or end idle sessions if no connection slot is left."""
    meant = chosen_database(world, database)
    arguments = given(database=database, idle_for=idle_for if idle_for != IDLE_FOR else "")
    return replace(plan_for(world, await look(world, meant), idle_for, database), arguments=arguments)


async def look(world: World, database: DatabaseRef) -> Seen:
    """Read all sources at once."""
    name, region = database.instance, database.region
    since, rds_there = datetime.now(UTC) - timedelta(minutes=60), f"RDS in {region}"
    async with asyncio.TaskGroup() as group:
        instance = group.create_task(read("RDS", rds.describe_instance(world, name, region), of=rds_there))
        events = group.create_task(read("RDS events", rds.events(world, name, region, since=since), of=rds_there))
        alarm = group.create_task(_alarm(world, database))
        server = group.create_task(_diagnose(world, database))
    diagnosis, idle = server.result()
    return Seen(
        database=database,
        instance=instance.result(),
        events=events.result(),
        alarm=alarm.result(),
        diagnosis=diagnosis,
        idle=idle,
    )


def plan_for(world: World, seen: Seen, idle_for: int, asked: str = "") -> Plan:
    """The plan for what was seen: watch a failover, end idle sessions, or fail over. `asked` is what `database=` said."""
    rule = "watch" if seen.failing_over else "end idle sessions" if seen.kind == "slots used up" else "failover"
    stages, findings, why = {
        "watch": (_watch(world, seen), _watch_findings(seen), "A failover is under way already, so nothing is asked of RDS."),
        "end idle sessions": (_end_sessions(world, seen, idle_for), _session_findings(seen, idle_for), SLOTS_USED_UP),
        "failover": (_fail_over(world, seen), _failover_findings(seen), f"{_said(seen)} A failover promotes the standby."),
    }[rule]
    first = next(iter(stages[0]), None)
    return Plan(
        scenario=FAILOVER,
        title=first.title if first else "End idle sessions",
        substitute=rule != "failover",
        interrupts="a working database" if rule == "failover" and seen.kind == "answers" else "",
        arguments={},
        why=why,
        target=str(seen.database),
        stages=tuple(stage for stage in stages if stage),
        basis=_basis(seen, rule),
        identity=_identity(seen),
        findings=(*findings, *_findings(seen)),
        cost=COSTS[rule],
        loss_seconds=0.0,
        fallback=spelled("database restore", given(time="latest", database=asked)) if rule == "failover" else "",
    )


def _basis(seen: Seen, rule: str) -> dict[str, Json]:
    instance = seen.instance.value
    if rule != "failover":
        return {"rule": rule}
    return {
        "rule": rule,
        "multi_az": instance.multi_az if instance else None,
        "zone": instance.zone if instance else None,
        "standby": instance.standby_zone if instance else None,
    }


def _identity(seen: Seen) -> dict[str, str]:
    """Which database this is, by what is never used twice; "" for what could not be read."""
    instance, state = seen.instance.value, seen.diagnosis.value.state if seen.diagnosis.value else None
    return {
        "ARN": instance.arn if instance else "",
        "DbiResourceId": instance.resource_id if instance else "",
        "system_identifier": state.system_identifier if state else "",
    }


def _fail_over(world: World, seen: Seen) -> tuple[Stage, ...]:
    return ((FailOver(database=seen.database),), _serving(world, seen))


def _watch(world: World, seen: Seen) -> tuple[Stage, ...]:
    return ((FailoverFinished(database=seen.database),), _serving(world, seen))


def _end_sessions(world: World, seen: Seen, idle_for: int) -> tuple[Stage, ...]:
    matching = _matching(seen, idle_for)
    step = EndIdleSessions(
        database=seen.database,
        applications=tuple(sorted({session.application for session in matching})),
        idle_for_seconds=idle_for,
        at_most=_at_most(len(matching)),
    )
    free = (DatabaseWrites(database=seen.database), ConnectionsFree(database=seen.database))
    return ((step,) if matching else (), (*free, *_health(world, seen)))


def _at_most(count: int) -> int:
    """The round number above a count: sessions come and go, and a plan should not change with each until it is approved."""
    return next((limit for limit in LIMITS if count <= limit), count)


def _serving(world: World, seen: Seen) -> Stage:
    return (DatabaseWrites(database=seen.database), PrimaryServes(database=seen.database), *_health(world, seen))


def _health(world: World, seen: Seen) -> Stage:
    return tuple(HealthAnswers(url=service.health_url) for service in world.site.users_of(seen.database))


def _matching(seen: Seen, idle_for: int) -> list[IdleSession]:
    return [session for session in seen.sessions or [] if session.idle_seconds >= idle_for]


def _failover_findings(seen: Seen) -> Iterator[Finding]:
    instance = seen.instance.value
    if instance is None:
        yield stop(f"RDS could not be read, so no failover can be asked for. {if_the_region_is_down()}", seen.instance.error)
    elif not instance.multi_az:
        by_hand = "restore it by hand to a point in time (aws rds restore-db-instance-to-point-in-time)"
        restore = suggest("database restore time=latest", by_hand)
        yield stop(f"{instance.name} is not Multi-AZ, so there is no standby to fail over to; {restore} instead.")
    elif instance.status != "available":
        yield stop(
            f"{instance.name} is {instance.status}, and RDS fails over only an available instance; wait, or look at its events."
        )
    else:
        yield ok(f"{instance.name} is available in {instance.zone}, with a standby in {instance.standby_zone or 'another zone'}.")
    if seen.kind in NOT_CURED:
        yield stop(f"{_said(seen)} {NOT_CURED[seen.kind]}.", _evidence(seen))
    elif seen.kind == "answers":
        yield warn(f"{_said(seen)} Failing over interrupts it for 60 to 120 s.", _evidence(seen))
    elif seen.kind == "starting":
        yield warn(f"{_said(seen)} It may come back by itself sooner than a failover would bring it.", _evidence(seen))
    elif seen.diagnosis.known:
        yield warn(f"{_said(seen)} This is the symptom.", _evidence(seen))


def _session_findings(seen: Seen, idle_for: int) -> Iterator[Finding]:
    yield warn(f"{_said(seen)} This is the symptom.", _evidence(seen))
    sessions, matching = seen.sessions, _matching(seen, idle_for)
    if sessions is None:
        says = (
            "The sessions can't be listed, so none can be ended. If our role gets no slot, grant it pg_use_reserved_connections"
        )
        yield stop(
            f"{says}. To free the control plane's own sessions, {_restart_anyway()}.",
            seen.idle.error if seen.idle else "",
        )
    elif matching:
        by_application = Counter(session.application or "(no name)" for session in matching)
        counted = ", ".join(f"{number} of {name}" for name, number in by_application.most_common())
        oldest = max(session.transaction_seconds for session in matching)
        idle = count(len(matching), "session has", "sessions have")
        says = f"{idle} been idle in a transaction for {idle_for} s or longer: {counted}."
        yield warn(says, f"The oldest transaction is {oldest:.0f} s old.")
    elif sessions:
        longest = int(sessions[0].idle_seconds)
        idle = count(len(sessions), "session is", "sessions are")
        says = f"{idle} idle in a transaction, none of them for {idle_for} s; the longest for {longest} s."
        yield stop(f"{says} Plan again with `/dr {FAILOVER} idle_for={max(longest // 2, 1)}`, or wait.")
    else:
        says = "No session is idle in a transaction, so none can be ended without breaking work under way."
        yield stop(f"{says} To free the control plane's own sessions, {_restart_anyway()}.")


def _watch_findings(seen: Seen) -> Iterator[Finding]:
    instance = seen.instance.value
    newest = f"{seen.events.value[-1].message}" if seen.events.value else ""
    if instance is not None:
        yield ok(f"{instance.name} is {instance.status}; a failover is under way, and a second one would lead back.", newest)
    if seen.diagnosis.known:
        yield ok(_said(seen), _evidence(seen))


def _findings(seen: Seen) -> Iterator[Finding]:
    """What is worth knowing under each rule."""
    alarm = seen.alarm.value if seen.alarm else None
    if alarm is not None:
        yield (warn if alarm.state == "ALARM" else ok)(f"Alarm {alarm.name} is in state {alarm.state}.", alarm.reason)
    state, instance = (seen.diagnosis.value.state if seen.diagnosis.value else None), seen.instance.value
    if state is not None:
        says = f"{state.usage}; the oldest transaction is {state.oldest_transaction:.0f} s old."
        yield (warn if state.free_percent < 20 else ok)(says)
    if instance is not None and instance.restorable_to is not None:
        behind = max((instance.at - instance.restorable_to).total_seconds() / 60, 0.0)
        yield ok(f"A restore could go up to {instance.restorable_to:%H:%M:%S} UTC, {behind:.0f} min ago.")
    if seen.events.value:
        yield ok("RDS has events of the last hour.", " | ".join(f"{e.at:%H:%M:%S} {e.message}" for e in seen.events.value[-4:]))
    for fact in (seen.events, seen.alarm, seen.diagnosis):
        if fact is not None and not fact.known:
            yield fact.missing()


async def _diagnose(world: World, database: DatabaseRef) -> tuple[Fact[Diagnosis], Fact[list[IdleSession]] | None]:
    """What is the matter and, if no slot is free, who holds them: over one connection at a time, for few are reserved."""
    server = f"The server of {database}"  # which answers slowly when it has few slots
    diagnosis = await read("The database", world.database(database).diagnose(), of=server)
    if diagnosis.value is None or diagnosis.value.kind != "slots used up":
        return diagnosis, None
    return diagnosis, await read("The list of sessions", idle_sessions(world, database), of=server)


async def _alarm(world: World, database: DatabaseRef) -> Fact[Alarm] | None:
    name = world.site.databases[database.name].alarm
    return await read(f"Alarm {name}", cloudwatch.alarm(world, name, database.region)) if name else None


def _restart_anyway() -> str:
    return suggest("control-plane restart anyway=yes", "restart the control plane by hand")


def _said(seen: Seen) -> str:
    return seen.diagnosis.value.says if seen.diagnosis.value else "We can't tell what is the matter with the database."


def _evidence(seen: Seen) -> str:
    return seen.diagnosis.value.evidence if seen.diagnosis.value else seen.diagnosis.error
