"""A drill as it happens: what people see in the channel, a line each, for whoever waits at the terminal."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Callable

from rehearsal.people import People, run_of

EVERY_SECONDS = 0.3
MOST = 200  # characters of a line


async def tell(people: People, say: Callable[[str], None]) -> None:
    """Say each new line of the channel and its threads until cancelled, with the seconds since the beginning."""
    began, seen = time.monotonic(), set[tuple[str, str]]()
    while True:
        for ts, text in _lines(people):
            line = " ".join(re.sub(r":[a-z_]+: ?", "", html.unescape(text)).split())
            if (ts, line) not in seen:
                seen.add((ts, line))
                say(f"{time.monotonic() - began:6.1f} s  {line[:MOST]}")
        await asyncio.sleep(EVERY_SECONDS)


def _lines(people: People) -> list[tuple[str, str]]:
    """What stands in the channel now: of a card its title, of a run's thread every line."""
    found: list[tuple[str, str]] = []
    for message in people.messages():
        run = run_of(message)
        if run is None:
            if message.get("subtype") != "thread_broadcast":
                found.append((message["ts"], message["text"]))
            continue
        found.append((message["ts"], message["text"].partition(" Asked for by ")[0] if run else message["text"]))
        found += [(reply["ts"], reply["text"]) for reply in people.replies(run)]
    return found
