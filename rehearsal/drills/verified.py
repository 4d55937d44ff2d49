"""What must be true after a verification, asked of AWS and not of the bot: nothing is left, and production is as it was."""

from __future__ import annotations

from rehearsal.world import Rehearsal

RESTORES = {
    "RestoreDBInstanceFromDBSnapshot": "DBInstanceIdentifier",
    "RestoreDBInstanceToPointInTime": "TargetDBInstanceIdentifier",
}


def temporary(world: Rehearsal) -> list[dict[str, str]]:
    """The instances that were made, each gone or with the status that RDS still has it in."""
    names = [
        str(call["parameters"][name]) for operation, name in RESTORES.items() for call in world.journal.calls(operation=operation)
    ]
    there = {one.name: one.status for one in world.rds.registry.instances.values()}
    return [{"what": f"instance {name}", "state": there.get(name, "gone")} for name in dict.fromkeys(names)]


def wrong_after_verification(world: Rehearsal) -> list[str]:
    """Everything that's wrong, as sentences."""
    production = world.rds.production
    wrong = [f"The temporary {one['what']} is still {one['state']}." for one in temporary(world) if one["state"] != "gone"]
    others = [one.name for one in world.rds.registry.instances.values() if one is not production]
    wrong += [f"There is an instance {name} that was not there before." for name in others]
    if production.status != "available":
        wrong.append(f"{production.name} is {production.status}.")
    return wrong


def damage_found(world: Rehearsal) -> str:
    """Where a check had to find the damage that was planted in a snapshot."""
    (damage,) = [one.damage for one in world.rds.registry.snapshots.values() if one.damage]
    return damage.found_at
