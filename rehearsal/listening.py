"""Listen on a port, and close a listener without losing the connection that has just come in."""

import asyncio
import os
import socket
from collections.abc import Iterable

TURNS = 4  # of the event loop: a connection is accepted, and gets its transport, its protocol and its handler one turn each.


class CannotStart(Exception):
    """The rehearsal can't start; the message says why, and what to do."""


def listen(port: int) -> socket.socket:
    """A listener on this port of the loopback address; 0 is any free one. CannotStart if it's taken."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise CannotStart(f"Port {port} is taken ({why}). Choose another with --port, such as {port + 1}.") from error


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
