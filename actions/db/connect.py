"""Connections to the site's databases: two profiles, deadlines around everything, and failures told apart.

ask     -> rows, or DatabaseUnreachable               (read-only session)
change  -> rows, or Refused (not sent), or Uncertain  (sent, answer lost)
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import structlog
from psycopg import conninfo
from psycopg.rows import DictRow, dict_row

from actions.db.diagnosis import BY_STATE, Diagnosis, State, diagnosis, judge_handshake, judge_state
from actions.db.dsn import SHAPE, mistake
from actions.db.handshake import shake_hands
from actions.errors import Refused, Uncertain, Unreachable
from actions.gate import Gate
from actions.scrub import MASK, plain, scrub
from actions.site import DatabaseRef

log = structlog.get_logger()

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 15
OPTIONS = {
    "statement_timeout": f"{STATEMENT_SECONDS * 1000}",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "30000",
}
PROFILES: Mapping[str, Mapping[str, str]] = {"read": {**OPTIONS, "default_transaction_read_only": "on"}, "change": OPTIONS}
KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10000}
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
STATE_OF_SERVER = """
SELECT pg_is_in_recovery() AS in_recovery, current_setting('transaction_read_only') = 'on' AS read_only,
  pg_postmaster_start_time() AS started_at,
  current_setting('max_connections')::int AS slots,
  current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true)::int, 0) AS kept,
  (SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
     AND (backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL)) AS used,
  (SELECT coalesce(extract(epoch FROM now() - min(xact_start)), 0)::float8 FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend') AS oldest_transaction
"""
SLOT_SECONDS = 3.0  # the connections of a bot that was killed end within moments, and may have held the last slots
STRICT_TLS = ("require", "verify-ca", "verify-full")


class DatabaseUnreachable(Unreachable):
    """The database did not answer. `sqlstate` is PostgreSQL's code, "" if there is none; `silent`: a deadline went by."""

    def __init__(self, says: str, *, sqlstate: str = "", silent: bool = False) -> None:
        super().__init__(says)
        self.sqlstate = sqlstate
        self.silent = silent


class Connections:
    """Connections to one database. Nothing is pooled: in a disaster every connection is a question of its own.

    `address` is host and port, and `name` the database on that server, if they are others than those of the DSN.
    """

    def __init__(
        self, database: DatabaseRef, gate: Gate | None = None, *, address: tuple[str, int] | None = None, name: str = ""
    ) -> None:
        self._database = database
        self._address = address
        self._name = {"dbname": name} if name else {}
        self._gate = gate or Gate()

    @property
    def dsn(self) -> str:
        """The DSN from the environment. Raises `DatabaseUnreachable`, naming the variable, if it is missing or malformed."""
        if wrong := wrong_dsn(self._database):
            raise DatabaseUnreachable(f"Environment variable {wrong}")
        dsn = self._database.dsn.get_secret_value()
        if self._address is None:
            return dsn
        parts = {name: value for name, value in conninfo.conninfo_to_dict(dsn).items() if name != "hostaddr"}
        return conninfo.make_conninfo("", **{**parts, "host": self._address[0], "port": self._address[1], **self._name})

    async def connect(self, profile: str = "read", *, dsn: str = "") -> psycopg.AsyncConnection[DictRow]:
        """A connection in autocommit; "read" sessions are read-only by default. Raises `DatabaseUnreachable`."""
        given = dsn or self.dsn
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                return await psycopg.AsyncConnection.connect(_with_options(given, profile), autocommit=True, row_factory=dict_row)
        except TimeoutError as error:
            raise DatabaseUnreachable(f"The database gave no connection within {2 * CONNECT_SECONDS} s.", silent=True) from error
        except psycopg.Error as error:
            silent = isinstance(error, psycopg.errors.ConnectionTimeout)
            raise DatabaseUnreachable(f"The database gave no connection: {_sentence(error)}", silent=silent) from error
        except ValueError as error:  # of the name look-up, about a host that is no name; it quotes the host
            raise DatabaseUnreachable("The database gave no connection: the host in its DSN is not a name.") from error

    @asynccontextmanager
    async def session(
        self, profile: str = "read", *, timeout: float = STATEMENT_SECONDS, dsn: str = ""
    ) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
        """A connection that is closed afterwards, with a deadline: statement_timeout does not end every wait."""
        connection = await self.connect(profile, dsn=dsn)
        try:
            async with asyncio.timeout(timeout), connection:
                yield connection
        except TimeoutError as error:
            raise DatabaseUnreachable(f"The database did not answer within {timeout:g} s.", silent=True) from error
        except psycopg.Error as error:
            raise DatabaseUnreachable(f"The database says: {_sentence(error)}", sqlstate=error.sqlstate or "") from error

    async def ask(
        self, sql: str, parameters: Sequence[Any] | None = None, *, timeout: float = STATEMENT_SECONDS
    ) -> list[DictRow]:
        """The rows of one question."""
        async with self.session("read", timeout=timeout) as connection:
            cursor = await connection.execute(sql.encode(), parameters)
            return await cursor.fetchall()

    async def change(
        self, sql: str, parameters: Sequence[Any] | None = None, *, timeout: float = STATEMENT_SECONDS
    ) -> list[DictRow]:
        """One statement with an effect, sent once. Raises `Refused` if it was not sent, else `Uncertain`.

        The server itself ends it after `timeout`, too, if that is longer than what a statement usually gets.
        """
        connection = await self._connect_to_change()
        try:
            async with connection:
                await self._gate.opened()
                async with asyncio.timeout(timeout):
                    if timeout > STATEMENT_SECONDS:
                        await connection.execute(f"SET statement_timeout = {int(timeout * 1000)}".encode())
                    cursor = await connection.execute(sql.encode(), parameters)
                    return await cursor.fetchall() if cursor.description else []
        except TimeoutError as error:
            raise Uncertain(f"The statement was sent, and no answer came within {timeout:g} s.") from error
        except psycopg.Error as error:
            raise Uncertain(f"The statement was sent, and did not end well: {_sentence(error)}") from error

    async def _connect_to_change(self) -> psycopg.AsyncConnection[DictRow]:
        """A connection for a change, asked for a few times: nothing is sent without one. Raises `Refused`."""
        began = time.monotonic()
        while True:
            try:
                return await self.connect("change")
            except Unreachable as error:
                if time.monotonic() - began > SLOT_SECONDS:
                    raise Refused(f"The statement was not sent: {error}") from error
            await asyncio.sleep(0.2)

    async def state(self) -> State:
        """What the server behind the DSN says about itself, over one new connection."""
        async with self.session("change", timeout=5) as connection:  # a read-only session would call every server read-only
            row = await (await connection.execute(STATE_OF_SERVER)).fetchone()
            return State(**(row or {}), system_identifier=await _system_identifier(connection))

    async def write_probe(self) -> None:
        """Commit 184 bytes that mean nothing, as any write is committed: standbys included. Raises `DatabaseUnreachable`."""
        async with self.session("change", timeout=5) as connection:
            await connection.execute("SELECT pg_logical_emit_message(true, 'dr', 'probe')")

    async def diagnose(self) -> Diagnosis:
        """Tell the failures apart: by SQLSTATE if there is one, by a raw handshake if there is none."""
        try:
            return judge_state(await self.state())
        except DatabaseUnreachable as error:
            return await self._diagnose_failure(error)

    async def _diagnose_failure(self, error: DatabaseUnreachable) -> Diagnosis:
        if error.sqlstate:
            return diagnosis(BY_STATE.get(error.sqlstate, "other"), f"{error} (SQLSTATE {error.sqlstate})")
        if error.silent:
            return diagnosis("timeout", str(error))
        host, port, user, name, tls = _address(self.dsn)
        return judge_handshake(await shake_hands(host, port, user, name, tls=tls), str(error))


async def _system_identifier(connection: psycopg.AsyncConnection[DictRow]) -> str:
    try:
        row = await (await connection.execute("SELECT system_identifier::text FROM pg_control_system()")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return row["system_identifier"] if row else ""


def wrong_dsn(database: DatabaseRef) -> str:
    """What is wrong with the DSN in the environment, beginning with its variable and quoting nothing; "" if it can be used."""
    variable, dsn = database.dsn_env, database.dsn.get_secret_value()
    if not dsn:
        return f"{variable} is not set; it must hold the DSN of {database.instance}."
    said = unreadable(dsn)
    return f"{variable} holds a DSN that can't be used: {said}. {SHAPE}." if said else ""


def unreadable(dsn: str) -> str:
    """What is wrong with a DSN, as the end of a sentence; "" if libpq can read it."""
    if wrong := mistake(dsn):
        return wrong
    try:
        conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:  # its text quotes the DSN
        return "it has an option that libpq does not know or cannot read"
    return ""


def _with_options(dsn: str, profile: str) -> str:
    theirs = conninfo.conninfo_to_dict(dsn).get("options") or ""
    ours = " ".join(f"-c {name}={value}" for name, value in PROFILES[profile].items())
    return conninfo.make_conninfo(
        dsn,
        connect_timeout=CONNECT_SECONDS,
        application_name="dr-bot",
        options=f"{theirs} {ours}".strip(),
        **KEEPALIVE,
    )


def _address(dsn: str) -> tuple[str, int, str, str, bool]:
    """Host, port, user, database and whether TLS is required; of several hosts the first."""
    parts = {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items() if value is not None}
    user = parts.get("user") or "postgres"
    host = (parts.get("hostaddr") or parts.get("host") or "localhost").split(",")[0]
    port = int(parts.get("port", "5432").split(",")[0] or 5432)
    return host, port, user, parts.get("dbname") or user, parts.get("sslmode") in STRICT_TLS


def _sentence(error: psycopg.Error) -> str:
    """The error as one line. What libpq says about a DSN's options is told without the values that it quotes."""
    said = error.diag.message_primary or plain(error)
    about_options = not error.sqlstate and not any(words in said for words in ("connection to server", "resolve", "getaddrinfo"))
    return scrub(QUOTED.sub(f'"{MASK}"', said) if about_options else said).rstrip(".") + "."
