"""In which order and how many at a time: canaries chosen apart, then batches that grow, and how many failures are too many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from actions.site import Agents
from actions.ssh.inventory import Host

STRICT_BATCHES = 2  # the first ones, in which any failure stops everything


def spread(hosts: Sequence[Host]) -> list[Host]:
    """The hosts in an order in which neighbours are as different as can be: of another zone, version and runtime."""
    kinds: dict[tuple[str, str, str], list[Host]] = {}
    for host in hosts:
        kinds.setdefault((host.zone, host.version, host.runtime), []).append(host)
    zones: dict[str, list[list[Host]]] = {}
    for (zone, _, _), alike in kinds.items():
        zones.setdefault(zone, []).append(alike)
    by_zone = [_in_turn(alike) for alike in zones.values()]
    return _in_turn(by_zone)


def batches(site: Agents, hosts: Sequence[Host]) -> list[tuple[Host, ...]]:
    """The canaries, then batches that are `growth` times larger each, none with more than its share of all hosts."""
    ordered, found, begun = spread(hosts), [], 0
    largest = max(site.canaries, len(ordered) * site.largest_batch_percent // 100, 1)
    size = site.canaries
    while begun < len(ordered):
        found.append(tuple(ordered[begun : begun + size]))
        begun += size
        size = min(size * site.growth, largest)
    return found


def allowed(percent: int, hosts: int) -> int:
    """How many of so many hosts may fail."""
    return hosts * percent // 100


def _in_turn(lists: Sequence[Sequence[Host]]) -> list[Host]:
    """One of each list in turn."""
    return [host for row in zip_longest(*lists) for host in row if host is not None]
