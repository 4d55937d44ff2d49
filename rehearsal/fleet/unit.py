"""The agent on a host, as systemd or docker keeps it: up or down, with a new id at each start, and its own log."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

State = Literal["active", "failed"]
UNIT = "shielda-agent"
KEPT_LINES = 200
GAVE_UP = "FATAL heartbeat queue is full after an outage of the control plane; giving up"
NO_SPACE = "ERROR cannot write /var/lib/shielda/spool: No space left on device"
PANIC = "panic: runtime error: invalid memory address or nil pointer dereference (agent 2.5.0)"


@dataclass(kw_only=True)
class Unit:
    """An agent. `restarts` counts how often it was restarted, whether or not whoever asked learned of it.

    `crashes`: a version is installed that ends shortly after each start.
    """

    host: str
    state: State = "active"
    restarts: int = 0
    crashes: bool = False
    invocation: str = field(default_factory=lambda: secrets.token_hex(16))
    log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def __post_init__(self) -> None:
        self.say("INFO agent started")

    def restart(self) -> None:
        """Stop it, if it runs, and start it."""
        self.restarts += 1
        self.start()

    def start(self) -> None:
        """A new start, with a new id."""
        self.invocation, self.state = secrets.token_hex(16), "active"
        self.say("INFO agent started")

    def fall(self, last_words: str = GAVE_UP) -> None:
        """It ends by itself, with an error."""
        self.state = "failed"
        self.say(last_words)
        self.log.append(f"{_now()} {self.host} systemd[1]: {UNIT}.service: Failed with result 'exit-code'.")

    def say(self, line: str) -> None:
        """Write to its log."""
        self.log.append(f"{_now()} {self.host} {UNIT}[812]: {line}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
