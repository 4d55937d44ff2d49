"""How the process ends: on a signal, part by part, and within five seconds whatever hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)
END_SECONDS = 4.7  # of the five that a service manager sees
PART_SECONDS = 1.2  # what one part gets to end in good order


def told_to_end() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. From the signal on time runs out, also when the loop hangs."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell(*_: object) -> None:
        if not told.is_set():
            end_within(END_SECONDS, 0)
            loop.call_soon_threadsafe(told.set)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, tell)
    return told


def end_within(seconds: float, code: int) -> None:
    """The process is gone after so many seconds, if not before."""
    timer = threading.Timer(seconds, _cut_off, [code])
    timer.daemon = True
    timer.start()


async def end_part(name: str, ending: Awaitable[object]) -> bool:
    """Let one part end; False when it takes too long. Neither that nor its failure keeps the other parts from ending."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait({task}, timeout=PART_SECONDS)
    if not task.done():
        log.warning("part_does_not_end", part=name)
    elif not task.cancelled() and (error := task.exception()):
        log.warning("part_ended_badly", part=name, error=repr(error))
    return task.done()


def leave(code: int) -> NoReturn:
    """End the process now. Threads may still wait for an answer, say from AWS; the next process reads back what came of it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _cut_off(code: int) -> None:
    log.warning("end_cut_off", says="Something did not end in time. What was under way goes on at the next start.")
    leave(code)
