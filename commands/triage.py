"""`/dr triage`: the read-only part of every scenario at once, and which of them fits what is broken.

A deeper cause comes first: a control plane whose database is down is cured by the database's recovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from actions.scrub import plain
from actions.values import Finding, Level
from actions.world import World
from commands.asked import BadCommand
from commands.facts import UNREAD
from commands.memory import Memory
from commands.plan import Plan, spelled
from commands.report import MEANING, Line, Mark, line, report
from commands.scenario import SCENARIOS

TRIAGE = "triage"
REGION = "region failover"
LIKELIEST = "fits best"  # what the line of the likeliest scenario says has been checked
SECONDS = 8.0  # what one scenario gets to read; its own sources each have less
MOST_EVIDENCE = 3  # of the findings that speak for a scenario


@dataclass(frozen=True, kw_only=True)
class Look:
    """What planning a scenario showed: its plan, or why there is none."""

    scenario: str
    arguments: Mapping[str, str]
    plan: Plan | None
    error: str = ""
    applies: bool = True  # False if dr.toml has not what the scenario needs

    @property
    def command(self) -> str:
        """The words after `/dr` that ask for its plan."""
        return spelled(self.scenario, self.arguments)

    @property
    def unread(self) -> bool:
        """Whether it's unknown if there is something to recover: the scenario's own symptom could not be read."""
        return self.plan is not None and any(words in self.plan.why for words in (UNREAD, "could not be asked"))

    @property
    def broken(self) -> bool:
        """Whether what the scenario recovers is broken: its plan has something to do, and interrupts nothing that works."""
        plan = self.plan
        if plan is None or plan.interrupts or self.unread:
            return False
        return bool(plan.stages) or (bool(plan.forbidden) and not self.scenario.startswith("agents"))


@report(TRIAGE)
async def triage(world: World, _memory: Memory) -> list[Line]:
    """Which scenario fits what is broken: the read-only part of all of them at once, the likeliest first, with its evidence."""
    looks = await asyncio.gather(*(_look(world, *asked) for asked in _asked(world)))
    return [*judge(looks)]


def _asked(world: World) -> Iterator[tuple[str, dict[str, str]]]:
    """The scenarios that symptoms may call for, the deepest cause first."""
    replicas = {database.replica for database in world.site.databases.values()}
    databases = [name for name in world.site.databases if name not in replicas]
    if REGION in SCENARIOS:
        yield REGION, {}
    for number, name in enumerate(databases):
        yield "database failover", {"database": name} if number else {}
    for number, name in enumerate(world.site.services):
        yield "control-plane restart", {"service": name} if number else {}
    if world.site.agents is not None:
        yield "agents restart", {}


async def _look(world: World, scenario: str, arguments: dict[str, str]) -> Look:
    """Plan a scenario within its time; whatever goes wrong says so."""
    try:
        async with asyncio.timeout(SECONDS):
            return Look(scenario=scenario, arguments=arguments, plan=await SCENARIOS[scenario].make(world, arguments))
    except TimeoutError:
        error = f"It could not be planned within {SECONDS:g} s."
    except BadCommand as wrong:
        return Look(scenario=scenario, arguments=arguments, plan=None, error=str(wrong), applies=False)
    except Exception as defect:  # one scenario's defect hides no other's plan
        error = f"{plain(defect)}."
    return Look(scenario=scenario, arguments=arguments, plan=None, error=error)


def judge(looks: Sequence[Look]) -> Iterator[Line]:
    """A line for each scenario, and what they say together."""
    broken = [look for look in looks if look.broken]
    others = [look for look in broken if look.scenario != REGION]
    below = [look for look in looks if look.scenario != REGION and not look.scenario.startswith("agents")]
    if len(others) < len(below) or not below:  # a region is not lost as long as something in it works
        broken = others
    for look in looks:
        yield _line(look, broken)
    unknown = [look.command for look in looks if look.applies and (look.plan is None or look.unread)]
    yield line(_weight(broken, unknown), MEANING, "all scenarios", _meaning(broken, unknown))


def _line(look: Look, broken: list[Look]) -> Line:
    about, plan = f"/dr {look.command}", look.plan
    if not look.applies:
        return line(Mark.OK, "not set up", about, look.error)
    if plan is None or look.unread:
        return line(Mark.UNKNOWN, "unknown", about, look.error or (plan.why if plan else ""))
    if look not in broken:
        return line(Mark.OK, "not called for", about, _fine(plan), _evidence(plan, (Level.OK,)))
    says = f"{plan.why} {plan.heading}."
    if plan.forbidden:
        says += f" Its plan could not be approved: {plan.forbidden[0].says}"
    evidence = _evidence(plan, (Level.STOP, Level.WARN, Level.OK))
    if look is broken[0]:
        return line(Mark.STOP, LIKELIEST, about, says, evidence)
    return line(Mark.WARN, "may follow from the first", about, says, evidence)


def _fine(plan: Plan) -> str:
    if plan.interrupts:
        return f"It works: the plan would interrupt {plan.interrupts}."
    return plan.forbidden[0].says if plan.forbidden else "There is nothing to do."


def _evidence(plan: Plan, levels: tuple[Level, ...]) -> str:
    chosen: list[Finding] = sorted((f for f in plan.findings if f.level in levels), key=lambda f: levels.index(f.level))
    return " ".join(f.says for f in chosen[:MOST_EVIDENCE])


def _weight(broken: list[Look], unknown: list[str]) -> Mark:
    return Mark.STOP if broken else Mark.UNKNOWN if unknown else Mark.OK


def _meaning(broken: list[Look], unknown: list[str]) -> str:
    if broken:
        return f"Plan `/dr {broken[0].command}` first. Nothing is done before a second person has approved the plan."
    if unknown:
        return f"Nothing seems broken, but I can't tell about {' and '.join(f'`/dr {words}`' for words in unknown)}."
    return (
        "No scenario fits: what the bot can see works. `/dr targets` says what is promised, `/dr corruption scan` looks at data."
    )
