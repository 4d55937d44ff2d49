"""Who we are to AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions.aws.call import Call

if TYPE_CHECKING:
    from actions.world import World


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The account and the principal that our calls are made as."""

    account: str
    arn: str

    @property
    def role_arn(self) -> str:
        """The role's own ARN if we are a role's session, else `arn`: the permission simulator takes no sessions."""
        head, _, tail = self.arn.partition(":assumed-role/")
        return f"{head.replace(':sts:', ':iam:')}:role/{tail.rpartition('/')[0]}" if tail else self.arn


async def who(world: World, region: str) -> Identity:
    """The identity behind our credentials; needs no permission."""
    answer = await world.aws.read(Call(service="sts", operation="GetCallerIdentity", region=region))
    return Identity(account=answer["Account"], arn=answer["Arn"])
