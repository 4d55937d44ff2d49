"""What is said about agents that are offline: the gate's meaning, errors grouped by likeness, and the cause that fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.ssh.heartbeats import Beats
from commands.agents.diagnose import Probe, judged, sample
from commands.agents.gate import Door, Gate
from commands.agents.likeness import grouped, last_errors
from commands.agents.seen import Seen
from commands.facts import Fact
from commands.report import Mark
from tests.unit.test_agents_inventory import SITE
from tests.unit.test_agents_rollout import fleet

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
URL = "https://app.example/api/agents/heartbeat"


@pytest.mark.parametrize(
    ("statuses", "door"),
    [
        ((401,), Door.SHUT),
        ((503, 401, 401), Door.SHUT),
        ((503, 503, 401), Door.SHUT),
        ((503, 503, 503), Door.DOWN),
        ((0, 0, 0), Door.DOWN),
        ((0, 503, 404), Door.DOWN),
        ((200, 401, 401), Door.OPEN),
        ((302, 302, 302), Door.ELSEWHERE),
        ((404, 404, 404), Door.ELSEWHERE),
        ((400, 400, 400), Door.STRANGE),
    ],
)
def test_the_answer_to_a_wrong_token_tells_what_is_wrong(statuses: tuple[int, ...], door: Door) -> None:
    assert Gate(url=URL, statuses=statuses).door is door


def test_the_gate_says_what_it_saw_and_what_that_means() -> None:
    says = Gate(url=URL, statuses=(0, 0, 503)).says
    assert f"to {URL} got no answer in 2 of 3 tries and was answered 503 in 1 of 3 tries." in says
    assert "whatever the agents do" in says


LOG = """\
2026-01-15T10:00:01+00:00 a-1 shielda-agent[812]: INFO started
2026-01-15T10:00:02+00:00 a-1 shielda-agent[812]: ERROR connect to 10.0.0.7:443 failed after 31 s (id 5f2c9a1b77)
2026-01-15T10:00:03+00:00 a-1 systemd[1]: shielda-agent.service: Failed with result 'exit-code'.
"""


def test_errors_that_differ_in_numbers_only_are_one() -> None:
    other = LOG.replace("10.0.0.7", "10.0.0.9").replace("31 s", "30 s").replace("5f2c9a1b77", "0badc0ffee")
    (group,) = grouped({"a-1": LOG, "a-2": other})
    assert group.hosts == ("a-1", "a-2")
    assert group.example == "ERROR connect to 10.0.0.7:443 failed after 31 s (id 5f2c9a1b77)"


def test_a_log_without_errors_tells_nothing() -> None:
    assert last_errors("2026-01-15T10:00:01+00:00 a-1 shielda-agent[812]: INFO started\n\n") == []


def seen(ages: dict[str, float | None] | None = None, *, statuses: tuple[int, ...] = (401,), read: bool = True) -> Seen:
    hosts = fleet(6)
    given = {host.name: (ages or {}).get(host.name, 900.0) for host in hosts}
    newest = {name: None if age is None else NOW - timedelta(seconds=age) for name, age in given.items()}
    beats: Fact[Any] = Fact(source="The heartbeats", at=NOW, value=Beats(now=NOW, newest=newest))
    silent: Fact[Any] = Fact(source="The heartbeats", at=NOW, error="it hangs")
    gate = Fact(source="The address", at=NOW, value=Gate(url=URL, statuses=statuses))
    return Seen(site=SITE, chosen=hosts, gate=gate, beats=beats if read else silent)


def probes(view: Seen, **told: Any) -> list[Probe]:
    return [
        Probe(host=host, **{"running": False, "word": "failed", "log": LOG} | told) for host in sample(view.chosen, view.healthy)
    ]


def cause(view: Seen, told: list[Probe]) -> tuple[Mark, str]:
    (found,) = [line for line in judged(view, told) if line.check == "likely cause"]
    return found.level, found.says


HEALTHY = {host.name: 5.0 for host in fleet(6)}


@pytest.mark.parametrize(
    ("view", "told", "level", "says"),
    [
        (seen(statuses=(503, 503, 503)), {}, Mark.STOP, "plan `/dr control-plane restart`"),
        (seen(statuses=(200,)), {}, Mark.STOP, "takes heartbeats from anybody"),
        (seen(statuses=(404, 404, 404)), {}, Mark.STOP, "heartbeat_url"),
        (seen(read=False), {}, Mark.UNKNOWN, "We can't tell which agents are offline"),
        (seen(HEALTHY), {"running": True}, Mark.OK, "All 6 agents are healthy."),
        (seen(), {}, Mark.STOP, "Plan `/dr agents restart`."),
        (seen(), {"disk": 100}, Mark.STOP, "are full. Make room; a restart does not cure that."),
        (seen(), {"running": True, "word": "active"}, Mark.STOP, "The agents asked run, but the server gets no heartbeats"),
        (seen(), {"kind": "refused", "trouble": "no", "running": None}, Mark.STOP, "could be asked (6 refused)"),
    ],
)
def test_the_cause_fits_what_was_seen(view: Seen, told: dict[str, Any], level: Mark, says: str) -> None:
    found, sentence = cause(view, probes(view, **told))
    assert found is level
    assert says in sentence


def test_heartbeats_are_counted_by_zone_and_version() -> None:
    view = seen({"a-0": 5.0, "a-1": 5.0, "a-5": None})
    (found,) = [line for line in judged(view, probes(view)) if line.check == "heartbeats"]
    assert found.says == "2 of 6 agents sent a heartbeat in the last 60 s. The newest is 5 s old. 1 never sent one."
    assert found.evidence == "by zone: z0 1 of 2, z1 1 of 2, z2 0 of 2; by version: v0 2 of 3, v1 0 of 3"


def test_the_sample_has_offline_hosts_apart_and_a_few_healthy_ones() -> None:
    view = seen({"a-0": 5.0, "a-1": 5.0, "a-2": 5.0})
    names = [host.name for host in sample(view.chosen, view.healthy)]
    assert sorted(names[:3]) == ["a-3", "a-4", "a-5"]
    assert len(names) == 5
