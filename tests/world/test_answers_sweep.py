"""Every change to AWS meets every answer that AWS, a proxy or a cut connection can give: what the bot says of it is true.

The operations come from the registry of steps, so a new action is swept as soon as it is there. The rehearsal's journal is
the judge: it tells whether the effect was had, and how often.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

import commands
from actions.aws.gateway import PROFILES, Gateway
from actions.base import Action, Outcome, Result, Step
from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site
from actions.world import World
from bot import conduct
from bot.conduct import Conduct
from bot.database import open_engine
from bot.store import Store
from rehearsal.aws.faults import Faults
from rehearsal.aws.garbled import PAGES
from rehearsal.aws.rds.api import Rds
from rehearsal.postgres.pair import ServerPair
from tests.world.aws_world import EAST, WEST, LocalAws, until

assert commands.control_plane  # importing the scenarios registers their steps
SPEED = 5000.0
KINDS = sorted(kind for kind, cls in Step.registry.items() if issubclass(cls, Action) and hasattr(cls, "call"))
DATABASE = DatabaseRef(name="primary", instance="shielda-prod", region=WEST, dsn_env="DATABASE_URL")
ARGUMENTS = {"cluster": "shielda", "service": "control-plane", "region": WEST, "database": DATABASE}
READS = ("Describe*", "List*")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault around the one request, and what must be said of it: done or failed, with these words."""

    fault: str
    says: str
    done: bool = False
    times: int | None = 1
    sent: int = 1
    page: str = "html_403"

    @property
    def name(self) -> str:
        return f"{self.fault}-{self.page if 'garbled' in self.fault else self.times}"

    def put(self, faults: Faults, operation: str) -> None:
        faults.put(self.fault, operation=operation, times=self.times, page=self.page)  # type: ignore[arg-type]


LOST = "answer was lost: "
CASES = [
    Case(fault="access_denied", says=" refused "),
    Case(fault="throttle", says=" refused ", times=None, sent=5),
    Case(fault="throttle", says="", times=2, sent=3, done=True),
    Case(fault="error500", says="answered with an error of its own: InternalFailure"),
    Case(fault="after_500", says="answered with an error of its own: InternalFailure", done=True),
    Case(fault="drop", says=f"{LOST}the connection broke off"),
    Case(fault="after_drop", says=f"{LOST}the connection broke off", done=True),
    Case(fault="hang", says=f"{LOST}nothing came back in time"),
    Case(fault="after_hang", says=f"{LOST}nothing came back in time", done=True),
    *(Case(fault="garbled", page=page, says=LOST) for page in PAGES),
    *(Case(fault="after_garbled", page=page, says=LOST, done=True) for page in PAGES),
]


class ReadyTask:
    """The program of a task that costs nothing: it is up at once and answers 200 to all, in this process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.returncode: int | None = None
        self.stdout = asyncio.StreamReader()
        self._over = asyncio.Event()
        self._server: asyncio.Server

    @classmethod
    async def spawn(cls, name: str, argv: Sequence[str], env: Mapping[str, str]) -> Any:
        task = cls()
        task._server = await asyncio.start_server(task._answer, "127.0.0.1", int(argv[-1]))
        return task

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    def terminate(self) -> None:
        self.returncode = -15
        self._server.close()
        self.stdout.feed_eof()
        self._over.set()

    kill = terminate

    async def wait(self) -> int:
        await self._over.wait()
        return self.returncode or 0


class Zones:
    """The database whose failover takes no time: the zones change places, and the server stays the same."""

    def __init__(self, database: ServerPair) -> None:
        self._database = database
        self.zone, self.other_zone = database.zone, database.other_zone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def failover(self) -> None:
        self.zone, self.other_zone = self.other_zone, self.zone


class Sweep:
    """One rehearsal of AWS and one step runner for all cases, healthy before each."""

    def __init__(self, rehearsal: LocalAws, rds: Rds, runner: Conduct) -> None:
        self.rehearsal = rehearsal
        self.rds = rds
        self.runner = runner
        self._runs = 0

    async def ready(self) -> None:
        """No fault is left, and no deployment or failover is under way."""
        self.rehearsal.faults.clear()
        await self.rds.settled()
        scheduler = self.rehearsal.ecs.scheduler
        await until(lambda: _soon(scheduler.primary.rollout == "COMPLETED"))
        self.rehearsal.journal.clear()

    def action(self, kind: str) -> Action:
        """The action with the arguments of this world; a rollback goes to whichever revision isn't deployed."""
        other = 13 - self.rehearsal.ecs.scheduler.primary.revision.number  # 6 or 7
        known: dict[str, Any] = {**ARGUMENTS, "task_definition": f"control-plane:{other}"}
        cls: Any = Step.registry[kind]
        missing = [field.name for field in fields(cls) if field.name not in known]
        assert not missing, f"{kind} has arguments that this sweep does not know: {missing}; add them to ARGUMENTS"
        action: Action = cls(**{field.name: known[field.name] for field in fields(cls)})
        return action

    async def carry_out(self, action: Action) -> Outcome:
        self._runs += 1
        applied = await self.runner.act(f"run-{self._runs}", "1.1", 1, action)
        return await self.runner.verify(action, applied)

    def effects(self, operation: str) -> int:
        return sum(effect["count"] for effect in self.rehearsal.journal.effects() if effect["operation"] == operation)


