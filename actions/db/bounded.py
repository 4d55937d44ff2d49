"""Connections to PostgreSQL on which nothing waits for ever: after some seconds of silence a connection counts as lost.

The kernel notices a host that vanished (keepalives, tcp_user_timeout), but not a proxy or a server that takes what is sent
and says nothing. Used for the bot's own state, whose every statement is short.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

CONNECT_SECONDS = 2
PARAMETERS: dict[
    str, Any
] = {  # a server that takes no writes, a standby in the middle of a failover, is not the one that is meant
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "target_session_attrs": "read-write",
    "application_name": "dr-bot",
}
_USUAL = -1.0


class SilentServer(psycopg.OperationalError):
    """The server took a statement and said nothing; whether it was carried out is not known."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes longer than `answer_seconds`."""

    answer_seconds = 5.0

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = _USUAL) -> RV:
        """As psycopg waits, but with a deadline; only a listener, which asks for no deadline by name, waits for ever."""
        if timeout != _USUAL:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise SilentServer(f"The server did not answer within {self.answer_seconds:g} s.") from error


def connect(*arguments: Any, answer_seconds: float, idle_seconds: float, **parameters: Any) -> BoundedConnection:
    """A new connection, on which a silence of the server for `answer_seconds` counts as its loss.

    The server ends it when it is idle in a transaction for `idle_seconds`: who froze or vanished there must not hold its locks.
    Raises `psycopg.OperationalError` when there is none within a few seconds.
    """
    ends_idle = f"-c idle_in_transaction_session_timeout={round(idle_seconds * 1000)}"
    options = f"{parameters.pop('options', '')} {ends_idle}".strip()
    connection = BoundedConnection.connect(*arguments, **(PARAMETERS | parameters), options=options)
    connection.answer_seconds = answer_seconds
    return connection
