"""What is slow the first time: loading clients and making them. It's done beforehand, because a plan's seconds are for answers.

Under load a module that was imported in the middle of a plan held up everything else for seconds, and a living primary passed for
a silent one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING

from actions.errors import Unreachable

if TYPE_CHECKING:
    from actions.world import World

NOWHERE = "http://127.0.0.1:0/"  # nothing can listen there, and nothing is sent
AT_HOME = (  # what the first plan and its effect need of AWS; each client is made in about 50 ms and takes 0.3 to 6 MB
    *(("ecs", "read"), ("rds", "read"), ("logs", "read"), ("cloudwatch", "read"), ("ecr", "read"), ("secretsmanager", "read")),
    *(("ecs", "change"), ("rds", "change"), ("rds", "probe"), ("ecs", "probe")),
)
ELSEWHERE = (("rds", "probe"), ("ecs", "probe"), ("secretsmanager", "read"))  # of a region failover, which has six seconds


async def warm(world: World) -> None:
    """Load and make what plans ask the world with; asks nothing of it. What can't be made is left to its first use."""
    await asyncio.to_thread(_load, world)
    with contextlib.suppress(Unreachable):
        await world.http.get(NOWHERE)  # the rest is loaded by a first request
    from actions.aws.route53 import HOME

    site = world.site
    await world.aws.prewarm(AT_HOME)
    for region in {site.database(name).region for name in site.databases} - {site.aws.region}:
        await world.aws.prewarm(ELSEWHERE, region)
    if site.dns:
        await world.aws.prewarm([("route53", "probe")], HOME)


def _load(world: World) -> None:
    """The clients' modules, in this thread: an import on the event loop would stop all else."""
    for client in ("actions.http", "actions.db.connect", "actions.dns.client", "actions.aws.route53"):
        importlib.import_module(client)
    if world.site.agents:
        importlib.import_module("actions.ssh.client")
    _made = world.http, world.aws  # which are made when they are first asked for
