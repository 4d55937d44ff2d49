"""The SSH client against OpenSSH's own server: keys, certificates, jump hosts, forced commands and what breaks on the way."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from actions.site import Agents
from actions.ssh.client import MOST_OUTPUT, Ssh
from actions.ssh.inventory import Host, Jump
from actions.ssh.reply import Lost, NotReached, Reply
from rehearsal.waiting import until

NEEDED = Path("/run/sshd")  # by an sshd that root starts
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="there is no sshd: install openssh-server")
USER = getpass.getuser()
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
{more}
"""


class Server:
    """An sshd with keys of its own, and a client's key that it lets in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = self._make("client_key")
        self.host_key = self._make("host_key")
        self.port = 0
        (folder / "authorized_keys").write_bytes(self.key.export_public_key())

    def _make(self, name: str, kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
        key = asyncssh.generate_private_key(kind)
        (self.folder / name).write_bytes(key.export_private_key("openssh"))
        (self.folder / name).chmod(0o600)
        return key

    def let_in(self, kind: str) -> Path:
        """Another key that it lets in; returns its file."""
        key = self._make(f"client_{kind}", kind)
        with (self.folder / "authorized_keys").open("ab") as file:
            file.write(key.export_public_key())
        return self.folder / f"client_{kind}"

    async def start(self, more: str = "") -> asyncio.subprocess.Process:
        """Start it with these further settings, and wait until it listens."""
        assert SSHD
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (self.folder / "sshd_config").write_text(CONFIG.format(port=self.port, folder=self.folder, more=more))
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(SSHD, "-D", "-e", "-f", self.folder / "sshd_config", stderr=log)

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return True

        await until(listens, 10, lambda: (self.folder / "log").read_text())
        return process

    def known(self, key: asyncssh.SSHKey | None = None) -> str:
        """Its line for known_hosts."""
        return f"[127.0.0.1]:{self.port} {(key or self.host_key).export_public_key().decode()}"

    def client(self, known: str | None = None, key: Path | None = None) -> Ssh:
        """A client that trusts this line."""
        file = self.folder / f"known_{time.monotonic_ns()}"
        file.write_text(self.known() if known is None else known)
        settings: dict[str, Any] = {"inventory": "-", "key": str(key or self.folder / "client_key"), "known_hosts": str(file)}
        return Ssh(Agents(**settings, user=USER, heartbeat_url="http://127.0.0.1/", heartbeat_table="heartbeats"))

    @property
    def host(self) -> Host:
        """The host, as an inventory has it."""
        return Host(name="a-1", address="127.0.0.1", port=self.port, user=USER, runtime="systemd")


Start = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def privileges() -> None:
    """The empty folder that Debian's service makes before it starts sshd."""
    if os.geteuid() == 0:
        NEEDED.mkdir(exist_ok=True)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the server; it's gone at the end."""
    processes: list[asyncio.subprocess.Process] = []

    async def begin(more: str = "", server: Server | None = None) -> Server:
        server = server or Server(tmp_path)
        processes.append(await server.start(more))
        return server

    yield begin
    for process in processes:
        process.terminate()
        await process.wait()


async def run(ssh: Ssh, host: Host, command: str, **more: Any) -> Reply:
    try:
        async with ssh.session(host) as session:
            return await session.run(command, **more)
    finally:
        await ssh.close()


async def kind(ssh: Ssh, host: Host) -> str:
    with pytest.raises(NotReached) as caught:
        await run(ssh, host, "true")
    return caught.value.kind


async def test_output_and_exit_code_come_back(start: Start) -> None:
    server = await start()
    assert await run(server.client(), server.host, "echo out; echo err >&2; exit 3") == Reply(code=3, out="out", err="err")
    assert (await run(server.client(), server.host, "cat")).good  # nothing waits for input
    assert (await run(server.client(), server.host, "timeout -k 2 1 sleep 30")).code == 124


async def test_keys_of_every_kind_are_let_in(start: Start, tmp_path: Path) -> None:
    server = Server(tmp_path)
    files = [server.let_in(name) for name in ("ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-ed25519")]
    await start(server=server)
    for file in files:
        assert (await run(server.client(key=file), server.host, "true")).good


@pytest.mark.parametrize("kind_of_key", ["ssh-rsa", "ecdsa-sha2-nistp256"])
async def test_a_host_may_have_a_key_of_another_kind(start: Start, tmp_path: Path, kind_of_key: str) -> None:
    server = Server(tmp_path)
    server.host_key = server._make("host_key", kind_of_key)
    await start(server=server)
    assert (await run(server.client(), server.host, "true")).good


async def test_a_slow_host_is_waited_for(start: Start) -> None:
    server = await start('ForceCommand sleep 1; eval "$SSH_ORIGINAL_COMMAND"')
    began = time.monotonic()
    assert (await run(server.client(), server.host, "echo late", seconds=60)).out == "late"
    assert time.monotonic() - began >= 1


async def test_refusals_have_their_kinds(start: Start, tmp_path: Path) -> None:
    server = await start()
    stranger = server._make("stranger")
    assert await kind(server.client(key=tmp_path / "stranger"), server.host) == "auth"
    assert await kind(server.client(known=""), server.host) == "host key"
    assert await kind(server.client(known=server.known(stranger)), server.host) == "host key"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert await kind(server.client(), replace(server.host, port=port)) == "refused"


