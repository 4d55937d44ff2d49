"""One bot at a time: a second one on the same state waits as a standby and takes over when the first is gone."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import IO, Any

import structlog
from sqlalchemy import Engine, text

log = structlog.get_logger(__name__)
ADVISORY_KEY = 0x6472626F74  # "drbot"
POLL_SECONDS = 0.25
LOST_EXIT_CODE = 75


class Leadership:
    """`await take()` returns once this process leads. Losing the lead ends the process at once: another may act already."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file: IO[str] | None = None
        self._connection: Any = None
        self._watch: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Wait until nobody else leads, and lead."""
        attempt = self._lock_file if self._engine.dialect.name == "sqlite" else self._lock_server
        waiting = False
        while not await asyncio.to_thread(attempt):
            if not waiting:
                log.warning("standing_by", says="Another bot works on this state; this one takes over when it is gone.")
            waiting = True
            await asyncio.sleep(POLL_SECONDS)
        if self._connection is not None:
            self._watch = asyncio.create_task(self._keep())

    def release(self) -> None:
        """Let another one lead."""
        if self._watch:
            self._watch.cancel()
        if self._connection is not None:
            self._connection.close()
        if self._file is not None:
            self._file.close()

    def _lock_file(self) -> bool:
        path = Path(f"{self._engine.url.database}.lock")
        self._file = self._file or path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock_server(self) -> bool:
        self._connection = self._connection or self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return bool(self._connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_KEY}).scalar())

    async def _keep(self) -> None:
        """The advisory lock lives as long as its connection; when that breaks, this process must not go on."""
        while True:
            await asyncio.sleep(1.0)
            try:
                async with asyncio.timeout(5.0):
                    await asyncio.to_thread(self._connection.execute, text("SELECT 1"))
            except Exception as error:  # whatever breaks the connection has the same meaning
                log.critical("lead_lost", error=str(error))
                os._exit(LOST_EXIT_CODE)
