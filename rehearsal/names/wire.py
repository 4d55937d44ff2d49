"""DNS over UDP and TCP: sockets on a loopback port that hand each question to a function, and send what it returns."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode

UDP_SIZE = 512
Answer = Callable[[dns.message.Message], Awaitable[dns.message.Message]]


class DnsPort:
    """One address, on the same port over UDP and TCP."""

    def __init__(self, answer: Answer) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.asked = 0
        self._answer = answer
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """127.0.0.1:PORT."""
        return f"{self.host}:{self.port}"

    async def open(self) -> None:
        """Listen on a port that's free for both."""
        for _ in range(20):
            self._tcp = await asyncio.start_server(self._serve_tcp, self.host, 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                datagrams.bind((self.host, self.port))
            except OSError:  # somebody else has it over UDP
                datagrams.close()
                self._tcp.close()
                continue
            loop = asyncio.get_running_loop()
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
            return
        raise OSError("There is no port that's free over UDP and over TCP.")

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._udp:
            self._udp.close()
        if self._tcp:
            self._tcp.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def received(self, wire: bytes, address: tuple[str, int]) -> None:
        """A question has come over UDP."""
        task = asyncio.get_running_loop().create_task(self._serve_udp(wire, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_udp(self, wire: bytes, address: tuple[str, int]) -> None:
        answer = await self._answered(wire)
        if answer is None or self._udp is None:
            return
        size = max(answer.request_payload, UDP_SIZE) if answer.edns >= 0 else UDP_SIZE
        try:
            packed = answer.to_wire(max_size=size)
        except dns.exception.TooBig:
            answer.answer, answer.authority, answer.additional = [], [], []
            answer.flags |= dns.flags.TC  # ask again over TCP
            packed = answer.to_wire()
        self._udp.sendto(packed, address)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                answer = await self._answered(await reader.readexactly(length))
                if answer is None:
                    break
                packed = answer.to_wire()
                writer.write(len(packed).to_bytes(2, "big") + packed)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has asked all it wanted
        finally:
            writer.close()

    async def _answered(self, wire: bytes) -> dns.message.Message | None:
        try:
            question = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None  # what isn't DNS gets no answer
        self.asked += 1
        if len(question.question) != 1:
            refusal = dns.message.make_response(question)
            refusal.set_rcode(dns.rcode.FORMERR)
            return refusal
        return await self._answer(question)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, port: DnsPort) -> None:
        self._port = port

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._port.received(data, cast(tuple[str, int], addr))
