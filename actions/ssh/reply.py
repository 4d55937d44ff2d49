"""What comes back from a host: a reply, or one of the ways in which there is none. This module is light, unlike the client."""

from __future__ import annotations

from dataclasses import dataclass

from actions.errors import Uncertain, Unreachable

UNREACHABLE, REFUSED, HOST_KEY, AUTH = "unreachable", "refused", "host key", "auth"


class NotReached(Unreachable):
    """No session with a host; nothing was sent to it. `kind` is unreachable, refused, host key or auth."""

    def __init__(self, kind: str, says: str) -> None:
        super().__init__(says)
        self.kind = kind


class CannotSignIn(Unreachable):
    """The bot's own key or known_hosts can't be used: no host can be asked."""

    final = True


class Lost(Uncertain):
    """A command was sent, and the connection ended, or time was up, before its exit code came."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a command came to. `out` and `err` are scrubbed text without terminal codes; `cut`: there was more.

    `signal` is the name of the signal that ended it, if one did.
    """

    code: int
    out: str
    err: str
    cut: bool = False
    signal: str = ""

    @property
    def good(self) -> bool:
        """Whether the exit code is 0."""
        return self.code == 0

    @property
    def says(self) -> str:
        """What the command complained about, in one line."""
        if self.signal:
            return f"it was ended by the signal {self.signal}"
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return (lines[0] if lines else f"exit code {self.code}")[:200]
