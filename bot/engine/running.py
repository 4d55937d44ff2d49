"""The workflows that run in this process: so that they can be cut off, and so that one that isn't running is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Running:
    """Tasks by the id of their workflow."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._idle: set[str] = set()
        self._ending = False

    @contextmanager
    def known(self, workflow: str) -> Iterator[None]:
        """Know the current task as that of a workflow for as long as the block lasts. None begins once they have been cut off."""
        self.go_on()
        task = asyncio.current_task()
        assert task is not None
        self._tasks[workflow] = task
        try:
            yield
        finally:
            if self._tasks.get(workflow) is task:
                del self._tasks[workflow]

    def go_on(self) -> None:
        """End the task here once all have been cut off: the result of a step whose world was taken away is not an outcome."""
        if self._ending:
            raise asyncio.CancelledError

    async def cut_off(self) -> None:
        """Cancel every task and wait until it has ended; one that would begin later ends at once."""
        self._ending = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def idle(self, pending: set[str]) -> set[str]:
        """Of the workflows that should run, those that did not run now and at the last look: they are not about to begin."""
        idle = pending - self._tasks.keys()
        twice, self._idle = idle & self._idle, idle
        return twice
