"""The SSH client: strict host keys, nothing from ~/.ssh, bounded output, and failures told apart.

session(host) -> NotReached, with its kind: unreachable, refused, host key or auth. Nothing was sent.
run(command)  -> a Reply with an exit code, or Lost: the command was sent, and its end is not known.

A key that was refused is not offered again: sshd would lock the bot's address out.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncssh

from actions.scrub import plain, scrub
from actions.site import Agents
from actions.ssh.gathered import Gathered
from actions.ssh.inventory import Host, Inventory, Jump, load
from actions.ssh.reply import AUTH, HOST_KEY, REFUSED, UNREACHABLE, CannotSignIn, Lost, NotReached, Reply

logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it logs each packet's kind, which takes time
CONNECT_SECONDS, LOGIN_SECONDS = 5.0, 10.0
MOST_OUTPUT, MOST_ERROR = 64 * 1024, 4 * 1024
WINDOW = 128 * 1024  # bytes that a host may send before they are read
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Session:
    """A connection to one host."""

    def __init__(self, host: Host, connection: asyncssh.SSHClientConnection) -> None:
        self.host = host
        self._connection = connection

    async def run(self, command: str, *, seconds: float = 10.0, most: int = MOST_OUTPUT) -> Reply:
        """Run a command line, with at most so much of its output. Raises `Lost`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._run(command, most)
        except TimeoutError as error:
            raise Lost(f"{self.host}: the command did not end within {seconds:g} s.") from error
        except (asyncssh.Error, OSError) as error:
            raise Lost(f"{self.host}: the connection broke: {plain(error)}.") from error

    async def _run(self, command: str, most: int) -> Reply:
        process: asyncssh.SSHClientProcess[bytes] = await self._connection.create_process(
            command, encoding=None, stdin=asyncssh.DEVNULL, window=WINDOW
        )
        try:
            async with asyncio.TaskGroup() as group:
                out = group.create_task(_start_of(process.stdout, most))
                err = group.create_task(_start_of(process.stderr, MOST_ERROR))
                await asyncio.wait((out, err), return_when=asyncio.FIRST_COMPLETED)
                if any(each.done() and each.result()[1] for each in (out, err)):
                    process.close()  # one of them has no end, and nobody reads on
            if cut := out.result()[1] or err.result()[1]:
                process.close()
            else:
                await process.wait_closed()
        finally:
            process.close()
        if process.exit_status is None and process.exit_signal is None and not cut:
            raise Lost(f"{self.host}: the connection broke before the command had ended.")
        code = process.exit_status if process.exit_status is not None else 0 if cut else -1
        signal = scrub(process.exit_signal[0]) if process.exit_signal else ""
        return Reply(code=code, out=_text(out.result()[0]), err=_text(err.result()[0]), cut=cut, signal=signal)


