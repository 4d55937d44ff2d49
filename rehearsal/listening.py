"""Ending a listener without forgetting who has just come in."""

import asyncio
import socket
from collections.abc import Iterable

TURNS = 4  # of the loop: a connection is taken, gets its transport, its protocol, its handler, each in a turn of its own.


async def stop_accepting(listening: Iterable[socket.socket]) -> None:
    """Nobody comes in any more, and who came in is known to the server, so that it can be closed and its connections cut.

    asyncio takes a connection in one turn of the loop and hands it to its server in the next. A server that is closed in
    between forgets the connection and leaves it open: the client waits where it should be refused
    (https://github.com/python/cpython/issues/109564).
    """
    loop = asyncio.get_running_loop()
    for each in listening:
        loop.remove_reader(each)
    for _ in range(TURNS):
        await asyncio.sleep(0)
