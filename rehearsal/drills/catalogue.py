"""The drills, as data: the fault, the command against it, what people answer, how it must end, and its effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rehearsal.aws.cloud import PRIMARY, SECOND
from rehearsal.aws.journal import Effect
from rehearsal.people import APPROVE, HOLD_YES, Answer

APPROVAL = Answer(by="approver", when=APPROVE)
HOLD = TAKE_OVER = Answer(by="approver", when=HOLD_YES)
DEPLOYMENT = Effect(service="ecs", operation="UpdateService", region=PRIMARY, count=1)
FAILOVER = Effect(service="rds", operation="RebootDBInstance", region=PRIMARY, count=1)
HOSTS = 12
RESTARTED_AGENTS = Effect(service="ssh", operation="restart", region=PRIMARY, count=HOSTS)  # each once
ENDED_SESSIONS = Effect(service="postgresql", operation="pg_terminate_backend", region=PRIMARY, count=1)
RESTORE = (  # in this order; the service is stopped, and started again
    Effect(service="rds", operation="CreateDBSnapshot", region=PRIMARY, count=1),
    Effect(service="ecs", operation="UpdateService", region=PRIMARY, count=2),
    Effect(service="rds", operation="RestoreDBInstanceToPointInTime", region=PRIMARY, count=1),
    Effect(service="rds", operation="ModifyDBInstance", region=PRIMARY, count=1),
    Effect(service="secretsmanager", operation="PutSecretValue", region=PRIMARY, count=1),
    Effect(service="secretsmanager", operation="UpdateSecretVersionStage", region=PRIMARY, count=1),
)


VERIFICATION = (  # two temporary instances, made and dropped
    Effect(service="rds", operation="RestoreDBInstanceFromDBSnapshot", region=PRIMARY, count=1),
    Effect(service="rds", operation="RestoreDBInstanceToPointInTime", region=PRIMARY, count=1),
    Effect(service="rds", operation="DeleteDBInstance", region=PRIMARY, count=2),
)
REPAIR = (  # one temporary instance beside production, made and dropped
    Effect(service="rds", operation="CreateDBSnapshot", region=PRIMARY, count=1),
    Effect(service="rds", operation="RestoreDBInstanceToPointInTime", region=PRIMARY, count=1),
    Effect(service="rds", operation="DeleteDBInstance", region=PRIMARY, count=1),
)


PROMOTION = Effect(service="rds", operation="PromoteReadReplica", region=SECOND, count=1)
NAMED = Effect(service="route53", operation="ChangeResourceRecordSets", region=SECOND, count=1)
SERVED = Effect(service="ecs", operation="CreateService", region=SECOND, count=1)  # by terraform, not by the bot
STOPPED = Effect(service="ecs", operation="UpdateService", region=PRIMARY, count=1)


FAILBACK = (  # the database at home is new; the old ones are kept, fenced
    Effect(service="rds", operation="CreateDBInstanceReadReplica", region=PRIMARY, count=1),
    Effect(service="ecs", operation="UpdateService", region=SECOND, count=1),
    Effect(service="rds", operation="PromoteReadReplica", region=PRIMARY, count=1),
    Effect(service="secretsmanager", operation="PutSecretValue", region=PRIMARY, count=1),
    Effect(service="secretsmanager", operation="UpdateSecretVersionStage", region=PRIMARY, count=1),
    Effect(service="ecs", operation="UpdateService", region=PRIMARY, count=1),
    NAMED,
    Effect(service="rds", operation="ModifyDBInstance", region=PRIMARY, count=1),
    Effect(service="rds", operation="CreateDBInstanceReadReplica", region=SECOND, count=1),
)


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A fault, if any, and what people do about it.

    The fault `shows` as an outage, which the witness sees, or only in the data or in a table, wrong from a recorded moment on, or
    not at all: then customers must notice nothing of the drill. With "agents" it shows once no agent of the `hosts`
    reports. A "region" is lost, or left while all is well: then there are two, `serves` is the one that must serve afterwards,
    and the drill begins where the one that it comes `after`, if any, has ended.
    `command` is typed `pause` seconds after it shows, and must lead to a plan of `scenario`; `{before}` in it stands for the
    moment before the data went wrong, `{table}` for the table. Then people give their `answers` in order. The run must end as
    `end`, with exactly these `effects`, and the drill as `outcome`: a green mark that must be withheld is no recovery.
    """

    name: str
    title: str
    fault: str
    command: str
    scenario: str
    effects: tuple[Effect, ...]
    shows: Literal["outage", "data", "table", "agents", "region", "nothing"] = "outage"
    pause: float = 0.0
    answers: tuple[Answer, ...] = (APPROVAL,)
    end: str = "Done"
    outcome: Literal["recovered", "withheld"] = "recovered"
    hosts: int = 0
    serves: str = PRIMARY
    after: tuple[str, ...] = ()


