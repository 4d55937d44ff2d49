"""The loss that people agreed to when they let a replica be promoted, against the loss that the witness then measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rehearsal.people import APPROVE

MOST_APART = 5.0  # seconds: the loss is known as exactly as the bot's heartbeats are dense
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "days": 86_400.0}
FIGURE = re.compile(r"lose up to ([\d.]+) (s|min|h|days)\b")


def stated_loss(card: Mapping[str, Any]) -> float | None:
    """The seconds that a plan's Approve button says are lost at most; None if it names none, or there is no such button."""
    elements = [one for block in card["blocks"] if block["type"] == "actions" for one in block["elements"]]
    label = next((one["text"]["text"] for one in elements if one["action_id"] == APPROVE), "")
    found = FIGURE.search(label)
    return float(found[1]) * UNITS[found[2]] if found else None


def wrong_loss(stated: float | None, measured: float) -> str:
    """What's wrong with the figure that was agreed to, as a sentence; "" if nothing is."""
    if stated is None:
        return f"The button named no loss, and {measured:.1f} s of commits are lost."
    both = f"the button said up to {stated:g} s, and the witness measured {measured:.1f} s"
    if measured > stated:
        return f"More is lost than was agreed to: {both}."
    return f"The loss was stated wrongly: {both}, more than {MOST_APART:g} s apart." if stated - measured > MOST_APART else ""
