"""What verifications left behind, because a bot ended or a person skipped the drop: dropped once a person has approved it."""

from __future__ import annotations

from collections.abc import Iterator

from actions.aws.drops import DropInstance
from actions.aws.instances import Described, find_instance
from actions.site import DatabaseRef
from actions.values import Finding, ok, stop, warn
from actions.world import World
from commands.facts import Fact, read
from commands.memory import verified_target
from commands.plan import Plan
from commands.scenario import BadCommand, scenario
from commands.shared import chosen_database, given
from commands.verify import TAG

DROP = "backup drop"


@scenario(DROP)
async def drop(world: World, *, instance: str = "", database: str = "") -> Plan:
    """Drop a temporary instance that an earlier verification left behind, and no other one."""
    meant = chosen_database(world, database)
    if not instance:
        raise BadCommand(f"`/dr {DROP}` needs the instance: `instance=NAME`. `/dr backup status` lists what was left behind.")
    found = await read("RDS", find_instance(world, instance, meant.region), of=f"RDS in {meant.region}")
    return plan_for(world, meant, instance, found, given(instance=instance, database=database))


def plan_for(world: World, meant: DatabaseRef, instance: str, found: Fact[Described | None], arguments: dict[str, str]) -> Plan:
    """The plan for what was found; without a step if it isn't a left-over.

    Its target is the one of verifications: while one is under way, what it made is no left-over.
    """
    findings = tuple(_findings(world, meant, instance, found))
    mark = found.value.tags.get(TAG, "") if found.value else ""
    step = DropInstance(instance=instance, region=meant.region, tag=f"{TAG}={mark}")
    return Plan(
        scenario=DROP,
        title=f"Drop left-over instance {instance}",
        arguments=arguments,
        why=f"A verification of backups made {instance} and didn't drop it. It costs money and serves nobody.",
        target=verified_target(meant),
        stages=() if any(one.level == "stop" for one in findings) else ((step,),),
        basis={"tag": mark},
        identity={"DbiResourceId": found.value.resource_id if found.value else ""},
        findings=findings,
        cost=("What is in it is gone for good: no final snapshot is taken.",),
        confirm=instance,
        loss_seconds=0.0,
    )


def _findings(world: World, meant: DatabaseRef, instance: str, found: Fact[Described | None]) -> Iterator[Finding]:
    if not found.known:
        yield stop("RDS could not be read, so nothing can be dropped.", found.error)
    elif found.value is None:
        yield stop(f"RDS in {meant.region} has no instance {instance}.")
    elif not found.value.tags.get(TAG):
        yield stop(f"{instance} does not carry the tag {TAG}, so no verification made it. It is left alone.")
    elif instance in {section.instance for section in world.site.databases.values()}:
        yield stop(f"{instance} is a database of dr.toml, whatever its tag says. It is left alone.")
    elif found.value.protected:
        yield stop(f"{instance} has deletion protection: somebody may need it. Switch it off by hand first, or leave it.")
    else:
        yield ok(f"{instance} is {found.value.status}, and its tag {TAG} says that verification {found.value.tags[TAG]} made it.")
        yield warn("Look whether another bot's verification is still using it: I know only my own runs.")
