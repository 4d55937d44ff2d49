"""CloudWatch's view: the state of an alarm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from actions.aws.call import AwsUnreachable, Call
from actions.scrub import scrub

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm's state ("OK", "ALARM" or "INSUFFICIENT_DATA"), since when, and CloudWatch's reason."""

    name: str
    state: str
    reason: str
    since: datetime | None


async def alarm(world: World, name: str, region: str) -> Alarm:
    """The state of one alarm. Raises `AwsUnreachable`, also if there is none of this name."""
    call = Call(service="cloudwatch", operation="DescribeAlarms", region=region, parameters={"AlarmNames": [name]})
    answer = await world.aws.read(call)
    found = [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
    if not found:
        raise AwsUnreachable(f"CloudWatch in {region} has no alarm {name}; look at [databases.NAME] alarm.")
    return Alarm(
        name=name,
        state=found[0].get("StateValue", "INSUFFICIENT_DATA"),
        reason=scrub(found[0].get("StateReason", "")),
        since=found[0].get("StateUpdatedTimestamp"),
    )
