"""The inventory: the only place where hosts come from, and one clear sentence for each mistake in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actions.site import Agents
from actions.ssh import lines
from actions.ssh.inventory import BadInventory, Host, fingerprint, load, parse

SETTINGS: dict[str, Any] = {
    "inventory": "agents.toml",
    "user": "dr",
    "key": "key",
    "known_hosts": "known_hosts",
    "heartbeat_url": "https://app.example/api/agents/heartbeat",
    "heartbeat_table": "heartbeats",
    "unit": "shielda-agent",
}
SITE = Agents(**SETTINGS)


def read(**tables: Any) -> Any:
    return parse({"hosts": {"a-1": {"host": "10.0.0.1"} | tables}}, SITE)


def host(name: str = "a-1", **more: Any) -> Host:
    return Host(**{"name": name, "address": "10.0.0.1", "port": 22, "user": "dr", "runtime": "systemd"} | more)


def test_a_host_takes_what_it_lacks_from_the_settings() -> None:
    assert read().hosts["a-1"] == host()
    assert read(user="ops", port=2222, runtime="docker").hosts["a-1"] == host(user="ops", port=2222, runtime="docker")


@pytest.mark.parametrize(
    "address",
    ["-oProxyCommand=id", "root@h", "h;id", "h id", "h\nid", "$(id)", "", "../x", "a" * 300, 5, None],
)
def test_an_address_that_is_more_than_a_name_is_refused(address: Any) -> None:
    with pytest.raises(ValueError, match=r"\[hosts.a-1\] host"):
        read(host=address)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"port": 0}, "port is 0; a number from 1 to 65535"),
        ({"port": "22"}, "port is '22'"),
        ({"runtime": "podman"}, "runtime is 'podman'; systemd or docker is expected"),
        ({"user": "root;id"}, "user is 'root;id'"),
        ({"jump": "bastion"}, "there is no [jumps.bastion]"),
        ({"groups": "edge"}, "groups is not a list"),
        ({"zone": "a b"}, "zone is 'a b'"),
        ({"prot": 22}, "has the unknown key 'prot'"),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(tables: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"\[hosts\.a-1\]") as caught:
        read(**tables)
    assert says in str(caught.value)


def test_a_host_with_an_unsafe_name_is_refused() -> None:
    with pytest.raises(ValueError, match="its name"):
        parse({"hosts": {"a; id": {"host": "h"}}}, SITE)


def test_hosts_are_chosen_by_group_or_by_name_and_never_otherwise() -> None:
    tables = {"a-1": {"host": "h1", "groups": ["edge"]}, "a-2": {"host": "h2", "groups": ["edge", "eu"]}, "a-3": {"host": "h3"}}
    known = parse({"hosts": tables}, SITE)
    assert [h.name for h in known.chosen("edge")] == ["a-1", "a-2"]
    assert [h.name for h in known.chosen("a-3")] == ["a-3"]
    assert len(known.chosen()) == len(known.chosen("all")) == 3
    with pytest.raises(KeyError, match=r"no group and no host 'h1'.*all, edge, eu"):
        known.chosen("h1")


def test_a_jump_host_is_one_that_the_file_lists() -> None:
    jumps = {"bastion": {"host": "b.example", "port": 2200}}
    known = parse({"hosts": {"a-1": {"host": "h", "jump": "bastion"}}, "jumps": jumps}, SITE)
    jump = known.hosts["a-1"].jump
    assert jump is not None
    assert (jump.address, jump.port, jump.user) == ("b.example", 2200, "dr")


def test_a_file_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    for content, says in ((None, "can't be read"), ("hosts = [", "is not TOML"), ("", "it lists no host")):
        path = tmp_path / "agents.toml"
        if content is not None:
            path.write_text(content)
        with pytest.raises(BadInventory, match=says) as caught:
            load(Agents(**SETTINGS | {"inventory": str(path)}))
        assert "\n" not in str(caught.value)


def test_another_address_is_another_fingerprint_and_another_order_is_not() -> None:
    one, two = host("a-1"), host("a-2")
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert fingerprint([one, two]) != fingerprint([host("a-1", address="10.9.9.9"), two])


@pytest.mark.parametrize(
    ("key", "value"),
    [("unit", "a; rm -rf /"), ("unit", "-x"), ("user", "root me"), ("heartbeat_table", "x; drop"), ("heartbeat_url", "ftp://x/")],
)
def test_settings_that_would_reach_a_shell_or_sql_are_checked(key: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Agents(**SETTINGS | {key: value})


def test_each_runtime_has_its_own_lines() -> None:
    plain, boxed = host(), host(runtime="docker")
    assert lines.restart(SITE, plain) == "timeout -k 2 30 sudo -n systemctl restart shielda-agent"
    assert lines.restart(SITE, boxed) == "timeout -k 2 30 sudo -n docker restart shielda-agent"
    assert lines.state_of(plain, "ActiveState=failed\nInvocationID=ab\n").word == "failed"
    assert lines.state_of(boxed, "running 2026-01-15T10:00:00Z\n").running
    assert not lines.state_of(plain, "").running
    assert lines.disk_percent("Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 9 9 0 100% /\n") == 100
    assert lines.disk_percent("df: no such file\n") is None
