"""What can be wrong with a host on the network, and with a restart of its agent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class Trouble:
    """What is wrong with a host. `restart`: "fails", "hangs", or "lost": the connection breaks once it has restarted."""

    away: bool = False  # the network to it: no SSH, no heartbeats
    hung: bool = False  # its sshd accepts and says nothing
    refuses: bool = False  # nobody listens
    other_key: bool = False
    restart: str = ""
