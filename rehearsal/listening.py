"""Close a listener without losing the connection that has just come in."""

import asyncio
import socket
from collections.abc import Iterable

TURNS = 4  # of the event loop: a connection is accepted, and gets its transport, its protocol and its handler one turn each.


async def stop_accepting(listeners: Iterable[socket.socket]) -> None:
    """Accept no more connections, and wait until the server knows of every one it has accepted. Then it can be closed.

    asyncio accepts a connection in one turn of the event loop and hands it to its server in the next. A server that's
    closed in between forgets the connection and leaves it open: the client waits when it should be refused
    (https://github.com/python/cpython/issues/109564).
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener)
    for _ in range(TURNS):
        await asyncio.sleep(0)
