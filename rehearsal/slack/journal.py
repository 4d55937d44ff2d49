"""The journal: every Web API call and every envelope in order, and a signal for those who watch."""

from __future__ import annotations

import asyncio
import time
from typing import Any

Json = dict[str, Any]
SUMMARY_LENGTH = 120


class Journal:
    """Records what happened (`entries`), and wakes the watchers at each change."""

    def __init__(self) -> None:
        self.entries: list[Json] = []
        self._watchers: set[asyncio.Queue[Json | None]] = set()

    def note(self, kind: str, **what: Any) -> Json:
        """Write one entry and return it; the caller may complete it later (an ack comes after its envelope)."""
        entry = {"kind": kind, "at": round(time.time(), 6), **what}
        self.entries.append(entry)
        return entry

    def changed(self, what: str, **where: Any) -> None:
        """Tell every watcher that something people can see has changed."""
        for watcher in self._watchers:
            watcher.put_nowait({"what": what, **where})

    def watch(self) -> asyncio.Queue[Json | None]:
        """A queue of changes; None in it means that the workspace is closing."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._watchers.add(queue)
        return queue

    def unwatch(self, queue: asyncio.Queue[Json | None]) -> None:
        """Stop filling this queue."""
        self._watchers.discard(queue)

    def close(self) -> None:
        """Release every watcher."""
        for watcher in self._watchers:
            watcher.put_nowait(None)


def summary(arguments: Json) -> Json:
    """The arguments of a call in short: long texts are cut, blocks are counted, tokens are left out."""
    short: Json = {}
    for name, value in arguments.items():
        if name == "token":
            continue
        if name == "blocks" and isinstance(value, list):
            short[name] = f"{len(value)} blocks"
        elif isinstance(value, str) and len(value) > SUMMARY_LENGTH:
            short[name] = value[: SUMMARY_LENGTH - 1] + "…"
        elif isinstance(value, dict) and name == "view":
            short[name] = {"callback_id": value.get("callback_id"), "type": value.get("type")}
        else:
            short[name] = value
    return short