async def test_a_revoked_host_key_is_refused(start: Start) -> None:
    server = await start()
    known = f"{server.known()}@revoked {server.known()}"
    with pytest.raises(NotReached, match="its key is revoked"):
        await run(server.client(known=known), server.host, "true")


@pytest.mark.parametrize(("principal", "trusted"), [("127.0.0.1", True), ("other.example", False)])
async def test_a_host_certificate_counts_for_its_own_name_only(
    start: Start, tmp_path: Path, principal: str, trusted: bool
) -> None:
    server, authority = Server(tmp_path), asyncssh.generate_private_key("ssh-ed25519")
    certificate = authority.generate_host_certificate(server.host_key, "host", principals=[principal])
    (tmp_path / "host_key-cert.pub").write_bytes(certificate.export_certificate())
    await start(f"HostCertificate {tmp_path}/host_key-cert.pub", server=server)
    client = server.client(known=f"@cert-authority * {authority.export_public_key().decode()}")
    if trusted:
        assert (await run(client, server.host, "true")).good
    else:
        assert await kind(client, server.host) == "host key"


async def test_a_certificate_beside_the_key_is_used(start: Start, tmp_path: Path) -> None:
    server, authority = Server(tmp_path), asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "authorized_keys").write_text("")
    (tmp_path / "user_ca.pub").write_bytes(authority.export_public_key())
    certificate = authority.generate_user_certificate(server.key, "dr-bot", principals=[USER])
    await start(f"TrustedUserCAKeys {tmp_path}/user_ca.pub", server=server)
    assert await kind(server.client(), server.host) == "auth"
    (tmp_path / "client_key-cert.pub").write_bytes(certificate.export_certificate())
    assert (await run(server.client(), server.host, "true")).good


async def test_a_forced_command_runs_instead_and_is_told_what_was_asked(start: Start) -> None:
    server = await start('ForceCommand echo "forced: $SSH_ORIGINAL_COMMAND"')
    assert (await run(server.client(), server.host, "systemctl is-active x")).out == "forced: systemctl is-active x"


async def test_a_host_is_reached_through_a_jump_host(start: Start) -> None:
    server = await start()
    jump = Jump(name="bastion", address="127.0.0.1", port=server.port, user=USER)
    assert (await run(server.client(), replace(server.host, jump=jump), "echo $SSH_CONNECTION")).good


async def test_a_jump_host_that_forwards_nothing_is_told(start: Start) -> None:
    server = await start("AllowTcpForwarding no")
    jump = Jump(name="bastion", address="127.0.0.1", port=server.port, user=USER)
    assert await kind(server.client(), replace(server.host, jump=jump)) == "refused"


async def test_four_questions_at_once_fit_into_a_connection(start: Start) -> None:
    server = await start("MaxSessions 4")
    async with server.client().session(server.host) as session:
        replies = await asyncio.gather(*(session.run(f"sleep 0.2; echo {n}") for n in range(4)))
    assert [reply.out for reply in replies] == ["0", "1", "2", "3"]


async def test_more_sessions_than_allowed_are_lost_and_the_others_go_on(start: Start) -> None:
    server = await start("MaxSessions 1")
    async with server.client().session(server.host) as session:
        replies = await asyncio.gather(*(session.run("sleep 0.2") for _ in range(2)), return_exceptions=True)
    assert sorted(type(reply).__name__ for reply in replies) == ["Lost", "Reply"]


async def test_endless_and_binary_output_is_cut_and_harmless(start: Start) -> None:
    server = await start()
    began = time.monotonic()
    async with server.client().session(server.host) as session:
        endless = await session.run("yes '\x1b[31mred'", seconds=20)
        binary = await session.run("head -c 50000 /dev/urandom", seconds=20)
        assert (await session.run("true")).good
    assert time.monotonic() - began < 20
    assert endless.cut
    assert len(endless.out) <= MOST_OUTPUT
    assert endless.out.startswith("red\nred")
    assert binary.good
    assert not [char for char in binary.out if char < " " and char not in "\t\n"]


async def test_a_long_banner_does_no_harm(start: Start, tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("Welcome \x1b[2J\n" * 15_000)
    server = await start(f"Banner {tmp_path}/banner")
    assert (await run(server.client(), server.host, "echo $USER")).out == USER


async def test_a_session_that_is_killed_is_lost_and_a_command_that_is_has_failed(start: Start) -> None:
    server = await start()
    with pytest.raises(Lost):
        await run(server.client(), server.host, "kill -9 $PPID; sleep 5")
    killed = await run(server.client(), server.host, "kill -9 $$")
    assert not killed.good


async def test_a_host_that_is_stopped_in_the_middle_is_lost_after_the_command_s_time(start: Start) -> None:
    server = await start()
    began = time.monotonic()
    with pytest.raises(Lost, match=r"did not end within 0.5 s"):
        await run(server.client(), server.host, "sleep 30", seconds=0.5)
    assert time.monotonic() - began < 10
