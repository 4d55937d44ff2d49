"""The inventory: a TOML file with every host that the bot may sign in to. No host comes from anywhere else.

[hosts.agent-0001]            # the name under which the agent sends its heartbeats
host = "10.0.1.17"            # needed: a name or an address
port = 22
user = "dr"                   # [agents] user if it is missing
runtime = "systemd"           # or "docker"; [agents] runtime if it is missing
zone = "us-west-2a"
version = "2.4.1"
groups = ["edge"]
jump = "bastion"              # a name of [jumps]

[jumps.bastion]
host = "bastion.example.com"
port = 22
user = "dr"
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actions.errors import Unreachable
from actions.scrub import plain
from actions.site import Agents

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
ADDRESS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|[0-9A-Fa-f:]{2,39}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")  # a zone, a version, a group
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
RUNTIMES = ("systemd", "docker")
HOST_KEYS = ("host", "port", "user", "runtime", "zone", "version", "groups", "jump")
JUMP_KEYS = ("host", "port", "user")
ALL = "all"


class BadInventory(Unreachable):
    """The inventory can't be used. The message names the file, the host, what is wrong and what is expected."""

    final = True


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A host through which others are reached."""

    name: str
    address: str
    port: int
    user: str


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host with an agent. `zone` and `version` are "" if the inventory does not say."""

    name: str
    address: str
    port: int
    user: str
    runtime: str
    zone: str = ""
    version: str = ""
    groups: tuple[str, ...] = ()
    jump: Jump | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The hosts by name, in the order of the file."""

    hosts: Mapping[str, Host]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups there are; "all" is every host."""
        return (ALL, *sorted({group for host in self.hosts.values() for group in host.groups}))

    def chosen(self, name: str = "") -> list[Host]:
        """The hosts of a group, or the one of this name; all of them for "". Raises `KeyError` with a sentence."""
        if name in ("", ALL):
            return list(self.hosts.values())
        found = [host for host in self.hosts.values() if name in host.groups or name == host.name]
        if not found:
            raise KeyError(f"The inventory has no group and no host {name!r}. Its groups are {', '.join(self.groups)}.")
        return found

    def named(self, names: Iterable[str]) -> list[Host]:
        """The hosts of these names. Raises `BadInventory` for one that is not listed any more."""
        try:
            return [self.hosts[name] for name in names]
        except KeyError as error:
            raise BadInventory(f"The inventory does not list {error.args[0]} any more; plan again.") from error


def load(site: Agents) -> Inventory:
    """Read and check the inventory. Blocks for the file. Raises `BadInventory`."""
    path = Path(site.inventory)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInventory(f"The inventory {path} can't be read: {error.strerror}. [agents] inventory names it.") from error
    except (ValueError, RecursionError) as error:
        raise BadInventory(f"The inventory {path} is not TOML: {plain(error)}.") from error
    try:
        return parse(raw, site)
    except ValueError as error:
        raise BadInventory(f"The inventory {path} can't be used: {error}.") from error


def parse(raw: Mapping[str, Any], site: Agents) -> Inventory:
    """The inventory from parsed TOML. Raises ValueError with what is wrong."""
    _known("the file", raw, ("hosts", "jumps"))
    jumps = {name: _jump(name, table, site) for name, table in _tables(raw, "jumps").items()}
    hosts = {name: _host(name, table, site, jumps) for name, table in _tables(raw, "hosts").items()}
    if not hosts:
        raise ValueError("it lists no host; a table [hosts.NAME] for each is expected")
    return Inventory(hosts=hosts)


def fingerprint(hosts: Sequence[Host]) -> str:
    """What changes if one of these hosts is another one, or reached otherwise."""
    text = json.dumps(sorted((asdict(host) for host in hosts), key=lambda host: str(host["name"])), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _host(name: str, table: Mapping[str, Any], site: Agents, jumps: Mapping[str, Jump]) -> Host:
    where = f"[hosts.{name}]"
    _known(where, table, HOST_KEYS)
    jump = table.get("jump", "")
    if jump and jump not in jumps:
        raise ValueError(f"{where} jump is {jump!r}, and there is no [jumps.{jump}]")
    groups = table.get("groups", [])
    if not isinstance(groups, list):
        raise ValueError(f"{where} groups is not a list of names")
    return Host(
        name=_text(where, "its name", name, NAME),
        address=_text(where, "host", table.get("host"), ADDRESS),
        port=_port(where, table.get("port", 22)),
        user=_text(where, "user", table.get("user", site.user), USER),
        runtime=_runtime(where, table.get("runtime", site.runtime)),
        zone=_text(where, "zone", table.get("zone", ""), WORD, needed=False),
        version=_text(where, "version", table.get("version", ""), WORD, needed=False),
        groups=tuple(_text(where, "groups", group, WORD) for group in groups),
        jump=jumps[jump] if jump else None,
    )


def _jump(name: str, table: Mapping[str, Any], site: Agents) -> Jump:
    where = f"[jumps.{name}]"
    _known(where, table, JUMP_KEYS)
    return Jump(
        name=_text(where, "its name", name, NAME),
        address=_text(where, "host", table.get("host"), ADDRESS),
        port=_port(where, table.get("port", 22)),
        user=_text(where, "user", table.get("user", site.user), USER),
    )


def _tables(raw: Mapping[str, Any], section: str) -> dict[str, Mapping[str, Any]]:
    tables = raw.get(section, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError(f"[{section}] is not a set of tables [{section}.NAME]")
    return tables


def _known(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has the unknown key {key!r}; known keys are {', '.join(known)}")


def _text(where: str, key: str, value: Any, shape: re.Pattern[str], *, needed: bool = True) -> str:
    if value == "" and not needed:
        return ""
    if not isinstance(value, str) or not shape.fullmatch(value):
        said = "is missing" if value is None else f"is {value!r}"
        raise ValueError(f"{where} {key} {said}; letters, digits and a few signs are expected ({shape.pattern})")
    return value


def _port(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
        raise ValueError(f"{where} port is {value!r}; a number from 1 to 65535 is expected")
    return value


def _runtime(where: str, value: Any) -> str:
    if value not in RUNTIMES:
        raise ValueError(f"{where} runtime is {value!r}; {' or '.join(RUNTIMES)} is expected")
    return str(value)
