"""What is the matter with a database: by SQLSTATE, libpq's text, a raw handshake, and what the server says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from actions.db.handshake import Handshake

BY_STATE = {  # https://www.postgresql.org/docs/current/errcodes-appendix.html
    "53300": "slots used up",
    "57P03": "starting",
    "57P01": "starting",
    "57P02": "starting",
    "25006": "read-only",
    "28P01": "auth",
    "28000": "auth",
    "3D000": "auth",
}
BY_TEXT = {  # for what libpq says after signing in has begun, when it gives no SQLSTATE
    "remaining connection slots": "slots used up",
    "too many clients": "slots used up",
    "too many connections": "slots used up",
    "starting up": "starting",
    "not yet accepting": "starting",
    "shutting down": "starting",
    "session is read-only": "read-only",
    "authentication": "auth",
    "pg_hba": "auth",
    "does not exist": "auth",
    "no password supplied": "auth",
    "is not permitted to log in": "auth",
    "certificate": "tls",
    "SSL": "tls",
}
MEANING = {
    "answers": "The database answers",
    "refused": "The database refuses connections",
    "timeout": "The database does not answer",
    "dns": "The database's name does not resolve",
    "tls": "The TLS connection to the database fails",
    "auth": "The database does not let us sign in",
    "starting": "The database is starting or shutting down",
    "slots used up": "The database has no free connection slot",
    "read-only": "The database answers, and takes no writes",
    "other": "The database cannot be used",
}


@dataclass(frozen=True, kw_only=True)
class State:
    """What a server says about itself. `kept` of its `slots` are reserved; `oldest_transaction` is in seconds.

    `system_identifier` is the cluster's own, the same on its standbys and copies; "" if our role may not read it.
    """

    in_recovery: bool
    read_only: bool
    started_at: datetime
    slots: int
    kept: int
    used: int
    oldest_transaction: float
    system_identifier: str = ""

    @property
    def for_all(self) -> int:
        """The slots that ordinary roles may use."""
        return self.slots - self.kept

    @property
    def used_up(self) -> bool:
        """Whether ordinary roles are locked out, or as good as: sessions that come and go leave one slot in fifty free."""
        return self.used >= self.for_all - max(1, self.for_all // 50)

    @property
    def usage(self) -> str:
        """How many connections are used, without a full stop; more than the slots for all are used on reserved ones."""
        reserved = max(self.used - self.for_all, 0)
        more = f", and {reserved} of {self.kept} reserved ones" if reserved else ""
        return f"{min(self.used, self.for_all)} of {self.for_all} connections are used{more}"

    @property
    def free_percent(self) -> float:
        """How many of those are free, in percent."""
        return 100 * max(self.for_all - self.used, 0) / max(self.for_all, 1)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is the matter with the database: one of the keys of `MEANING`, a sentence, and what it rests on.

    `state` is there if the server let us in.
    """

    kind: str
    says: str
    evidence: str = ""
    state: State | None = None

    @property
    def answers(self) -> bool:
        """Whether the database is well as far as a connection shows."""
        return self.kind == "answers"


def judge_handshake(seen: Handshake, said: str) -> Diagnosis:
    """The diagnosis from a raw handshake, and from libpq's text if the handshake got as far as signing in."""
    if seen.reached == "error":
        return diagnosis(BY_STATE.get(seen.sqlstate, "other"), f"{seen.says} (SQLSTATE {seen.sqlstate})")
    if seen.reached == "alive":
        kind = next((kind for text, kind in BY_TEXT.items() if text in said), "other")
        return diagnosis(kind, said)
    kind = "refused" if seen.reached == "closed" else seen.reached
    return diagnosis(kind, f"{seen.says}.")


def judge_state(state: State) -> Diagnosis:
    """The diagnosis from a server that let us in; an application may be locked out while we use a reserved slot."""
    reserved = "" if state.used > state.for_all else f", {state.kept} more are reserved"
    connections = f"{state.usage}{reserved}"
    if state.used_up:
        return diagnosis("slots used up", f"{connections}. We may use a reserved one, the applications may not.", state)
    if state.in_recovery or state.read_only:
        why = "it is in recovery: a standby" if state.in_recovery else "default_transaction_read_only is on"
        return diagnosis("read-only", f"{why}; {connections}.", state)
    return diagnosis("answers", f"{connections}.", state)


def diagnosis(kind: str, evidence: str, state: State | None = None) -> Diagnosis:
    return Diagnosis(kind=kind, says=f"{MEANING[kind]}.", evidence=evidence, state=state)
