"""The SSH client against hosts that fail: each failure has its kind, and nothing a host sends can hurt."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from actions.site import Agents
from actions.ssh import client, lines
from actions.ssh.client import Ssh
from actions.ssh.inventory import Host, Jump
from actions.ssh.reply import CannotSignIn, Lost, NotReached, Reply
from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.processes import Processes
from tests.conftest import SetVariable
from tests.world.fleet_world import fleet_of

NAME = "agent-0001"


def settings(fleet: Fleet, **changed: Any) -> Agents:
    """[agents] for a fleet."""
    given: dict[str, Any] = {
        "inventory": str(fleet.inventory),
        "key": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
        "user": "dr",
        "unit": "shielda-agent",
        "heartbeat_url": fleet.heartbeats,
        "heartbeat_table": "heartbeats",
        "restart_seconds": 1.0,
    }
    return Agents(**given | changed)


@pytest.fixture(scope="module")
async def started(work_dirs: Path, processes: Processes) -> AsyncIterator[Fleet]:
    async with fleet_of(processes, work_dirs / "client-fleet", 4) as (fleet, _):
        yield fleet


@pytest.fixture
async def fleet(started: Fleet) -> AsyncIterator[Fleet]:
    yield started
    await started.heal()


@pytest.fixture
async def ssh(fleet: Fleet) -> AsyncIterator[Ssh]:
    ssh = Ssh(settings(fleet))
    yield ssh
    await ssh.close()


@pytest.fixture
async def host(ssh: Ssh) -> Host:
    return (await ssh.inventory()).hosts[NAME]


async def run(ssh: Ssh, host: Host, command: str, **more: Any) -> Reply:
    async with ssh.session(host) as session:
        return await session.run(command, **more)


async def not_reached(ssh: Ssh, host: Host) -> NotReached:
    with pytest.raises(NotReached) as caught:
        await run(ssh, host, "true")
    return caught.value


async def test_a_command_comes_back_with_its_exit_code_and_output(ssh: Ssh, host: Host) -> None:
    assert await run(ssh, host, "systemctl is-active shielda-agent") == Reply(code=0, out="active", err="")
    reply = await run(ssh, host, "no-such-program")
    assert (reply.code, reply.says) == (127, "sh: 1: no-such-program: not found")


async def test_a_host_that_refuses_is_told_from_one_that_is_silent(
    ssh: Ssh, host: Host, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.5)
    await fleet.trouble([NAME], refuses=True)
    refused = await not_reached(ssh, host)
    assert (refused.kind, str(refused)) == ("refused", f"{NAME} (127.0.0.1:{host.port}) refuses connections.")
    await fleet.trouble([NAME], hung=True)
    silent = await not_reached(ssh, host)
    assert (silent.kind, "no SSH greeting within 0.5 s" in str(silent)) == ("unreachable", True)


async def test_a_changed_key_is_told_from_an_unknown_one_with_its_fingerprint(
    ssh: Ssh, host: Host, fleet: Fleet, tmp_path: Path
) -> None:
    await fleet.trouble([NAME], other_key=True)
    changed = await not_reached(ssh, host)
    assert changed.kind == "host key"
    assert "its key has CHANGED" in str(changed)
    assert str(changed).count("SHA256:") == 2
    (tmp_path / "empty").write_text("")
    unknown = await not_reached(Ssh(settings(fleet, known_hosts=str(tmp_path / "empty"))), host)
    assert unknown.kind == "host key"
    assert "its key is unknown" in str(unknown)
    assert str(unknown).count("SHA256:") == 1


async def test_nothing_reaches_a_host_whose_key_is_not_trusted(ssh: Ssh, host: Host, fleet: Fleet) -> None:
    await fleet.trouble([NAME], other_key=True)
    before = (await fleet.report())[NAME]["commands"]
    await not_reached(ssh, host)
    assert (await fleet.report())[NAME]["commands"] == before


async def test_a_key_that_is_not_let_in_is_reported_as_such(host: Host, fleet: Fleet, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    other.chmod(0o600)
    error = await not_reached(Ssh(settings(fleet, key=str(other))), host)
    assert (error.kind, "does not accept the bot's key" in str(error)) == ("auth", True)


async def test_an_unusable_key_file_is_not_blamed_on_a_host(host: Host, fleet: Fleet, tmp_path: Path) -> None:
    for file in ("key", "known_hosts"):
        with pytest.raises(CannotSignIn, match=rf"nowhere.* can't be used.*\[agents\] {file} names it"):
            await run(Ssh(settings(fleet, **{file: str(tmp_path / "nowhere")})), host, "true")


async def test_a_connection_that_breaks_after_the_effect_is_lost_not_failed(ssh: Ssh, host: Host, fleet: Fleet) -> None:
    before = (await fleet.report())[NAME]["restarts"]
    await fleet.trouble([NAME], restart="lost")
    with pytest.raises(Lost):
        await run(ssh, host, lines.restart(ssh.site, host))
    assert (await fleet.report())[NAME]["restarts"] == before + 1


async def test_a_command_that_never_ends_is_lost_after_its_time(ssh: Ssh, host: Host, fleet: Fleet) -> None:
    await fleet.trouble([NAME], restart="hangs")
    with pytest.raises(Lost, match=r"did not end within 0.3 s"):
        await run(ssh, host, "sudo -n systemctl restart shielda-agent", seconds=0.3)
    assert (await run(ssh, host, lines.restart(ssh.site, host))).code == lines.TIMED_OUT


async def test_endless_rubbish_is_cut_and_shown_as_harmless_text(ssh: Ssh, fleet: Fleet) -> None:
    await fleet.put("agent-hostile")
    last = list((await ssh.inventory()).hosts.values())[-1]
    began = time.monotonic()
    async with ssh.session(last) as session:
        reply = await session.run(lines.logs(ssh.site, last), seconds=10)
        assert (await session.run("true")).good  # the connection is still good
    assert time.monotonic() - began < 8
    assert reply.cut
    assert 0 < len(reply.out) <= client.MOST_OUTPUT
    assert not {"\x1b", "\x00", "\x07"} & set(reply.out)


async def test_the_bot_s_own_ssh_settings_are_not_read(ssh: Ssh, host: Host, tmp_path: Path, set_variable: SetVariable) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(f"Host *\n  ProxyCommand touch {tmp_path}/executed\n  User nobody\n")
    set_variable("HOME", str(tmp_path))
    assert (await run(ssh, host, "true")).good
    assert not (tmp_path / "executed").exists()


async def test_neither_the_bot_nor_a_rehearsal_imports_asyncssh_when_it_starts() -> None:
    program = "import sys, bot.serve, commands, rehearsal.cli; sys.exit('asyncssh' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=Path(__file__).parents[2])
    assert await process.wait() == 0


class Gatekeeper(asyncssh.SSHServer):
    """A jump host: it forwards connections and runs nothing."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


