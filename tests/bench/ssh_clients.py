"""Restart the agents of a whole fleet with one SSH client: ours, or one that others use, each with the same keys and ciphers.

`python -m tests.bench.ssh_clients CLIENT FOLDER` reads the fleet's files in the folder, restarts each agent once, fifty at a
time, and prints JSON. Every client checks host keys strictly. parallel-ssh can't by itself: it gets the check here.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions.ssh import lines
from actions.ssh.inventory import Host
from actions.world import World
from bot.state.database import open_engine
from bot.state.items import StoredItems, items_of
from bot.state.store import Store
from tests.world.agents_rig import site_of

AT_ONCE, SECONDS = 50, 60.0
CIPHER, KEY_EXCHANGE = "aes128-gcm@openssh.com", "curve25519-sha256"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The fleet's files as the bot reads them, each host with its command line, and the hosts' keys by port."""

    folder: Path
    world: World
    hosts: list[Host]
    lines: dict[str, str]
    keys: dict[int, str]

    @property
    def key(self) -> str:
        """The file of the key that signs in."""
        return self.world.agents.key


async def bare(fleet: Fleet) -> int:
    """Our client and nothing else: connect, restart, close."""

    async def one(host: Host) -> bool:
        async with fleet.world.ssh.session(host) as session:
            return (await session.run(fleet.lines[host.name], seconds=SECONDS)).good

    return sum(await asyncio.gather(*map(one, fleet.hosts)))


async def forgetful(fleet: Fleet) -> int:
    """A restart as a run makes it, which looks at the agent first; what it records is kept in memory only."""
    from actions.ssh.restarts import RESTARTED, restart

    outcomes = await asyncio.gather(*(restart(fleet.world, host, fleet.lines[host.name]) for host in fleet.hosts))
    return outcomes.count(RESTARTED)


async def recorded(fleet: Fleet) -> int:
    """The same with each intent and each outcome on disk, in the bot's state."""
    state = fleet.folder / f"state-{time.monotonic_ns()}.sqlite"
    store = Store(open_engine(f"sqlite:///{state}"))
    fleet.world.items = StoredItems(store)
    with items_of("run-1", "1.1", 1):
        good = await forgetful(fleet)
    store.close()
    return good


async def openssh(fleet: Fleet) -> int:
    """OpenSSH's own client, a process for each host."""
    places = asyncio.Semaphore(AT_ONCE)
    settings = {
        "UserKnownHostsFile": fleet.world.agents.known_hosts,
        "StrictHostKeyChecking": "yes",
        "Ciphers": CIPHER,
        "KexAlgorithms": KEY_EXCHANGE,
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

    async def one(host: Host) -> bool:
        where = ["-i", fleet.key, "-p", str(host.port), f"{host.user}@{host.address}", fleet.lines[host.name]]
        async with places:
            process = await asyncio.create_subprocess_exec("ssh", "-F", "none", "-n", *options, *where)
            return await process.wait() == 0

    return sum(await asyncio.gather(*map(one, fleet.hosts)))


def by_paramiko(fleet: Fleet) -> int:
    """paramiko with fifty threads."""
    import paramiko

    others = {"ciphers": [name for name in paramiko.Transport._preferred_ciphers if name != CIPHER]}
    key = paramiko.Ed25519Key.from_private_key_file(fleet.key)

    def one(host: Host) -> bool:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        kind, blob = fleet.keys[host.port].split()
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"[{host.address}]:{host.port} {kind} {blob}")
        client.get_host_keys().add(f"[{host.address}]:{host.port}", kind, entry.key)
        more = {"look_for_keys": False, "allow_agent": False, "disabled_algorithms": others, "timeout": SECONDS}
        client.connect(host.address, host.port, host.user, pkey=key, **more)
        try:
            _, out, _ = client.exec_command(fleet.lines[host.name], timeout=SECONDS)
            return bool(out.channel.recv_exit_status() == 0)
        finally:
            client.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(one, fleet.hosts))


def by_parallel_ssh(fleet: Fleet) -> int:
    """parallel-ssh on libssh2, with a check of the host key before it signs in."""
    import base64

    from pssh.clients.native import ParallelSSHClient
    from pssh.clients.native.single import THREAD_POOL, SSHClient
    from pssh.config import HostConfig
    from ssh2 import session

    class Strict(SSHClient):  # type: ignore[misc]
        def _init_session(self, retries: int = 1) -> None:
            self.session = session.Session()
            for method in (session.LIBSSH2_METHOD_CRYPT_CS, session.LIBSSH2_METHOD_CRYPT_SC):
                self.session.method_pref(method, CIPHER.encode())
            THREAD_POOL.apply(self.session.handshake, (self.sock,))
            shown = base64.b64encode(self.session.hostkey()[0]).decode()
            if shown != fleet.keys[self.port].split()[1]:
                raise RuntimeError(f"The key of port {self.port} is another one.")

    class Parallel(ParallelSSHClient):  # type: ignore[misc]
        def _make_ssh_client(self, host: str, cfg: Any, _pkey_data: Any) -> Strict:
            more = {"num_retries": 1, "allow_agent": False, "identity_auth": False, "keepalive_seconds": 0}
            return Strict(host, user=cfg.user, port=cfg.port, pkey=_pkey_data, timeout=SECONDS, **more)

    config = [HostConfig(user=host.user, port=host.port) for host in fleet.hosts]
    addresses = [host.address for host in fleet.hosts]
    client = Parallel(addresses, host_config=config, pkey=fleet.key, pool_size=AT_ONCE, allow_agent=False)
    outputs = client.run_command("%s", host_args=[fleet.lines[host.name] for host in fleet.hosts], stop_on_errors=False)
    client.join(outputs)
    return sum(output.exception is None and output.exit_code == 0 for output in outputs)


OURS = {"bare": bare, "forgetful": forgetful, "recorded": recorded}
PEERS: dict[str, Callable[[Fleet], Any]] = {
    "parallel-ssh": by_parallel_ssh,
    "paramiko": by_paramiko,
    "OpenSSH": openssh,
}


async def main(name: str, folder: Path) -> dict[str, Any]:
    """Restart them all; seconds are without imports and without the reading of the fleet's files."""
    world = World(site_of(folder, "http://127.0.0.1:1", at_once=AT_ONCE, restart_seconds=30.0))
    hosts = list((await world.ssh.inventory()).hosts.values())
    text = await asyncio.to_thread(Path(world.agents.known_hosts).read_text)
    known = (line.split(maxsplit=1) for line in text.splitlines())
    keys = {int(where.rpartition(":")[2]): " ".join(key.split()[:2]) for where, key in known}
    fleet = Fleet(
        folder=folder, world=world, hosts=hosts, keys=keys, lines={h.name: lines.restart(world.agents, h) for h in hosts}
    )
    client = (OURS | PEERS)[name]
    began, used = time.perf_counter(), time.process_time()
    good = await client(fleet) if asyncio.iscoroutinefunction(client) else await asyncio.to_thread(client, fleet)
    seconds = time.perf_counter() - began
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = time.process_time() - used + children.ru_utime + children.ru_stime
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    await world.close()
    return {"good": good, "hosts": len(hosts), "seconds": seconds, "processor": processor, "peak": peak}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2])))))
