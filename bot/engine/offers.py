"""Putting a plan on offer: one button for one plan, and the whole text in its thread before anybody can press it.

Two people who type the same command at once are the usual case at night: the second is told of the first one's plan, which
they can then approve. A second plan takes the first one's place only if the first is old, forbidden or says less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bot.actors import mention, upper
from bot.slack.blocks import length
from bot.slack.layout import PACKED, PART
from bot.slack.plan_card import evidence
from bot.state.approvals import clock
from bot.state.messages import order_reply
from bot.state.plans import add_plan, offered_twins, plan_row, supersede
from bot.state.store import Connection
from bot.state.story import EVIDENCE, WHOLE, Offer
from bot.state.timeline import redraw
from commands.plan import Plan


def offer(connection: Connection, row: dict[str, Any], replies: Sequence[str]) -> str:
    """Store a plan and order its card and the replies that hold what the card cannot; returns the id of the plan that stands."""
    if plan_row(connection, row["id"]):
        return str(row["id"])  # before a crash
    for same in offered_twins(connection, row["digest"]):
        if _serves(same, row):
            return str(same["id"])
        supersede(connection, same["id"])
        redraw(connection, same["id"])
    show(connection, row, replies)
    return str(row["id"])


def show(connection: Connection, row: dict[str, Any], replies: Sequence[str]) -> None:
    """Store a plan, once, and order its card, the replies that hold what the card cannot, and the evidence."""
    add_plan(connection, row)
    whole, seen = together([*replies], [*evidence(Plan.from_json(row["plan"]))])
    for number, text in enumerate(whole, 1):
        order_reply(connection, row["id"], row["channel"], f"whole/{number}", WHOLE, text)
    for number, text in enumerate(seen, 1):
        order_reply(connection, row["id"], row["channel"], f"evidence/{number}", EVIDENCE, text)


def together(whole: list[str], seen: list[str]) -> tuple[list[str], list[str]]:
    """What must be read and what was looked at, the last of the one and the first of the other in one reply if they fit."""
    if whole and seen and length(whole[-1]) + length(seen[0]) <= PACKED:
        return [*whole[:-1], f"{whole[-1]}{PART}{seen[0]}"], seen[1:]
    return whole, seen


def already_on_offer(first: Offer, person: str) -> str:
    """The sentence for a person who asked for a plan that is on offer already."""
    own = first.requested_by == person
    who, then = ("You", "Somebody else must approve") if own else (upper(mention(first.requested_by)), "If you agree, approve")
    says = f"{who} asked for the same plan at {clock(first.requested_at)}: it is plan {first.id}, on offer until"
    return f"{says} {clock(first.expires)}. {then} that one; I made no second plan. Nothing has changed."


def _serves(first: Any, new: dict[str, Any]) -> bool:
    """Whether the first plan is as good as a new one: none is forbidden, the button says the same, half its time is left."""
    forbidden = any(finding["level"] == "stop" for row in (first, new) for finding in row["plan"]["findings"])
    same_button = all(first["plan"].get(name, "") == new["plan"][name] for name in ("interrupts", "approve"))
    fresh = first["expires"] - time.time() >= (first["expires"] - first["requested_at"]) / 2
    return same_button and fresh and not forbidden
