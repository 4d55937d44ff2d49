"""A restart of agents, whatever their hosts do: each is restarted once at most, proven by heartbeats, and told as it ended."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actions.ssh import lines
from actions.ssh.readiness import readiness
from actions.values import Result
from bot.state.items import items_json, items_of
from commands.report import REPORTS
from rehearsal.fleet.fleet import Fleet
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from rehearsal.waiting import until
from tests.conftest import SetVariable
from tests.world.agents_rig import RUN, Bot, batches, bot, control_plane, fleet_at, site_of
from tests.world.restarted_fleet import HOSTS, NoMemory, batch, counts, down, since

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
async def url(servers: ServerPair, processes: Processes) -> AsyncIterator[str]:
    async with control_plane(processes, servers.url("shielda")) as url:
        yield url


@pytest.fixture(scope="module")
async def started(url: str, work_dirs: Path, processes: Processes) -> AsyncIterator[Fleet]:
    async with fleet_at(processes, work_dirs / "restart-fleet", url, HOSTS) as fleet:
        yield fleet


@pytest.fixture
async def fleet(started: Fleet, database: ServerPair, set_variable: SetVariable) -> Fleet:
    set_variable("DATABASE_URL", database.url("dr_bot"))
    await started.heal()
    return started


@pytest.fixture
async def ours(fleet: Fleet, url: str, tmp_path: Path) -> AsyncIterator[Bot]:
    async with bot(site_of(fleet.folder, url), tmp_path / "state.sqlite") as ours:
        yield ours


async def test_agents_that_are_down_are_restarted_once_and_healthy_ones_left_alone(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, 1, 2)
    outcome = await ours.carry_out(batch([*names, "agent-0003"]))
    assert outcome.result is Result.DONE, outcome
    assert "2 healthy, 1 left alone" in outcome.says
    assert await since(fleet, before) == dict.fromkeys(names, 1)


async def test_a_check_tells_what_a_restart_would_stumble_over_and_restarts_nothing(fleet: Fleet, ours: Bot) -> None:
    before = await counts(fleet)
    assert [(f.level.value, f.says) for f in await readiness(ours.world)] == [
        ("ok", f"The inventory lists {HOSTS} hosts; the 4 that were asked allow a restart.")
    ]
    await fleet.put("agent-no-sudo")
    found = await readiness(ours.world)
    assert [finding.level.value for finding in found] == ["stop"] * 4
    assert "would not allow the restart: sudo: a password is required. docs/how-to/agents.md" in found[0].says
    await fleet.heal()
    await fleet.trouble([f"agent-{number:04d}" for number in range(1, HOSTS + 1)], refuses=True)
    assert "refuses connections" in (await readiness(ours.world))[0].says
    assert await since(fleet, before) == {}


async def test_the_record_of_a_run_lists_every_host_with_its_outcome(fleet: Fleet, ours: Bot) -> None:
    names, _ = await down(fleet, ours, 1, 2)
    await fleet.trouble([names[1]], refuses=True)
    await ours.carry_out(batch([*names, "agent-0003"], batch_budget=1))
    listed = {item["item"]: item["state"] for item in await ours.runner.store.do(items_json, RUN)}
    assert listed == {"agent-0001": "healthy", "agent-0002": "refused", "agent-0003": "left alone"}


async def test_an_agent_in_docker_is_restarted_by_docker(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, 4)
    assert (await ours.carry_out(batch(names, docker=True))).result is Result.DONE
    assert await since(fleet, before) == dict.fromkeys(names, 1)


async def test_an_answer_that_is_lost_is_settled_by_reading_back(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, 1)
    await fleet.trouble(names, restart="lost")
    outcome = await ours.carry_out(batch(names))
    assert outcome.result is Result.DONE, outcome
    assert await since(fleet, before) == dict.fromkeys(names, 1)


async def test_each_failure_is_told_by_its_own_name(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, 1, 2, 3, 5, 6, 7)
    wrong = ({"refuses": True}, {"other_key": True}, {"restart": "fails"}, {"restart": "hangs"}, {"restart": "lost"}, {})
    for name, trouble in zip(names, wrong, strict=True):
        await fleet.trouble([name], **trouble)
    attached: dict[str, str] = {}

    async def attach(name: str, text: str) -> None:
        attached[name] = text

    ours.world.attach = attach
    outcome = await ours.carry_out(batch(names, budget=20, batch_budget=4))
    assert outcome.result is Result.DONE, outcome
    (listed,) = attached.values()
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        ["failed", names[2]], ["failed", names[3]], ["host", "key"], ["refused", names[0]]
    ]  # fmt: skip
    assert "Agents: 2 failed, 2 healthy, 1 host key, 1 refused." in outcome.says
    assert "its key has CHANGED" in outcome.says
    assert "Reading back shows that it was not restarted; it is failed." in outcome.says
    assert set((await since(fleet, before)).values()) == {1}


async def test_an_agent_that_ends_again_stops_everything_after_the_canary(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, *range(1, 13))
    await fleet.put("agent-bad-version")
    first, *_ = await batches(ours.world, names)
    outcome = await ours.carry_out(first)
    assert outcome.result is Result.FAILED
    assert "1 silent" in outcome.says
    assert "on its host it is failed" in outcome.says
    assert await since(fleet, before) == dict.fromkeys(first.hosts, 1)


async def test_a_version_that_crashes_stops_a_restart_of_everybody_while_the_fleet_is_up(fleet: Fleet, ours: Bot) -> None:
    await down(fleet, ours)
    before = await counts(fleet)
    await fleet.put("agent-bad-version")
    first, *_ = await batches(ours.world, sorted(before), healthy_too=True)
    assert (await ours.carry_out(first)).result is Result.FAILED
    assert await since(fleet, before) == dict.fromkeys(first.hosts, 1)
    up = {name for name, host in (await fleet.report()).items() if host["beats"]}
    assert up == before.keys() - set(first.hosts)


async def test_no_more_hosts_are_begun_than_may_still_fail(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, *[n for n in range(1, 24) if n % 4])
    await asyncio.gather(*(fleet.trouble([name], restart="fails") for name in names))
    strict = await ours.carry_out(batch(names, budget=0))
    assert strict.result is Result.FAILED
    assert sum((await since(fleet, before)).values()) == 1
    assert f"{len(names) - 1} not tried" in strict.says


async def test_failures_stay_within_the_budget(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, *[n for n in range(1, 24) if n % 4])
    await asyncio.gather(*(fleet.trouble([name], restart="fails") for name in names))
    assert (await ours.carry_out(batch(names, budget=4, batch_budget=3))).result is Result.FAILED
    assert sum((await since(fleet, before)).values()) <= 4


async def test_a_retry_touches_only_what_was_not_restarted(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, 1, 2, 3)
    await fleet.trouble([names[1]], refuses=True)
    step = batch(names, budget=5, batch_budget=0)
    assert (await ours.carry_out(step)).result is Result.FAILED
    await fleet.trouble([names[1]])
    outcome = await ours.carry_out(step, attempt=2)
    assert outcome.result is Result.DONE, outcome
    assert "3 healthy" in outcome.says
    assert await since(fleet, before) == dict.fromkeys(names, 1)


async def test_a_retry_restarts_no_agent_that_stayed_silent(fleet: Fleet, ours: Bot) -> None:
    names, before = await down(fleet, ours, 1)
    await fleet.put("agent-bad-version")
    for attempt in (1, 2):
        assert (await ours.carry_out(batch(names), attempt=attempt)).result is Result.FAILED
    assert await since(fleet, before) == dict.fromkeys(names, 1)


@pytest.mark.parametrize("sent", [True, False], ids=["after-the-effect", "before-the-effect"])
async def test_what_a_dead_bot_intended_is_read_back_before_it_is_sent(fleet: Fleet, ours: Bot, sent: bool) -> None:
    names, before = await down(fleet, ours, 1)
    step, host = batch(names), (await ours.world.ssh.inventory()).hosts[names[0]]
    with items_of(RUN, "1.1", 1):
        facts = await step.observe(ours.world)
        await ours.runner.store.record_intent(RUN, "1.1", 1, facts)
        async with ours.world.ssh.session(host) as session:
            shown = lines.state_of(host, (await session.run(lines.show(ours.world.agents, host))).out)
            await ours.world.items.intend(host.name, {"start": shown.start})
            if sent:
                assert (await session.run(step.systemd_line)).good
    outcome = await ours.carry_out(step)
    assert outcome.ok, outcome
    assert await since(fleet, before) == dict.fromkeys(names, 1)


async def test_a_fleet_without_heartbeats_in_reach_is_not_touched(
    fleet: Fleet, ours: Bot, database: ServerPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await counts(fleet)
    monkeypatch.setenv("DATABASE_URL", "postgresql://dr_bot:x@127.0.0.1:1/shielda")
    monkeypatch.setattr("bot.engine.step_runner.ASKING_LEAST", 0.1)
    monkeypatch.setattr("bot.engine.step_runner.ASKING_SHARE", 0.0)
    outcome = await ours.carry_out(batch(["agent-0001"]))
    assert outcome.result is Result.FAILED
    assert "Nothing was done, because the state before could not be read." in outcome.says
    assert await since(fleet, before) == {}


async def test_no_agent_is_called_silent_while_heartbeats_cannot_be_read(
    fleet: Fleet, ours: Bot, database: ServerPair, set_variable: SetVariable
) -> None:
    names, before = await down(fleet, ours, 1)
    step = batch(names)
    with items_of(RUN, "1.1", 1):
        applied = await ours.runner.act(RUN, "1.1", 1, step)
        set_variable("DATABASE_URL", "postgresql://dr_bot:x@127.0.0.1:1/shielda")
        outcome = await ours.runner.verify(step, applied, ours.world)
    assert outcome.result is Result.FAILED
    assert outcome.says.startswith("1 agent was restarted, and whether they are healthy can't be told:")
    set_variable("DATABASE_URL", database.url("dr_bot"))
    assert (await ours.carry_out(step, attempt=2)).ok
    assert await since(fleet, before) == dict.fromkeys(names, 1)


async def test_a_control_plane_that_hangs_is_told_as_the_cause_within_a_report_s_time(
    fleet: Fleet, ours: Bot, processes: Processes
) -> None:
    await processes.signal("agents-control-plane", signal.SIGSTOP)
    try:
        began = time.monotonic()
        report = await REPORTS["agents diagnose"].make(ours.world, NoMemory())
        assert time.monotonic() - began < 30
    finally:
        await processes.signal("agents-control-plane", signal.SIGCONT)
    (cause,) = [line for line in report.findings if line.check == "likely cause"]
    assert "The control plane is down: plan `/dr control-plane restart`." in cause.says
    assert len(await ours.states()) == 0


async def test_a_bot_that_is_killed_again_and_again_restarts_nothing_twice(
    fleet: Fleet, ours: Bot, url: str, tmp_path: Path
) -> None:
    names, before = await down(fleet, ours, *range(1, 13))
    chance, state = random.Random(11), tmp_path / "killed.sqlite"
    await fleet.trouble([names[-1]], restart="lost")
    told = {"folder": str(fleet.folder), "url": url, "hosts": names, "changed": {}}

    async def run() -> asyncio.subprocess.Process:
        argv = [sys.executable, "-m", "tests.world.agents_rig", str(state), json.dumps(told)]
        return await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)

    for _ in range(3):  # each in the middle of things: once some more have been restarted
        wanted = len(await since(fleet, before)) + chance.randint(1, 3)
        process = await run()

        async def enough(wanted: int = wanted) -> bool:
            return len(await since(fleet, before)) >= wanted

        await until(enough, 60, "more restarts", every=0.01)
        assert process.returncode is None
        process.kill()
        await process.wait()
    out, _ = await asyncio.wait_for((await run()).communicate(), 90)
    report = json.loads(out)
    assert await since(fleet, before) == dict.fromkeys(names, 1), report["says"]
    assert report["states"] == dict.fromkeys(names, "healthy")
