"""The process that is the fleet: `python -m rehearsal.fleet --folder DIR --hosts 12 --heartbeats URL`.

It writes agents.toml (the inventory), known_hosts and the bot's key into the folder, and then one JSON line to stdout: the
port at which it takes orders. An order is a JSON line, as is its answer. AGENT_TOKEN is in the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh

from rehearsal.fleet import faults
from rehearsal.fleet.beats import Beats
from rehearsal.fleet.host import Host
from rehearsal.fleet.trouble import Trouble

ZONES = ("us-west-2a", "us-west-2b", "us-west-2a", "us-west-2c")  # half of the hosts are in one zone
VERSIONS = ("2.4.1", "2.4.1", "2.4.0")
DOCKER_EVERY = 4  # each fourth host runs its agent in docker
USER = "dr"
INVENTORY, KNOWN_HOSTS, KEY = "agents.toml", "known_hosts", "agents_key"
FEWER_FILES = 200  # of those that a process may open, for everything but hosts


def make_host(number: int, authorized: asyncssh.SSHAuthorizedKeys) -> Host:
    """The host of this number, from 1."""
    return Host(
        name=f"agent-{number:04d}",
        zone=ZONES[number % len(ZONES)],
        version=VERSIONS[number % len(VERSIONS)],
        runtime="docker" if number % DOCKER_EVERY == 0 else "systemd",
        authorized=authorized,
    )


def write_files(folder: Path, hosts: Sequence[Host], key: asyncssh.SSHKey) -> None:
    """What whoever recovers the fleet has: its inventory, the hosts' keys, and a key of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [
        f'[hosts.{host.name}]\nhost = "127.0.0.1"\nport = {host.port}\nruntime = "{host.runtime}"\nzone = "{host.zone}"\n'
        f'version = "{host.version}"\ngroups = ["{"edge" if number % 2 else "core"}"]\n'
        for number, host in enumerate(hosts)
    ]
    (folder / INVENTORY).write_text("# Written by the rehearsal's fleet.\n" + "\n".join(tables))
    lines = [f"[127.0.0.1]:{host.port} {host.key.export_public_key().decode().strip()}\n" for host in hosts]
    (folder / KNOWN_HOSTS).write_text("".join(lines))
    key_file = folder / KEY
    key_file.unlink(missing_ok=True)
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.export_private_key())


class Orders:
    """What the fleet does when it is told to."""

    def __init__(self, hosts: Sequence[Host], beats: Beats) -> None:
        self.hosts, self.beats = hosts, beats

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry out the orders of one connection."""
        try:
            while line := await reader.readline():
                answer = await self.carry_out(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def carry_out(self, order: dict[str, Any]) -> Any:
        """The answer to an order: {"do": "fault", "name": ...}, "heal", "trouble" (hosts, what), "fall" (hosts) or "report"."""
        chosen = [host for host in self.hosts if host.name in order.get("hosts", ())]
        match order.get("do"):
            case "fault":
                await faults.FAULTS[order["name"]][2](self.hosts)
            case "heal":
                await faults.heal(self.hosts)
            case "trouble":
                for host in chosen:
                    await host.suffer(Trouble(**order["what"]))
            case "fall":
                for host in chosen:
                    host.unit.fall()
        return self.report()

    def report(self) -> dict[str, Any]:
        """Each host, with how often its agent was restarted and how many commands it was given."""
        hosts = {
            host.name: {
                "zone": host.zone,
                "version": host.version,
                "state": host.unit.state,
                "beats": host.beats,
                "restarts": host.unit.restarts,
                "commands": len(host.shell.commands),
            }
            for host in self.hosts
        }
        return {"hosts": hosts, "heartbeats": {"accepted": self.beats.accepted, "failed": self.beats.failed}}


async def main(folder: Path, number: int, heartbeats: str, every: float) -> None:
    """Run the fleet until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    _allow_files(number)
    key = asyncssh.generate_private_key("ssh-ed25519", comment="dr-bot")
    authorized = asyncssh.import_authorized_keys(key.export_public_key().decode())
    hosts = [make_host(n, authorized) for n in range(1, number + 1)]
    for host in hosts:
        host.open()
    write_files(folder, hosts, key)
    beats = Beats(heartbeats, os.environ.get("AGENT_TOKEN", ""), every, lambda: [host.name for host in hosts if host.beats])
    server = await asyncio.start_server(Orders(hosts, beats).serve, "127.0.0.1", 0)
    beats.start()
    sys.stdout.write(json.dumps({"orders": server.sockets[0].getsockname()[1], "user": USER}) + "\n")
    sys.stdout.flush()
    await ended.wait()
    await beats.stop()
    server.close()
    await asyncio.gather(*(host.close() for host in hosts))


def _allow_files(hosts: int) -> None:
    """Each host is a listener, and each connection to it another file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * hosts + FEWER_FILES
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else min(needed, hard), hard))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="The rehearsal's fleet of agents.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--heartbeats", required=True, help="the address that takes heartbeats")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two heartbeats (default: 1)")
    return parser.parse_args()
