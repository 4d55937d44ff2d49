"""How to start a rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal import settings
from rehearsal.witness import EVERY_SECONDS


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to start a rehearsal. `work_dir` is its own folder, `cache` one that outlives it. Port 0 is any free port.

    Without `reports` the bot draws and uploads none. `slack_speed` is how many times Slack's own rate limits its Slack allows,
    and its bot uses. `hosts` is how many agents' hosts there are; with 0 there is no fleet, and the bot's settings have no
    [agents]. `witness_every` is how many seconds the witness waits between two requests of a kind: each costs the control plane
    a connection to its database. In `two_regions` there are a replica, DNS and terraform besides, and faults of them.
    With `training` a pager tells the channel of outages, and the page offers `drills`. With `tls` the database's endpoint
    speaks TLS with clients that ask for it, as RDS does.
    """

    work_dir: Path
    cache: Path
    port: int = 8044
    speed: float = 60.0
    seed: int = 0
    with_bot: bool = True
    state_url: str = ""
    expiry_minutes: float = 15.0
    slack_speed: float = settings.SLACK_SPEED
    reports: bool = True
    hosts: int = 0
    witness_every: float = EVERY_SECONDS
    two_regions: bool = False
    training: bool = False
    tls: bool = False
    drills: Sequence[dict[str, Any]] = ()
