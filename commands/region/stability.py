"""Static stability: what each step needs, and whether a plan needs something dead. No plan may need what it recovers from.

AWS calls it that: https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/static-stability.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actions.health import HealthAnswers
from actions.site import DatabaseRef, Site
from actions.step import Step
from actions.values import Finding, ok, stop
from commands.plan import Plan

EVERY = "*"
OUTSIDE = ("dns",)  # many servers all over the world: no single region takes them away
PEOPLE = {"postgresql": "the database", "http": "the balancer", "terraform": "terraform's providers"}


@dataclass(frozen=True, order=True, kw_only=True)
class Need:
    """Something that a step needs: a service (as permissions name it, "*" for all) of one plane in one region."""

    region: str
    service: str
    plane: str = EVERY

    def meets(self, dead: Need) -> bool:
        """Whether this is, or is a part of, what is dead."""
        return self.region == dead.region and dead.service in (EVERY, self.service)

    def __str__(self) -> str:
        name = PEOPLE.get(self.service, self.service)
        return f"{name} in {self.region} ({self.plane} plane)"


def needs(step: Step, site: Site) -> frozenset[Need]:
    """What a step needs in which region. A step without a region of its own works where the databases are that it names."""
    if isinstance(step, HealthAnswers):
        region = _region_of(step.url, site)
        return frozenset([Need(region=region, service="http", plane="data")]) if region else frozenset()
    databases = {value.region for value in vars(step).values() if isinstance(value, DatabaseRef)}
    found = set()
    for permission in step.permissions:
        service = permission.partition(":")[0]
        if service == "postgresql":
            found |= {Need(region=region, service=service, plane="data") for region in databases}
        elif service not in OUTSIDE:
            regions = [step.region] if step.region else databases
            found |= {Need(region=region, service=service, plane="control") for region in regions}
    return frozenset(found)


def needs_of(plan: Plan, site: Site) -> frozenset[Need]:
    """What all steps of a plan need."""
    return frozenset(need for _, step in plan.steps() for need in needs(step, site))


def dead_needs(plan: Plan, site: Site, dead: Iterable[Need]) -> Iterator[Finding]:
    """A stop finding for each step that needs something dead: such a plan can't be carried out."""
    gone = list(dead)
    for step_id, step in plan.steps():
        met = sorted(need for need in needs(step, site) if any(need.meets(one) for one in gone))
        if met:
            yield stop(f"Step {step_id} ({step.title}) needs {', '.join(map(str, met))}, which doesn't answer.")


def whole(region: str) -> Need:
    """All of a region."""
    return Need(region=region, service=EVERY)


def stands_on(plan: Plan, site: Site) -> Finding:
    """Which regions and planes a plan needs, as a finding."""
    found = sorted(needs_of(plan, site))
    control = sorted({f"{need.service} in {need.region}" for need in found if need.plane == "control"})
    data = sorted({f"{PEOPLE.get(need.service, need.service)} in {need.region}" for need in found if need.plane == "data"})
    regions = ", ".join(sorted({need.region for need in found})) or "no region"
    return ok(f"The steps need {regions}.", f"Control planes: {', '.join(control)}. Data: {', '.join(data)}.")


def _region_of(url: str, site: Site) -> str:
    """The region that an address belongs to; "" for the public one, which goes wherever the name points to."""
    for service in site.services.values():
        if url == service.region_health_url:
            return site.aws.region
        if url == service.dr_health_url:
            return site.aws.dr_region
    return ""
