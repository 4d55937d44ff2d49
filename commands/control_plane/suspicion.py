"""Whether the newest deployment is what broke the control plane: a new revision is suspect, one that served before is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from actions.aws.deployments import Deployment, Own, Rollout, Service, StoppedTask
from actions.health import Health
from actions.values import count

SUSPICIOUS_FOR = timedelta(minutes=60)  # a revision that has been here for longer is no suspect
HANGS = 504  # a task that hangs: a restart cures that


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """What runs now and what is known of its past. `records` and `ours` are empty if nobody could be asked."""

    service: Service
    primary: Deployment
    records: Sequence[Rollout] = ()
    ours: Sequence[Own] = ()

    @property
    def since(self) -> datetime:
        """When this revision was brought in; restarting it later makes it no younger."""
        return min([self.primary.created_at, *(record.created_at for record in self._unbroken)])

    @property
    def is_young(self) -> bool:
        """Whether it was brought in within the last hour."""
        return self.service.at - self.since <= SUSPICIOUS_FOR

    @property
    def served_before(self) -> bool:
        """Whether it is known to work: it ran for an hour or before another revision, or this bot chose it."""
        own_record = self._unbroken[:1]
        done = [r for r in self.records if r.succeeded and r.revision == self.primary.revision and r not in own_record]
        long_ago = any(self.service.at - record.created_at > SUSPICIOUS_FOR for record in done)
        returned = any(record not in self._unbroken for record in done)
        return long_ago or returned or any(map(self._is_ours, self.ours))

    @property
    def _unbroken(self) -> list[Rollout]:
        """The newest records, as long as they are all of this revision."""
        return list(takewhile(lambda record: record.revision == self.primary.revision, self.records))

    def _is_ours(self, own: Own) -> bool:
        """Whether this bot rolled back to the revision; or restarted it, and there is no older record to judge it by."""
        if own.revision != self.primary.revision:
            return False
        return own.rolled_back or (not self.records and own.began <= self.primary.created_at <= own.ended)


def why_roll_back(suspect: Suspect, stopped: Sequence[StoppedTask], health: Health | None) -> str:
    """Why rolling back is the better cure, as a sentence; "" if a restart is. Another rollout cures no broken image."""
    primary, name = suspect.primary, suspect.primary.revision
    if suspect.served_before:
        return ""
    if primary.rollout == "FAILED" or (primary.rollout == "IN_PROGRESS" and primary.failed > 0):
        failed = count(primary.failed, "has failed", "have failed")
        return f"The tasks of the newest deployment, {name}, keep failing: {failed}."
    if not suspect.is_young or (health is not None and health.good):
        return ""
    minutes = max(0.0, (suspect.service.at - suspect.since).total_seconds() // 60)  # AWS's clock may be ahead of ours
    crashed = [task for task in stopped if task.crashed and task.revision == name and task.stopped_at >= suspect.since]
    if len(crashed) > max(1, suspect.service.desired):
        return f"{name} was deployed {minutes:.0f} min ago, and {len(crashed)} of its tasks have crashed since."
    if health is not None and _errors(health) > len(health.statuses) // 2:
        return f"{name} was deployed {minutes:.0f} min ago, and {health.says}"
    return ""


def _errors(health: Health) -> int:
    """How many of the answers were errors of the program or of what stands before it."""
    return sum(500 <= status < 600 and status != HANGS for status in health.statuses)
