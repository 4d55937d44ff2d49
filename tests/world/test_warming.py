"""A first plan costs what a second one costs: what is slow to load or to make is there before it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.bench.subjects import NOWHERE

ROOT = Path(__file__).parents[2]
HEAVY = ("boto3", "botocore", "httpx", "httpcore", "anyio", "psycopg", "psycopg_binary", "dns", "asyncssh", "actions", "commands")
FIRST_PLAN = f"""
import asyncio, json, sys
import bot.engine.planner
from actions.site import Aws, DatabaseSection, Dns, ServiceSection, Site
from actions.warming import warm
from actions.world import World
from commands.scenario import SCENARIOS

def there():
    return {{name for name in sys.modules if name.partition(".")[0] in {HEAVY}}}

async def first_plan():
    web = dict(cluster="c", service="web", log_group="/web", health_url="{NOWHERE}/", database_secret="web/database")
    site = Site(
        aws=Aws(region="us-west-2", dr_region="us-east-1", endpoints={{"us-west-2": "{NOWHERE}", "us-east-1": "{NOWHERE}"}}),
        services={{"web": ServiceSection(**web)}},
        databases={{
            "primary": DatabaseSection(instance="prod", replica="replica"),
            "replica": DatabaseSection(instance="prod-east", region="us-east-1", dsn_env="DR_DATABASE_URL"),
        }},
        dns=Dns(zone="example.dev", name="app.example.dev", primary="west.example", dr="east.example"),
    )
    world = World(site)
    await warm(world)
    before, clients = there(), set(world.aws._clients)
    plan = await SCENARIOS["region failover"].make(world, {{}})
    return {{"loaded": sorted(there() - before), "made": sorted(set(world.aws._clients) - clients), "plan": plan.title}}

print(json.dumps(asyncio.run(first_plan())))
"""


async def test_a_first_plan_loads_nothing_and_makes_no_client() -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FIRST_PLAN, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": url, "DR_DATABASE_URL": url},
    )  # fmt: skip
    out, _ = await process.communicate()
    found = json.loads(out.splitlines()[-1])
    assert found["plan"]
    assert (found["loaded"], found["made"]) == ([], [])
