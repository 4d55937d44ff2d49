"""What several scenarios use: which service or database is meant, and sentences."""

from __future__ import annotations

from actions.site import DatabaseRef, NoSuchName, ServiceSection
from actions.world import World
from commands.scenario import BadCommand, suggest


def if_the_region_is_down() -> str:
    """What to do when AWS's region itself is away, as a sentence."""
    by_hand = "fail over to the other region by hand, by your runbook: I have no command for it"
    return f"If the whole region is down, {suggest('region failover', by_hand)}."


def chosen_database(world: World, name: str) -> DatabaseRef:
    """The database of `database=NAME`, the first of dr.toml for "". Raises `BadCommand`."""
    try:
        return world.site.database(name)
    except NoSuchName as error:
        raise BadCommand(f"database={name} can't be used: {error}") from error


def chosen_service(world: World, name: str) -> ServiceSection:
    """The service of `service=NAME`, the first of dr.toml for "". Raises `BadCommand`."""
    try:
        return world.site.service(name)
    except NoSuchName as error:
        raise BadCommand(f"service={name} can't be used: {error}") from error


def given(**arguments: object) -> dict[str, str]:
    """The arguments that differ from their defaults ("", False), as a person types them."""
    return {name: "yes" if value is True else str(value) for name, value in arguments.items() if value}