class Ssh:
    """Sessions with the hosts of the inventory. At most `at_once` of them stand at a time."""

    def __init__(self, site: Agents) -> None:
        self.site = site
        self._places = asyncio.Semaphore(site.at_once)
        self._identity: tuple[Any, Any] | None = None
        self._reading = asyncio.Lock()
        self._jumps: dict[Jump, asyncssh.SSHClientConnection] = {}
        self._jumping = asyncio.Lock()

    async def inventory(self) -> Inventory:
        """The inventory as the file has it now. Raises `BadInventory`."""
        return await asyncio.to_thread(load, self.site)

    @asynccontextmanager
    async def session(self, host: Host) -> AsyncIterator[Session]:
        """A session with a host. Raises `NotReached`, or `CannotSignIn`."""
        async with self._places, AsyncExitStack() as stack:
            tunnel = await self._jump(host.jump) if host.jump else None
            connection = await self._connect(host.name, host.address, host.port, host.user, tunnel)
            stack.callback(connection.abort)
            yield Session(host, connection)

    async def close(self) -> None:
        """End the connections to jump hosts."""
        for connection in self._jumps.values():
            connection.abort()
        self._jumps.clear()

    async def _jump(self, jump: Jump) -> asyncssh.SSHClientConnection:
        async with self._jumping:
            standing = self._jumps.get(jump)
            if standing is None or standing.is_closed():
                standing = await self._connect(f"jump host {jump.name}", jump.address, jump.port, jump.user, None)
                self._jumps[jump] = standing
            return standing

    async def _connect(
        self, name: str, address: str, port: int, user: str, tunnel: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        keys, known = await self._signs_in_with()
        seen = _Seen(keys)
        where = f"{name} ({address}:{port})"
        try:
            async with asyncio.timeout(CONNECT_SECONDS + LOGIN_SECONDS):
                return await asyncssh.connect(
                    address,
                    port,
                    tunnel=tunnel or Gathered(),
                    config=None,  # else ~/.ssh/config could name a program to run
                    username=user,
                    client_keys=None,  # ours come from the factory: else it would look for an agent at each connection
                    known_hosts=known,
                    agent_path=None,
                    agent_forwarding=False,
                    gss_host=None,
                    preferred_auth="publickey",
                    encryption_algs=["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
                    compression_algs=None,
                    connect_timeout=CONNECT_SECONDS,
                    login_timeout=LOGIN_SECONDS,
                    keepalive_interval=5,
                    keepalive_count_max=2,
                    client_factory=lambda: seen,
                )
        except Exception as error:
            if not isinstance(error, (asyncssh.Error, OSError)):
                raise
            raise _not_reached(where, error, seen, known, (address, port)) from error

    async def _signs_in_with(self) -> tuple[Any, Any]:
        """The bot's key and the known hosts, read once: known_hosts takes long to read."""
        async with self._reading:
            if self._identity is None:
                self._identity = await asyncio.to_thread(self._read)
            return self._identity

    def _read(self) -> tuple[Any, Any]:
        try:
            keys = asyncssh.load_keypairs([self.site.key])
        except (OSError, ValueError, asyncssh.Error) as error:
            raise CannotSignIn(f"The key {self.site.key} can't be used: {plain(error)}. [agents] key names it.") from error
        try:
            return keys, asyncssh.read_known_hosts([self.site.known_hosts])
        except (OSError, ValueError, asyncssh.Error) as error:
            says = f"{self.site.known_hosts} can't be used: {plain(error)}. [agents] known_hosts names it."
            raise CannotSignIn(says) from error


class _Seen(asyncssh.SSHClient):
    """Offers the bot's key. Remembers the host key, or the CA's, that nobody vouches for, and accepts none."""

    def __init__(self, keys: Any) -> None:
        self.fingerprint = ""
        self.by_ca = False
        self._keys = keys

    def public_key_auth_requested(self) -> Any:
        """The bot's key, once: asked again, it was refused."""
        keys, self._keys = self._keys, None
        return keys

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.fingerprint = key.get_fingerprint()
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.fingerprint, self.by_ca = key.get_fingerprint(), True
        return False


def _not_reached(where: str, error: Exception, seen: _Seen, known: Any, address: tuple[str, int]) -> NotReached:
    """The failure to connect, with its kind and as a sentence."""
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return NotReached(HOST_KEY, f"{where}: {_about_key(error, seen, known, address)}")
        case asyncssh.PermissionDenied():
            return NotReached(AUTH, f"{where} does not accept the bot's key: {plain(error)}.")
        case ConnectionRefusedError():
            return NotReached(REFUSED, f"{where} refuses connections.")
        case asyncssh.ChannelOpenError():
            return NotReached(REFUSED, f"{where} can't be reached through its jump host: {plain(error)}.")
        case TimeoutError():
            return NotReached(UNREACHABLE, f"{where} gave no SSH greeting within {CONNECT_SECONDS:g} s.")
        case socket.gaierror():
            return NotReached(UNREACHABLE, f"{where}: there is no such name.")
        case OSError() if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return NotReached(UNREACHABLE, f"{where}: there is no route to it.")
    return NotReached(UNREACHABLE, f"{where} does not speak SSH as expected: {plain(error)}.")


def _about_key(error: Exception, seen: _Seen, known: Any, address: tuple[str, int]) -> str:
    """Whether a host's key is unknown or another one; these two must never look alike to a person."""
    shown = f" The host shows {seen.fingerprint}." if seen.fingerprint else ""
    keys, authorities, revoked, *_ = known.match(address[0], "", address[1])
    if revoked and not seen.fingerprint:  # asyncssh shows us every key that it does not know, but none that is revoked
        return "its key is revoked."
    if seen.by_ca or (authorities and not keys):
        return f"its certificate is not one of the known authority: {plain(error)}.{shown}"
    if keys:
        expected = " or ".join(sorted(key.get_fingerprint() for key in keys))
        return f"its key has CHANGED. known_hosts has {expected}.{shown} It was rebuilt, or somebody is in the middle."
    return f"its key is unknown: known_hosts has none for it.{shown}"


async def _start_of(stream: asyncssh.SSHReader[bytes], most: int) -> tuple[bytes, bool]:
    """The first bytes of a stream, and whether there are more. A connection that breaks is an end, too."""
    found = bytearray()
    try:
        while len(found) <= most and (part := await stream.read(most + 1 - len(found))):
            found += part
    except (asyncssh.Error, OSError):
        pass
    return bytes(found[:most]), len(found) > most


def _text(raw: bytes) -> str:
    """Bytes of a host as harmless text: no terminal codes, no control characters but line breaks, no secrets."""
    return "\n".join(scrub(line) for line in _ANSI.sub("", raw.decode(errors="replace")).splitlines())
