"""One bot at a time, by a lease: the leader renews it, a standby takes it over when it has not been renewed for a while.

- The leader counts a beat up in the state, on a thread and a connection of its own, and may send for `TTL` less a margin from
  the moment at which its last good renewal began. Nobody compares clocks: each side measures its own seconds.
- A standby takes over (epoch + 1) when it could look all the time and saw no new beat for `TTL`; at once when the lead was
  given up, or when its holder is a process of this machine that is gone.
- Every transaction of the leader that wrote something commits only under its epoch, which it reads and locks directly before.
- A deposed leader goes no further: the process starts over as a standby, and nothing of its time as leader is left in memory.

docs/why/leadership.md says why, and what remains.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn
from weakref import WeakSet

import structlog
from sqlalchemy import Connection, Engine, event

from bot.state.away import Ending, Patience
from bot.state.holder import is_gone, name_of_this_process

log = structlog.get_logger(__name__)
BEAT_SECONDS = 0.4
TTL_SECONDS = 1.5
MARGIN_SECONDS = 0.3  # by how much sooner a leader stops sending than another may take over
LOOK_SECONDS = 0.1
GAP_SECONDS = 1.0  # a standby that could not look for this long has seen nothing, and its wait starts again
ANSWER_SECONDS = 1.5
IDLE_SECONDS = 1.4  # less than TTL: a leader that froze within a renewal holds up nobody who takes over
WAIT_SECONDS = 0.01
CANNOT_START_OVER = 75
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine is suspended


def now() -> float:
    """Seconds on a clock that nobody sets and that does not stop."""
    return time.clock_gettime(CLOCK)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The lease as the state has it."""

    epoch: int
    holder: str
    beat: int


class Watch:
    """What a standby has seen of somebody else's lease, and whether it has expired."""

    def __init__(self) -> None:
        self._seen: Seen | None = None
        self._since = self._looked = float("-inf")

    def expired(self, seen: Seen, at: float) -> bool:
        """Note what was read at the moment `at`; True when nothing has changed for the whole time to live."""
        if seen != self._seen or at - self._looked > GAP_SECONDS:
            self._seen, self._since = seen, at
        self._looked = at
        return at - self._since >= TTL_SECONDS


class Records:
    """The lease in the state, over a connection of its own that nothing else waits for; the same SQL on both databases."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._on_server = engine.dialect.name != "sqlite"
        self._lock = " FOR SHARE" if self._on_server else ""  # in SQLite the write before it has locked everything
        self._connection: Any = None

    def look(self) -> Seen:
        """The lease as it is now."""
        row = self._run("SELECT l.epoch, l.holder, h.beat FROM dr_lease l, dr_heartbeat h WHERE l.id = 1 AND h.id = 1").fetchone()
        self._connection.commit()
        if row is None:
            for row_of in ("dr_lease (id, epoch, holder) VALUES (1, 0, '')", "dr_heartbeat (id, beat) VALUES (1, 0)"):
                self._run(f"INSERT INTO {row_of} ON CONFLICT DO NOTHING")
            self._connection.commit()
            return self.look()
        return Seen(epoch=row[0], holder=row[1], beat=row[2])

    def take(self, seen: Seen, holder: str) -> bool:
        """Take the lead from whoever has it in `seen`; False when it was renewed or taken in the meantime.

        The row of the epoch is locked first, which waits for the transactions of the incumbent; its beat is read afterwards.
        """
        sql = "UPDATE dr_lease SET epoch = epoch + 1, holder = ? WHERE id = 1 AND epoch = ? AND holder = ?"
        taken = self._run(sql, holder, seen.epoch, seen.holder).rowcount == 1
        return self._end(taken and self._run("SELECT beat FROM dr_heartbeat WHERE id = 1").fetchone() == (seen.beat,))

    def renew(self, epoch: int) -> bool:
        """Count the beat up; False when the lead has gone to somebody else."""
        self._run("UPDATE dr_heartbeat SET beat = beat + 1 WHERE id = 1")
        return self._end(self._run(f"SELECT epoch FROM dr_lease WHERE id = 1{self._lock}").fetchone() == (epoch,))

    def give_up(self, epoch: int) -> None:
        """Let the next one lead at once."""
        self._run("UPDATE dr_lease SET holder = '' WHERE id = 1 AND epoch = ?", epoch)
        self._connection.commit()

    def drop(self) -> None:
        """Forget the connection, which may be broken."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # whatever is wrong with it, it is no longer used
                connection.close()

    def _run(self, sql: str, *values: Any) -> Any:
        self._connection = self._connection or (self._connect_server() if self._on_server else self._connect_file())
        return self._connection.execute(sql.replace("?", "%s") if self._on_server else sql, values)

    def _end(self, well: bool) -> bool:
        if well:
            self._connection.commit()
        else:
            self._connection.rollback()
        return well

    def _connect_server(self) -> Any:
        from actions.db import bounded  # psycopg is heavy, and SQLite does without it

        arguments, parameters = self._engine.dialect.create_connect_args(self._engine.url)
        return bounded.connect(*arguments, answer_seconds=ANSWER_SECONDS, idle_seconds=IDLE_SECONDS, **parameters)

    def _connect_file(self) -> Any:
        connection = sqlite3.connect(
            str(self._engine.url.database), timeout=ANSWER_SECONDS, isolation_level="IMMEDIATE", check_same_thread=False
        )
        connection.execute("PRAGMA synchronous=NORMAL")  # a beat need not survive a loss of power
        return connection


