"""Hosts that mean harm, or are far out of order: bounded time and memory, a clear sentence, and nothing shown raw."""

from __future__ import annotations

import asyncio
import contextlib
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from actions.site import Agents
from actions.ssh import client
from actions.ssh.client import MOST_OUTPUT, Ssh
from actions.ssh.inventory import Host
from actions.ssh.reply import Lost, NotReached

KEY = asyncssh.generate_private_key("ssh-ed25519")
OURS = asyncssh.generate_private_key("ssh-ed25519")
Answer = Callable[[Any], Any]
MOST_MEMORY = 6 * 2**20  # bytes more than before, at the most
ANSI = "\x1b[31m\x1b]0;owned\x07\x1b[2J"


def settings(folder: Path, port: int) -> tuple[Ssh, Host]:
    """A client that knows the host at this port."""
    (folder / "key").write_bytes(OURS.export_private_key())
    (folder / "key").chmod(0o600)
    (folder / "known").write_text(f"[127.0.0.1]:{port} {KEY.export_public_key().decode()}")
    files = {"inventory": "-", "key": str(folder / "key"), "known_hosts": str(folder / "known")}
    site = Agents(**files, user="dr", heartbeat_url="http://127.0.0.1/", heartbeat_table="heartbeats")
    return Ssh(site), Host(name="agent-1", address="127.0.0.1", port=port, user="dr", runtime="systemd")


class Greeting(asyncssh.SSHServer):
    """Sends a banner of a megabyte before anybody is let in."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        for _ in range(40):
            self.conn.send_auth_banner((ANSI + "Welcome! ") * 1_600)
        return True


@asynccontextmanager
async def host(folder: Path, answer: Answer, **more: Any) -> AsyncIterator[tuple[Ssh, Host]]:
    """A host that answers each command so."""
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[KEY],
        authorized_client_keys=asyncssh.import_authorized_keys(OURS.export_public_key().decode()),
        process_factory=answer,
        encoding=None,
        **more,
    )
    yield settings(folder, server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def raw_host(folder: Path, greet: Callable[[asyncio.StreamWriter], Any]) -> AsyncIterator[tuple[Ssh, Host]]:
    """Something that listens and is no SSH server."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await greet(writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield settings(folder, server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


async def test_endless_output_on_both_streams_is_cut(tmp_path: Path) -> None:
    async def pour(process: Any) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            while not process.is_closing():
                for stream in (process.stdout, process.stderr):
                    stream.write(ANSI.encode() + b"\xff\x00 red\n" * 500)
                    await stream.drain()

    async with host(tmp_path, pour) as (ssh, poisoned), ssh.session(poisoned) as session:
        tracemalloc.start()
        try:
            began = time.monotonic()
            reply = await session.run("journalctl", seconds=30)
            took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert took < 20
    assert peak < MOST_MEMORY
    assert reply.cut
    assert len(reply.out) <= MOST_OUTPUT
    shown = reply.out + reply.err + reply.says
    assert not [char for char in shown if char < " " and char not in "\t\n"]
    assert "owned" not in shown


async def test_a_banner_of_a_megabyte_is_read_past(tmp_path: Path) -> None:
    def well(process: Any) -> None:
        process.stdout.write(b"active\n")
        process.exit(0)

    async with host(tmp_path, well, server_factory=Greeting) as (ssh, proud), ssh.session(proud) as session:
        assert (await session.run("true")).out == "active"


@pytest.mark.parametrize(
    ("greeting", "says"),
    [
        (b"\x00\xff\xfe\x80" * 300_000, "does not speak SSH as expected"),
        (b"Welcome!\r\n" * 120_000, "does not speak SSH as expected"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SSH as expected"),
        (b"SSH-2.0-x\x1b[2J\r\n" + b"\xff" * 1_000_000, "does not speak SSH as expected"),
    ],
    ids=["binary", "lines", "http", "binary-after-its-version"],
)
async def test_something_that_is_not_an_ssh_server_is_reported_as_such(tmp_path: Path, greeting: bytes, says: str) -> None:
    async def greet(writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    async with raw_host(tmp_path, greet) as (ssh, stranger):
        with pytest.raises(NotReached, match=says) as caught:
            async with ssh.session(stranger):
                pass
    assert caught.value.kind == "unreachable"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_an_exit_by_a_signal_is_a_failure_with_its_name(tmp_path: Path) -> None:
    def killed(process: Any) -> None:
        process.exit_with_signal("KILL", False, ANSI)

    async with host(tmp_path, killed) as (ssh, ill), ssh.session(ill) as session:
        reply = await session.run("systemctl restart shielda-agent")
    assert not reply.good
    assert reply.says == "it was ended by the signal KILL"


async def test_a_command_that_is_never_answered_is_lost_in_time(tmp_path: Path) -> None:
    async def silent(process: Any) -> None:
        await asyncio.sleep(30)

    async with host(tmp_path, silent) as (ssh, slow), ssh.session(slow) as session:
        with pytest.raises(Lost, match=r"did not end within 0.2 s"):
            await session.run("true", seconds=0.2)


async def test_a_greeting_that_drips_does_not_hold_the_bot_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(client, "LOGIN_SECONDS", 0.3)

    async def drip(writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            writer.write(b"W\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    began = time.monotonic()
    async with raw_host(tmp_path, drip) as (ssh, slow):
        with pytest.raises(NotReached):
            async with ssh.session(slow):
                pass
        assert time.monotonic() - began < 4