DRILLS = {
    drill.name: drill
    for drill in (
        Drill(
            name="control-plane-down",
            title="The control plane hangs, and is restarted.",
            fault="control-plane-hangs",
            command="control-plane restart",
            scenario="control-plane restart",
            effects=(DEPLOYMENT,),
        ),
        Drill(
            name="bad-deploy",
            title="Somebody ships a bad revision. The plan is to roll it back, not to restart it.",
            fault="bad-deploy",
            command="control-plane restart",
            scenario="control-plane rollback",
            effects=(DEPLOYMENT,),
        ),
        Drill(
            name="database-failover",
            title="The primary database hangs, and its standby takes over.",
            fault="database-hangs",
            command="database failover",
            scenario="database failover",
            effects=(FAILOVER,),
        ),
        Drill(
            name="too-many-connections",
            title="A report takes every connection. Its idle sessions are ended, without a failover.",
            fault="too-many-connections",
            command="database failover idle_for=2",
            scenario="database failover",
            effects=(ENDED_SESSIONS,),
            pause=2.5,
        ),
        Drill(
            name="database-restore",
            title="A bad release migrates and deletes records. The database goes back to before it, and is migrated again.",
            fault="migrated-release",
            shows="data",
            command="database restore time={before}",
            scenario="database restore",
            effects=RESTORE,
            answers=(APPROVAL, TAKE_OVER),
        ),
        Drill(
            name="table-corruption",
            title="Rows of a table are lost and wrong. They come back from a copy, and newer rows stay.",
            fault="table-corruption",
            shows="table",
            command="corruption repair table=records time={before} touched=written_at",
            scenario="corruption repair",
            effects=REPAIR,
            answers=(APPROVAL, HOLD, HOLD),
        ),
        Drill(
            name="table-dropped",
            title="A table is dropped, or emptied (the seed chooses). It comes back whole from a copy of the moment before.",
            fault="table-dropped",
            shows="table",
            command="corruption copy table={table} time={before}",
            scenario="corruption copy",
            effects=REPAIR,
            answers=(APPROVAL, HOLD),
        ),
        Drill(
            name="backup-verification",
            title="The newest snapshot is restored to a temporary instance, proven whole, and the instance dropped.",
            fault="",
            shows="nothing",
            command="backup verify",
            scenario="backup verify",
            effects=VERIFICATION,
        ),
        Drill(
            name="backup-damaged",
            title="There is damage in the newest snapshot. The green mark is withheld, and the instance dropped.",
            fault="damaged-snapshot",
            shows="nothing",
            command="backup verify",
            scenario="backup verify",
            effects=VERIFICATION,
            end="Failed",
            outcome="withheld",
        ),
        Drill(
            name="agents-offline",
            title="Every agent has given up. They are restarted, a canary first, and report again.",
            fault="agents-down",
            shows="agents",
            hosts=HOSTS,
            command="agents restart",
            scenario="agents restart",
            effects=(RESTARTED_AGENTS,),
        ),
        Drill(
            name="agents-control-plane",
            title="No agent reports, because the control plane hangs. It is restarted, and no agent is.",
            fault="control-plane-hangs",
            shows="agents",
            hosts=HOSTS,
            command="agents restart",
            scenario="control-plane restart",
            effects=(DEPLOYMENT,),
        ),
        Drill(
            name="region-failure",
            title="A region is lost. Its replica elsewhere is promoted, the service made there, and the name led to it.",
            fault="region-down",
            shows="region",
            command="region failover",
            scenario="region failover",
            effects=(PROMOTION, NAMED, SERVED),
            pause=3.0,  # a replica that heard its primary a moment ago isn't promoted
            answers=(APPROVAL, HOLD),
            serves=SECOND,
        ),
        Drill(
            name="region-switchover",
            title="A region is left while all is well: fenced, caught up, promoted. Nothing is lost.",
            fault="",
            shows="region",
            command="region failover",
            scenario="region failover",
            effects=(STOPPED, PROMOTION, NAMED, SERVED),
            answers=(APPROVAL, HOLD),
            serves=SECOND,
        ),
        Drill(
            name="region-failback",
            title="The way home, after a switchover or (with an even seed) after a lost region that is back.",
            fault="",
            shows="region",
            command="region failback",
            scenario="region failback",
            effects=FAILBACK,
            answers=(APPROVAL, HOLD),
            after=("region-failure", "region-switchover"),
        ),
    )
}
