"""A real standby that is delayed on purpose says by how long, and at which commit it stands."""

from __future__ import annotations

from psycopg import conninfo

from actions.db.delayed import delay_of
from actions.site import Aws, DatabaseSection, ServiceSection, Site
from actions.world import World
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import DATABASE
from rehearsal.waiting import until
from tests.conftest import SetVariable
from tests.world.sql import query


async def test_a_delayed_standby_tells_its_delay_and_where_it_stands(database: ServerPair, set_variable: SetVariable) -> None:
    assert database.standby
    password = database.password("postgres")
    standby = conninfo.make_conninfo(
        host="127.0.0.1", port=database.standby.port, user="postgres", password=password, dbname=DATABASE
    )
    set_variable("DR_DATABASE_URL", standby)
    section = DatabaseSection(instance="shielda-replica", dsn_env="DR_DATABASE_URL")
    service = ServiceSection(cluster="c", service="s", log_group="/l", health_url="http://127.0.0.1:1/")
    world = World(Site(aws=Aws(region="us-west-2"), services={"s": service}, databases={"replica": section}))
    assert (await delay_of(world, world.site.database("replica"))).seconds == 0
    try:
        for statement in ("ALTER SYSTEM SET recovery_min_apply_delay = '90min'", "SELECT pg_reload_conf()"):
            await query(standby, statement)

        async def is_delayed() -> bool:
            return (await delay_of(world, world.site.database("replica"))).seconds == 5400

        await until(is_delayed, 20, "a delayed standby")
        found = await delay_of(world, world.site.database("replica"))
        assert found.stands_at is not None
        assert found.stands_at <= found.now
    finally:
        for statement in ("ALTER SYSTEM RESET recovery_min_apply_delay", "SELECT pg_reload_conf()"):
            await query(standby, statement)
        await world.close()
