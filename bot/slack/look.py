"""What a card shows besides its story: what was promised, who may approve, and how long such runs took before."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from bot.settings import Authority, Settings
from bot.state.story import Story
from bot.state.usual import Usual


@dataclass(frozen=True, kw_only=True)
class Look:
    """`approvers` are ids of users and groups; `simple` leaves out the blocks that this workspace refuses.

    `canvas` is the address of the report as a canvas, once there is one.
    """

    rto_minutes: float = 30
    rpo_minutes: float = 5
    needed: int = 1
    approvers: tuple[str, ...] = ()
    usual: Usual = field(default_factory=Usual)
    simple: bool = False
    canvas: str = ""


def look_at(
    settings: Settings, story: Story, usual: Usual, *, simple: bool, canvas: str = "", outsiders: Collection[str] = ()
) -> Look:
    """What the cards of this story show besides it; people whom the bot would refuse (`outsiders`) aren't among the approvers."""
    plan = story.offer.plan
    return Look(
        rto_minutes=settings.targets.rto_minutes,
        rpo_minutes=settings.targets.rpo_minutes,
        needed=max(settings.authority.rule(scenario).approvals for scenario in plan.scenarios),
        approvers=tuple(one for one in approvers_of(settings.authority, plan.scenarios) if one not in outsiders),
        usual=usual,
        simple=simple,
        canvas=canvas,
    )


def approvers_of(authority: Authority, scenarios: Iterable[str]) -> tuple[str, ...]:
    """Who may approve all of these scenarios, as dr.toml lists them."""
    lists = [authority.rule(scenario).approvers for scenario in scenarios]
    return tuple(one for one in lists[0] if all(one in others for others in lists)) if lists else ()