async def _soon(value: bool) -> bool:
    return value


@pytest.fixture(scope="module")
def database(servers: ServerPair) -> Iterator[ServerPair]:
    """The database servers of this session, as the bot's DATABASE_URL."""
    os.environ["DATABASE_URL"] = servers.url("dr_bot")
    yield servers
    del os.environ["DATABASE_URL"]


@pytest.fixture(scope="module")
async def shared(work_dirs: Path, database: ServerPair) -> AsyncIterator[Sweep]:
    rehearsal = LocalAws(SPEED, spawn=ReadyTask.spawn)
    rds = rehearsal.add_database(Zones(database))  # type: ignore[arg-type]
    async with rehearsal:
        await rehearsal.ecs.start(7)
        world = World(site_of(rehearsal))
        store = Store(open_engine(f"sqlite:///{work_dirs / 'sweep.sqlite'}"))
        yield Sweep(rehearsal, rds, Conduct(store, world))
        store.close()
        await world.close()


def site_of(rehearsal: LocalAws) -> Site:
    return Site(
        aws=Aws(region=WEST, dr_region=EAST, endpoints=rehearsal.endpoints, speed=SPEED),
        services={
            "control-plane": ServiceSection(
                cluster="shielda",
                service="control-plane",
                log_group="/ecs/shielda-control-plane",
                health_url=rehearsal.balancer.url,
            )
        },
        databases={"primary": DatabaseSection(instance="shielda-prod")},
    )


@contextlib.asynccontextmanager
async def impatience(world: World) -> AsyncIterator[None]:
    """Changes are waited for half a second only."""
    patient = world.aws
    profiles = {**PROFILES, "change": PROFILES["change"].merge(Config(read_timeout=0.5))}
    world.__dict__["aws"] = Gateway(world.site.aws, profiles=profiles)  # `aws` is a cached property
    yield
    await world.aws.close()
    world.__dict__["aws"] = patient


@pytest.fixture
async def sweep(shared: Sweep) -> Sweep:
    await shared.ready()
    return shared


def test_the_sweep_has_every_operation_the_product_changes_with() -> None:
    assert len(KINDS) >= 3
    assert {Step.registry[kind].__module__.rpartition(".")[0] for kind in KINDS} == {"actions.aws"}
    assert len(PAGES) >= 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_is_said_of_a_change_is_true(sweep: Sweep, kind: str, case: Case) -> None:
    action = sweep.action(kind)
    operation = action.call.operation  # type: ignore[attr-defined]
    case.put(sweep.rehearsal.faults, operation)
    async with impatience(sweep.runner.world) if "hang" in case.fault else contextlib.nullcontext():
        outcome = await sweep.carry_out(action)
    assert sweep.effects(operation) == int(case.done), outcome.says
    assert case.says in outcome.says
    assert outcome.result is (Result.DONE if case.done else Result.FAILED), outcome.says
    assert ("Nothing changed" in outcome.says) is not case.done, outcome.says
    assert len(sweep.rehearsal.journal.calls(operation=operation)) == case.sent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["garbled", "after_garbled"])
async def test_nobody_claims_anything_if_reading_back_is_impossible_too(sweep: Sweep, kind: str, fault: Any) -> None:
    action = sweep.action(kind)
    facts, outcome = await sweep.runner.observe(action)
    assert outcome is None
    for operation in (action.call.operation, *READS):  # type: ignore[attr-defined]
        sweep.rehearsal.faults.put(fault if operation not in READS else "garbled", operation=operation, times=None)
    applied = await sweep.runner._send(action, facts)
    assert applied.outcome
    assert applied.outcome.result is Result.UNKNOWN, applied.outcome.says
    assert "We can't tell yet whether it happened" in applied.outcome.says
    assert "Nothing changed" not in applied.outcome.says


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", ["html_403", "html_200", "cut", "emptied"])
async def test_a_step_asks_again_if_its_first_questions_get_garbage(sweep: Sweep, kind: str, page: str) -> None:
    action = sweep.action(kind)
    for operation in READS:
        sweep.rehearsal.faults.put("garbled", operation=operation, times=5, page=page)
    outcome = await sweep.carry_out(action)
    assert outcome.result is Result.DONE, outcome.says


@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_that_never_gets_an_answer_fails_and_says_how_long_it_asked(
    sweep: Sweep, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conduct, "ASKING_LEAST", 0.2)
    sweep.rehearsal.faults.put("garbled", operation="Describe*", times=None)
    outcome = await sweep.carry_out(sweep.action(kind))
    assert outcome.result is Result.FAILED
    assert " did not answer " in outcome.says
    assert re.search(r"I asked \d+ times in \d+ s\.", outcome.says)
    assert "Nothing was done" in outcome.says


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_of_a_question_by_aws_is_final(sweep: Sweep, kind: str) -> None:
    sweep.rehearsal.faults.put("access_denied", operation="Describe*", times=None)
    outcome = await sweep.carry_out(sweep.action(kind))
    assert outcome.result is Result.FAILED
    assert " refused Describe" in outcome.says
    assert "I asked" not in outcome.says
    assert "Nothing was done" in outcome.says
