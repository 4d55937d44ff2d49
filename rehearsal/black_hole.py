"""A port whose packets vanish: who connects gets no answer and no refusal, as when a whole region is cut off."""

from __future__ import annotations

import os
import socket

FILLERS = 3  # one fills the queue of a listener that takes no more than one; the others find it full


class BlackHole:
    """Takes over a listening socket. Linux drops every packet that wants to open a connection while the queue is full.

    Connections that are open already are not its concern: who has them must stop reading and writing.
    """

    def __init__(self, listener: socket.socket) -> None:
        """The caller has stopped accepting and may close its own socket; the port stays taken."""
        self._listener = socket.socket(fileno=os.dup(listener.fileno()))
        self._listener.listen(0)
        self._fillers = [self._fill() for _ in range(FILLERS)]

    def end(self) -> socket.socket:
        """The listening socket, for somebody who accepts again; clients that still try to connect get through then."""
        for filler in self._fillers:
            filler.close()
        self._fillers = []
        return self._listener

    def close(self) -> None:
        """Nobody listens any more."""
        self.end().close()

    def _fill(self) -> socket.socket:
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(self._listener.getsockname())
        return filler
