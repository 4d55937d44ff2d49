"""Questions that may take hours, bounded all the same: a server that stopped answering is noticed within half a minute."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, Self

import psycopg
from psycopg.rows import DictRow

from actions.db.connect import Connections, DatabaseUnreachable
from actions.db.integrity_catalog import GENTLE, SESSION
from actions.scrub import plain, scrub

WATCH = 8.0  # seconds between two looks whether the server still answers
PATIENCE = 10.0  # seconds for a server to take connections again: a damaged page can make it restart
OPENING = 6.0  # seconds for the settings of a new connection
CANCELLING = 3.0


class Asker:
    """Asks a database one question at a time, each in a transaction of its own, until the time is over.

    `gone` says why nothing can be asked any more: the server is silent or gives no connection, or the time is over.
    A `gentle` one takes one process of the server at a time, and no workers besides: others work there.
    """

    def __init__(self, connections: Connections, seconds: float, *, gentle: bool = False) -> None:
        self.gone = ""
        self._session = SESSION + (GENTLE if gentle else "")
        self._connections = connections
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._connection: psycopg.AsyncConnection[DictRow] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def ask(
        self, sql: str, parameters: Sequence[Any] | None = None, *, qualified: bool = False, by_place: bool = False
    ) -> list[DictRow]:
        """The rows. Raises `DatabaseUnreachable`; if `gone` is set then, no other question will be answered.

        `qualified`: names come out with their schema. Otherwise the search path is the usual one, on which functions may rely.
        `by_place`: only the pages in a range of ctids are read, also of a table that is so small that all would be.
        """
        self._note_time()
        if self.gone:
            raise DatabaseUnreachable(f"Not asked, because {self.gone}.")
        connection = await self._connected()
        watch = asyncio.create_task(self._watch(connection), name="watch over an integrity question")
        try:
            await connection.execute(b"SET search_path = ''" if qualified else b"RESET search_path")
            await connection.execute(b"SET enable_seqscan = off" if by_place else b"RESET enable_seqscan")
            return await (await connection.execute(sql.encode(), parameters)).fetchall()
        except psycopg.Error as error:
            self._note_time()
            said = scrub(error.diag.message_primary or plain(error)).rstrip(".")
            says = f"There was no answer: {self.gone}." if self.gone else f"The database says: {said}."
            raise DatabaseUnreachable(says, sqlstate=error.sqlstate or "") from error
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _connected(self) -> psycopg.AsyncConnection[DictRow]:
        """The connection, or a new one if it broke. A refusal is waited out for a while, silence isn't."""
        patience = time.monotonic() + PATIENCE
        while self._connection is None or self._connection.closed:
            try:
                self._connection = await self._opened()
            except DatabaseUnreachable as error:
                if error.silent:
                    self.gone = "the database stopped answering"
                elif time.monotonic() > min(patience, self._deadline):
                    self.gone = "the database gives no connection"
                if self.gone:
                    raise
                await asyncio.sleep(1)
        return self._connection

    async def _opened(self) -> psycopg.AsyncConnection[DictRow]:
        connection = await self._connections.connect("read")
        left = max(self._deadline - time.monotonic(), 1)
        try:
            async with asyncio.timeout(OPENING):
                await connection.execute(self._session.format(milliseconds=int(left * 1000)).encode())
        except (TimeoutError, psycopg.Error) as error:
            self._cut(connection)
            await connection.close()
            silent = isinstance(error, TimeoutError)
            raise DatabaseUnreachable("The database broke off a new connection.", silent=silent) from error
        return connection

    async def _watch(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        """End the question if the time is over or the server answers nobody. A server that is only busy answers."""
        while True:
            await asyncio.sleep(min(WATCH, max(self._deadline - time.monotonic(), 0)))
            if self._note_time():
                with contextlib.suppress(psycopg.Error):
                    await connection.cancel_safe(timeout=CANCELLING)
                await asyncio.sleep(CANCELLING)
                return self._cut(connection)
            if not await self._alive():
                self.gone = "the database stopped answering"
                return self._cut(connection)

    def _note_time(self) -> bool:
        """Whether the time is over; the server itself ends a query then, so its error may be the first sign."""
        over = time.monotonic() >= self._deadline - 0.05
        if over and not self.gone:
            self.gone = f"the time of {self._seconds:.0f} s is over"
        return over

    async def _alive(self) -> bool:
        """Whether the server answers a new client, even if with a refusal."""
        try:
            await (await self._connections.connect("read")).close()
        except DatabaseUnreachable as error:
            return not error.silent
        return True

    @staticmethod
    def _cut(connection: psycopg.AsyncConnection[DictRow]) -> None:
        """Break the connection under a query that waits: to cancel it would need the server's answer."""
        if not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as copy, contextlib.suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)
