"""A rolling restart: canaries apart, batches that grow and are bounded, and a judgement that counts every kind of failure."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from actions.items import INTENDED, Item
from actions.site import Agents
from actions.ssh.batch import RestartBatch
from actions.ssh.inventory import Host
from actions.ssh.restarts import BAD, FAILED, GOOD, HEALTHY, RESTARTED, SILENT, UNKNOWN, UNREACHABLE, is_settled, to_read_back
from actions.ssh.rollout import allowed, batches, spread
from actions.values import Level, Result
from tests.unit.test_agents_inventory import SETTINGS, SITE, host


def fleet(number: int, zones: int = 3, versions: int = 2) -> list[Host]:
    return [host(f"a-{n}", zone=f"z{n % zones}", version=f"v{n // zones % versions}") for n in range(number)]


@given(
    number=some.integers(1, 400),
    canaries=some.integers(1, 5),
    growth=some.integers(1, 5),
    largest=some.integers(1, 100),
)
def test_every_host_is_in_one_batch_and_no_batch_is_too_large(number: int, canaries: int, growth: int, largest: int) -> None:
    site = Agents(**SETTINGS | {"canaries": canaries, "growth": growth, "largest_batch_percent": largest})
    found = batches(site, fleet(number))
    names = [host.name for part in found for host in part]
    assert sorted(names) == sorted(host.name for host in fleet(number))
    assert len(found[0]) == min(canaries, number)
    most = max(canaries, number * largest // 100, 1)
    assert all(len(part) <= most for part in found)
    assert all(len(after) <= max(growth * len(before), canaries) for before, after in pairwise(found))


def test_the_first_hosts_are_of_different_zones_and_versions() -> None:
    first = spread(fleet(60))[:6]
    assert len({host.zone for host in first[:3]}) == 3
    assert len({(host.zone, host.version) for host in first}) == 6


def test_batches_grow_threefold_to_a_quarter_of_all() -> None:
    assert [len(part) for part in batches(SITE, fleet(100))] == [1, 3, 9, 25, 25, 25, 12]


def batch(hosts: int = 10, *, budget: int = 5, batch_budget: int = 2) -> RestartBatch:
    names = tuple(f"a-{n}" for n in range(hosts))
    rest: dict[str, Any] = {"docker": (), "systemd_line": "restart", "docker_line": "", "batch": 3, "of": 5, "healthy_too": False}
    return RestartBatch(systemd=names, budget=budget, batch_budget=batch_budget, **rest)


def known(*states: str) -> dict[str, Item]:
    return {f"a-{n}": Item(name=f"a-{n}", state=state, says=f"a-{n}: {state}.") for n, state in enumerate(states)}


@pytest.mark.parametrize("kind", BAD)
def test_every_kind_of_failure_counts(kind: str) -> None:
    judged = batch(batch_budget=0).judge(known(kind, *[HEALTHY] * 9), 0)
    assert judged.result is Result.FAILED
    assert f"9 healthy, 1 {kind}" in judged.says
    assert f"a-0: {kind}." in judged.says


def test_failures_within_the_budget_are_told_and_go_on() -> None:
    judged = batch().judge(known(*[UNREACHABLE] * 2, *[HEALTHY] * 8), 0)
    assert judged.result is Result.DONE
    assert "2 unreachable" in judged.says


def test_failures_of_earlier_batches_count() -> None:
    states = known(*[UNREACHABLE] * 2, *[HEALTHY] * 8)
    assert batch().judge(states, 3).result is Result.DONE
    judged = batch().judge(states, 4)
    assert judged.result is Result.FAILED
    assert judged.says.startswith("6 agents failed so far, and at most 5 may: no more are restarted.")


def test_a_host_that_was_not_tried_is_no_success() -> None:
    judged = batch().judge(known(*[HEALTHY] * 9), 0)
    assert judged.result is Result.FAILED
    assert "1 not tried" in judged.says


def test_a_batch_is_not_begun_once_the_budget_is_used_up() -> None:
    assert batch().precheck({"failed_before": 6, "fresh": []}).level is Level.STOP
    assert batch().precheck({"failed_before": 5, "fresh": []}).level is Level.OK


@pytest.mark.parametrize("state", [*GOOD, RESTARTED, SILENT])
def test_what_was_restarted_is_never_sent_again(state: str) -> None:
    assert is_settled(Item(name="a", state=state, attempt=1), 2)


@pytest.mark.parametrize("state", [INTENDED, UNKNOWN, FAILED])
def test_what_may_have_happened_is_read_back_first(state: str) -> None:
    item = Item(name="a", state=state, attempt=1, facts={"start": "x"})
    assert not is_settled(item, 2)
    assert to_read_back(item)


def test_an_attempt_tries_a_host_once() -> None:
    item = Item(name="a", state=UNREACHABLE, attempt=2)
    assert is_settled(item, 2)
    assert not is_settled(item, 3)
    assert not to_read_back(item)


def test_the_shown_line_names_every_host_and_what_runs_on_it() -> None:
    step = RestartBatch(
        systemd=("a-1", "a-2"),
        docker=("d-1",),
        systemd_line="sudo -n systemctl restart x",
        docker_line="sudo -n docker restart x",
        batch=1,
        of=1,
        budget=0,
        batch_budget=0,
        healthy_too=False,
    )
    assert step.command() == (
        "for host in a-1 a-2; do ssh $host 'sudo -n systemctl restart x'; done; "
        "for host in d-1; do ssh $host 'sudo -n docker restart x'; done"
    )


def test_five_percent_of_a_small_fleet_is_none() -> None:
    assert (allowed(5, 12), allowed(5, 20), allowed(5, 1000)) == (0, 1, 50)
