"""The rehearsal's fleet: agents that are really up or down, and hosts that fail as real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.processes import Processes
from rehearsal.waiting import until
from tests.world.fleet_world import Sink, connect, fleet_of, hosts_of, order

HOST, DOCKER = "agent-0001", "agent-0004"
RESTART = "timeout -k 2 1 sudo -n systemctl restart shielda-agent"
UP = "systemctl is-active shielda-agent"


@pytest.fixture(scope="module")
async def started(work_dirs: Path, processes: Processes) -> AsyncIterator[tuple[Fleet, Sink]]:
    async with fleet_of(processes, work_dirs / "fleet", 5) as found:
        yield found


@pytest.fixture
async def fleet(started: tuple[Fleet, Sink]) -> AsyncIterator[Fleet]:
    yield started[0]
    await started[0].heal()


@pytest.fixture
def sink(started: tuple[Fleet, Sink]) -> Sink:
    return started[1]


async def run(fleet: Fleet, command: str, host: str = HOST) -> tuple[int | None, str]:
    async with await connect(fleet, host) as connection:
        done = await connection.run(command)
        return done.exit_status, str(done.stdout or "") + str(done.stderr or "")


async def restarts(fleet: Fleet, host: str = HOST) -> int:
    return int((await fleet.report())[host]["restarts"])


async def test_an_agent_that_is_down_is_silent_until_it_is_restarted(fleet: Fleet, sink: Sink) -> None:
    before = await restarts(fleet)
    await until(lambda: sink.beats[HOST], what="the first heartbeat")
    await order(fleet, do="fall", hosts=[HOST])
    assert await run(fleet, UP) == (3, "failed\n")
    silent = sink.beats[HOST]
    others = sink.beats[DOCKER]
    await until(lambda: sink.beats[DOCKER] >= others + 2, what="two more heartbeats of another agent")
    assert sink.beats[HOST] <= silent + 1  # one may have been under way
    assert await run(fleet, RESTART) == (0, "")
    assert await run(fleet, UP) == (0, "active\n")
    await until(lambda: sink.beats[HOST] > silent + 1, what="heartbeats of the restarted agent")
    assert await restarts(fleet) == before + 1


async def test_a_restart_gives_the_unit_another_id(fleet: Fleet) -> None:
    show = "systemctl show --property=ActiveState,InvocationID shielda-agent"
    before = await run(fleet, show)
    await run(fleet, RESTART)
    assert before != await run(fleet, show)
    assert before[1].startswith("ActiveState=active\nInvocationID=")


async def test_only_the_exact_restart_is_allowed_as_root(fleet: Fleet) -> None:
    before = await restarts(fleet)
    for line in ("sudo -n systemctl restart sshd", "sudo -n systemctl stop shielda-agent", "sudo -n sh -c 'true'"):
        assert await run(fleet, line) == (1, "sudo: a password is required\n")
    assert (await run(fleet, "systemctl restart shielda-agent"))[0] == 127
    assert await restarts(fleet) == before


async def test_a_docker_host_has_no_systemd_and_its_own_commands(fleet: Fleet) -> None:
    assert (await run(fleet, UP, DOCKER))[0] == 127
    before = await restarts(fleet, DOCKER)
    assert await run(fleet, "sudo -n docker restart shielda-agent", DOCKER) == (0, "")
    assert await restarts(fleet, DOCKER) == before + 1
    assert "agent started" in (await run(fleet, "docker logs --since 1h --tail 20 shielda-agent", DOCKER))[1]


async def test_a_restart_that_is_lost_has_happened(fleet: Fleet) -> None:
    before = await restarts(fleet)
    await fleet.trouble([HOST], restart="lost")
    assert (await run(fleet, RESTART))[0] is None
    assert await restarts(fleet) == before + 1


async def test_a_restart_that_hangs_has_not_happened(fleet: Fleet) -> None:
    before = await restarts(fleet)
    await fleet.trouble([HOST], restart="hangs")
    assert (await run(fleet, RESTART))[0] == 124
    assert await restarts(fleet) == before


async def test_a_host_that_refuses_hangs_or_has_another_key_lets_nobody_in(fleet: Fleet) -> None:
    await fleet.trouble([HOST], refuses=True)
    with pytest.raises(ConnectionRefusedError):
        await connect(fleet, HOST)
    await fleet.trouble([HOST], hung=True)
    with pytest.raises(TimeoutError):
        await connect(fleet, HOST, connect_timeout=0.3)
    await fleet.trouble([HOST], other_key=True)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await connect(fleet, HOST)
    await fleet.trouble([HOST])
    assert (await run(fleet, "true"))[0] == 0


async def test_a_key_that_the_hosts_do_not_know_is_refused(fleet: Fleet) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(fleet, HOST, client_keys=[asyncssh.generate_private_key("ssh-ed25519")])


async def test_half_a_zone_away_is_silent_in_both_directions(fleet: Fleet) -> None:
    await fleet.put("agent-zone-away")
    silent = [name for name, host in (await fleet.report()).items() if not host["beats"]]
    zones = {host["zone"] for name, host in hosts_of(fleet).items() if name in silent}
    assert len(silent) == 1
    assert zones == {"us-west-2a"}


async def test_a_bad_version_runs_until_shortly_after_its_restart(fleet: Fleet) -> None:
    await fleet.put("agent-bad-version")
    assert await run(fleet, UP) == (0, "active\n")
    assert (await run(fleet, RESTART))[0] == 0

    async def fallen() -> bool:
        return (await fleet.report())[HOST]["state"] == "failed"

    await until(fallen)
    assert "panic" in (await run(fleet, "journalctl -u shielda-agent --since '1 hour ago' --lines 5"))[1]


async def test_a_hostile_host_pours_output_without_an_end(fleet: Fleet) -> None:
    await fleet.put("agent-hostile")
    async with await connect(fleet, "agent-0005") as connection:
        process = await connection.create_process("journalctl -u shielda-agent --since '1 hour ago'", encoding=None)
        taken = 0
        while taken < 1_000_000:
            taken += len(await asyncio.wait_for(process.stdout.read(65536), 5))
        process.close()
