"""Alerts: messages of their own in the incident channel, which mention whoever [backups] alert names; each is told once."""

from __future__ import annotations

from collections.abc import Iterable

from bot.slack.mrkdwn import shown


def missed_key(due: str) -> str:
    """The key of the alert about what was due at this moment (ISO time), and did not begin."""
    return f"missed/{due}"


def alert_text(says: str, alerted: Iterable[str]) -> str:
    """An alert as Slack shows it: whom it is for, and what it says."""
    mentions = [f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>" for one in alerted]
    return " ".join([*mentions, ":rotating_light:", shown(says, 2900)])
