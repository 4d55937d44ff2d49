"""Sentences that several scenarios say."""

from __future__ import annotations

from commands.scenario import suggest


def if_the_region_is_down() -> str:
    """What to do when AWS's region itself is away, as a sentence."""
    by_hand = "fail over to the other region by hand, by your runbook: I have no command for it"
    return f"If the whole region is down, {suggest('region failover', by_hand)}."
