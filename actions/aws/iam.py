"""Which of our permissions AWS would refuse, by IAM's own simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actions.aws import sts
from actions.aws.call import Call

if TYPE_CHECKING:
    from actions.world import World


async def denied(world: World, permissions: Sequence[str]) -> list[str]:
    """Those of `permissions` ("ecs:UpdateService") that our identity lacks. Raises `Unreachable` if nobody can say.

    The simulator knows identity policies, not service control policies nor key policies (IAM's SimulatePrincipalPolicy).
    """
    region = world.site.aws.region
    identity = await sts.who(world, region)
    parameters = {"PolicySourceArn": identity.role_arn, "ActionNames": list(permissions)}
    answer = await world.aws.read(Call(service="iam", operation="SimulatePrincipalPolicy", parameters=parameters, region=region))
    return [r["EvalActionName"] for r in answer["EvaluationResults"] if r["EvalDecision"] != "allowed"]
