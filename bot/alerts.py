"""Alerts: messages of their own in the incident channel, which mention whoever [backups] alert names; each is told once."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from actions.scrub import scrub
from bot.mrkdwn import shown
from bot.store import Store
from bot.tables import outbox


def alert(connection: Connection, store: Store, key: str, channel: str, says: str) -> bool:
    """Order an alert, once for its key; False if it was ordered before."""
    row = {"key": f"alert/{key}"[:120], "kind": "alert", "channel": channel, "mark": "bad", "text": scrub(says)}
    return store.insert_once(connection, outbox, **row, run_id=f"alert/{key}"[:40])


def missed_key(due: str) -> str:
    """The key of the alert about what was due at this moment (ISO time), and did not begin."""
    return f"missed/{due}"


def alert_text(says: str, alerted: Iterable[str]) -> str:
    """An alert as Slack shows it: whom it is for, and what it says."""
    mentions = [f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>" for one in alerted]
    return " ".join([*mentions, ":rotating_light:", shown(says, 2900)])