class Leadership:
    """`await take()` returns once this process leads; `leads()` says whether it may still be sure of it at this moment."""

    def __init__(self, engine: Engine, deposed: Callable[[], NoReturn] | None = None) -> None:
        self.epoch = 0
        self._holder = name_of_this_process()
        self._records = Records(engine)
        self._deposed = deposed or start_over
        self._valid_until = float("-inf")
        self._leading = threading.Event()
        self._standing_by = threading.Event()
        self._ended = threading.Event()
        self._patience = Patience()
        self._watch = Watch()
        self._wrote: WeakSet[Connection] = WeakSet()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)

    async def try_to_take(self) -> bool:
        """Lead if nobody else does; False as soon as somebody else is known to. From then on this process stands by."""
        self._keeper.start()
        while not (self._leading.is_set() or self._standing_by.is_set()):  # noqa: ASYNC110 - a thread sets them, not the loop
            await asyncio.sleep(WAIT_SECONDS)
        return self._leading.is_set()

    async def take(self) -> None:
        """Stand by until this process leads."""
        while not self._leading.is_set():  # noqa: ASYNC110 - a thread sets it, not the loop
            await asyncio.sleep(WAIT_SECONDS)

    def leads(self) -> bool:
        """Whether no other process can be leading: the lease was renewed a moment ago."""
        return now() < self._valid_until and not self._ended.is_set()

    def fence(self, engine: Engine) -> None:
        """From now on every transaction of this engine that wrote something commits only while the epoch is ours."""
        event.listen(engine, "before_cursor_execute", self._note_write)
        event.listen(engine, "commit", self._check)

    def release(self) -> None:
        """Stop sending, and let another one lead at once."""
        self._ended.set()
        self._patience.end()
        self._keeper.join(ANSWER_SECONDS)
        if self._leading.is_set() and not self._keeper.is_alive():
            with suppress(Exception):  # if the state is away, the lease expires by itself
                self._records.give_up(self.epoch)
        self._records.drop()

    # The thread of the lease -----------------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._watch, tries = Watch(), 0
        while not self._ended.is_set():
            began = now()
            try:
                if self._leading.is_set():
                    self._renew(began)
                else:
                    self._stand_by()
            except Exception as error:  # the server is away, for whatever reason: that must not end the thread
                self._records.drop()
                self._watch, tries = Watch(), tries + 1
                with suppress(Ending):
                    self._patience.wait(tries, error)
            else:
                tries = 0
                self._patience.answered()
                pause = BEAT_SECONDS if self._leading.is_set() else LOOK_SECONDS
                self._ended.wait(max(0.0, pause - (now() - began)))

    def _stand_by(self) -> None:
        """Look once, and take the lead when it may be taken."""
        seen = self._records.look()
        expired = self._watch.expired(seen, now())
        why = "free" if not seen.holder else "expired" if expired else "gone" if is_gone(seen.holder) else ""
        if seen.holder == self._holder:  # taken before, and the answer was lost
            self._lead(seen.epoch, "taken")
        elif why and self._records.take(seen, self._holder):
            self._lead(seen.epoch + 1, why)
        elif not self._standing_by.is_set():
            log.warning("standing_by", says="Another bot works on this state; this one takes over when it is gone.")
            self._standing_by.set()

    def _lead(self, epoch: int, why: str) -> None:
        self.epoch = epoch
        self._renew(now())
        log.info("leading", epoch=epoch, lease_was=why)
        self._leading.set()

    def _renew(self, began: float) -> None:
        if not self._records.renew(self.epoch):
            self._step_down()
        self._valid_until = began + TTL_SECONDS - MARGIN_SECONDS

    # The fence -------------------------------------------------------------------------------------------------------

    def _note_write(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip()[:6].upper().startswith("SELECT"):
            self._wrote.add(connection)  # one that is rolled back is not used again, or is checked once too often

    def _check(self, connection: Connection) -> None:
        """Before a commit: hold the epoch until it is through, so that a takeover waits for it, or comes before it."""
        if connection not in self._wrote:
            return
        self._wrote.discard(connection)
        epoch = connection.exec_driver_sql(f"SELECT epoch FROM dr_lease WHERE id = 1{self._records._lock}").scalar()
        if epoch != self.epoch:
            self._step_down()

    def _step_down(self) -> NoReturn:
        self._valid_until = float("-inf")
        log.warning("deposed", epoch=self.epoch, says="Another bot leads. This one starts over as a standby.")
        self._deposed()


def start_over() -> NoReturn:
    """Replace this process by a new one with the same command line. Its connections close, so nothing unfinished commits."""
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError as error:
        log.critical("cannot_start_over", error=str(error))
        os._exit(CANNOT_START_OVER)