@pytest.fixture
async def jump(fleet: Fleet) -> AsyncIterator[tuple[Jump, str]]:
    """A jump host, and its line for known_hosts."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    ours = asyncssh.read_private_key(fleet.key).export_public_key().decode()
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Gatekeeper,
        server_host_keys=[key],
        authorized_client_keys=asyncssh.import_authorized_keys(ours),
    )
    port = server.sockets[0].getsockname()[1]
    yield (
        Jump(name="bastion", address="127.0.0.1", port=port, user="dr"),
        f"[127.0.0.1]:{port} {key.export_public_key().decode()}",
    )
    server.close()
    await server.wait_closed()


async def test_a_host_is_reached_through_its_jump_host(fleet: Fleet, host: Host, jump: tuple[Jump, str], tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(fleet.known_hosts.read_text() + jump[1])
    ssh = Ssh(settings(fleet, known_hosts=str(known)))
    behind = Host(**{**vars(host), "jump": jump[0]})
    try:
        replies = await asyncio.gather(*(run(ssh, behind, "true") for _ in range(5)))
        assert all(reply.good for reply in replies)
    finally:
        await ssh.close()


async def test_a_jump_host_with_an_unknown_key_is_refused(fleet: Fleet, host: Host, ssh: Ssh, jump: tuple[Jump, str]) -> None:
    error = await not_reached(ssh, Host(**{**vars(host), "jump": jump[0]}))
    assert (error.kind, "jump host bastion" in str(error)) == ("host key", True)


async def certified(tmp_path: Path, fleet: Fleet, principal: str) -> tuple[Any, Host, Ssh]:
    """A host whose key a CA has signed for this name, and a client that trusts only the CA."""
    authority, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    certificate = authority.generate_host_certificate(key, "host", principals=[principal])
    ours = asyncssh.read_private_key(fleet.key).export_public_key().decode()

    def answer(process: Any) -> None:
        process.exit(0)

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[(key, certificate)],
        authorized_client_keys=asyncssh.import_authorized_keys(ours),
        process_factory=answer,
    )
    known = tmp_path / "ca"
    known.write_text(f"@cert-authority * {authority.export_public_key().decode()}")
    host = Host(name="a-1", address="127.0.0.1", port=server.sockets[0].getsockname()[1], user="dr", runtime="systemd")
    return server, host, Ssh(settings(fleet, known_hosts=str(known)))


@pytest.mark.parametrize(("principal", "trusted"), [("127.0.0.1", True), ("other.example", False)])
async def test_a_host_is_trusted_by_its_authority_only_under_its_own_name(
    fleet: Fleet, tmp_path: Path, principal: str, trusted: bool
) -> None:
    server, host, ssh = await certified(tmp_path, fleet, principal)
    try:
        if trusted:
            assert (await run(ssh, host, "true")).good
        else:
            error = await not_reached(ssh, host)
            assert (error.kind, "certificate" in str(error)) == ("host key", True)
    finally:
        server.close()
        await server.wait_closed()
