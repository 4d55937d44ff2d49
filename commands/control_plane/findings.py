"""What the facts about the control plane mean, as findings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from actions.aws import logs
from actions.aws.deployments import StoppedTask, failure_reasons
from actions.aws.logs import LogLine
from actions.values import Finding, count, ok, stop, warn
from commands.control_plane.seen import RESTART, Seen, health_said, revision
from commands.scenario import suggest
from commands.shared import if_the_region_is_down

LOG_WINDOW = timedelta(minutes=logs.MINUTES)
LONGEST_LINE = 1000  # characters of a log line that are quoted


def database_findings(seen: Seen, anyway: bool) -> Iterator[Finding]:
    """What the database has to do with it; it stops a restart that cannot help, unless that is wanted anyway."""
    diagnosis = seen.database.value
    if diagnosis is None:
        return
    if diagnosis.answers:
        yield ok(diagnosis.says, diagnosis.evidence)
    elif not seen.database_down:
        yield warn(f"{diagnosis.says} That may be our own access and not the control plane's.", diagnosis.evidence)
    elif anyway:
        first = suggest("database failover", "bring the database back by hand")
        yield warn(f"{diagnosis.says} The health check cannot pass before it does; {first} as well.", diagnosis.evidence)
    else:
        first = suggest("database failover", "bring the database back by hand")
        says = f"{diagnosis.says} The control plane is down because of it, so {first} instead"
        yield stop(f"{says}; or restart all the same with `/dr {RESTART} anyway=yes`.", diagnosis.evidence)


def findings(seen: Seen) -> Iterator[Finding]:
    """What is worth knowing before a restart and before a rollback."""
    yield from _service_findings(seen)
    yield from _task_findings(seen)
    yield from _health_findings(seen)
    yield from _log_findings(seen)
    for fact in (seen.history, seen.ours, seen.stopped, seen.previous, seen.lines, seen.database):
        if not fact.known:
            yield fact.missing()


def _service_findings(seen: Seen) -> Iterator[Finding]:
    service = seen.service.value
    if service is None:
        yield stop(f"ECS could not be read, so nothing can be deployed. {if_the_region_is_down()}", seen.service.error)
        return
    if service.status != "ACTIVE":
        yield stop(f"ECS says that the service is {service.status}; look at [services.NAME] cluster and service.")
        return
    says = f"{service.running} of {count(service.desired, 'task')} running on {service.revision}, {service.pending} pending."
    yield (ok if service.running >= service.desired else warn)(says, " | ".join(service.events))
    if service.desired == 0:
        yield stop("The desired count is 0: somebody scaled the service down, and a deployment starts nothing.")
    primary = service.primary
    if primary and primary.rollout == "IN_PROGRESS":
        yield warn(f"A deployment of {primary.revision} is under way already, and a new one replaces it.", primary.reason)
    if not service.rolls_back:
        yield warn("The service's circuit breaker does not roll back: should this deployment fail, ECS goes on trying.")


def _task_findings(seen: Seen) -> Iterator[Finding]:
    now, before = _by_deployment(seen)
    if reasons := failure_reasons(now):
        yield warn(f"Tasks of this deployment have failed: {reasons}.")
    if reasons := failure_reasons(before):
        yield warn(f"Tasks failed before this deployment: {reasons}.")
    for record in (seen.history.value or [])[:1]:
        if record.status not in ("SUCCESSFUL", "IN_PROGRESS", "PENDING"):
            of = f" of {record.revision}" if record.revision else ""
            yield warn(
                f"The newest deployment{of} ended as {record.status} (begun at {_clock(record.created_at)}).", record.reason
            )


def _by_deployment(seen: Seen) -> tuple[list[StoppedTask], list[StoppedTask]]:
    """The tasks that stopped in the last hour: those of the present deployment, and what came before it."""
    primary = seen.suspect.primary if seen.suspect else None
    tasks = seen.stopped.value or []
    if primary is None:
        return tasks, []
    now = [task for task in tasks if task.revision == primary.revision and task.stopped_at >= primary.created_at]
    return now, [task for task in tasks if task not in now]


def _health_findings(seen: Seen) -> Iterator[Finding]:
    error = seen.health.value.error if seen.health.value else seen.health.error
    if seen.healthy:
        yield warn(f"{health_said(seen)} Nothing seems to be down.", error)
    else:
        yield warn(f"{health_said(seen)} This is the symptom.", error)
    inside = seen.region_health
    if inside is None:
        return
    if seen.healthy_inside and not seen.healthy:
        yield warn("The region's own address is healthy while the public name is not: the fault may be DNS or the edge.")
    elif inside.value is None:
        yield inside.missing()
    elif not inside.value.good:
        yield warn(
            f"The region's own address is not healthy{'' if seen.healthy else ' either'}: {inside.value.says}", inside.value.error
        )


def _log_findings(seen: Seen) -> Iterator[Finding]:
    """What the log says since the present deployment began; older lines are told apart, because it did not cause them."""
    lines = seen.lines.value
    if lines is None:
        return
    began = seen.suspect.primary.created_at if seen.suspect else None
    when, since = "in the last 15 min", list(lines)
    if began is not None and began > seen.lines.at - LOG_WINDOW:
        when, since = f"since this deployment began at {_clock(began)}", [line for line in lines if line.at >= began]
    bad, old = (
        [line for line in since if line.troubled],
        sum(line.troubled for line in lines) - sum(line.troubled for line in since),
    )
    if not since:
        yield warn(f"The log has no line {when}.")
    if bad:
        speak = f"{len(bad)} of {count(len(since), 'log line')} {when} {'speaks' if len(bad) == 1 else 'speak'} of errors."
        yield warn(speak, " | ".join(map(_quoted, bad[-3:])))
    if old:
        yield warn(f"{count(old, 'log line')} from before this deployment spoke of errors, too; they are not its doing.")


def _quoted(line: LogLine) -> str:
    """A log line with its time; of a very long one the beginning, and how much more there is."""
    message, more = line.message[:LONGEST_LINE], len(line.message) - LONGEST_LINE
    return f"{_clock(line.at)} {message}" + (f" (and {more} more characters in the log)" if more > 0 else "")


def revision_findings(seen: Seen) -> Iterator[Finding]:
    """What one would roll back to, and whether that is a good idea."""
    previous = seen.previous.value
    if previous is None:
        yield stop("No earlier completed revision was found, so there is nothing to roll back to.", seen.previous.error)
        return
    yield ok(f"{previous.name} is the newest completed revision before {revision(seen)} (from the {previous.found_by}).")
    if seen.suspect is not None and seen.suspect.served_before:
        yield warn(f"{revision(seen)} is known to work: it served before this deployment, so it may not be the cause.")
    if previous.missing_images:
        yield stop(f"The image of {previous.name} is no longer in its registry: {', '.join(previous.missing_images)}.")
    elif previous.unchecked_images:
        yield warn(f"We can't tell whether {', '.join(previous.unchecked_images)} still exists.")


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
