"""Restored copies of the shared database servers, and the product's world that reaches them, for tests that look at copies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site
from actions.world import World
from rehearsal.aws.rds.behind import Restored
from rehearsal.postgres.copies import Copy
from rehearsal.postgres.damage import DAMAGE
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import superuser
from tests.world.rds_account import NETWORK, WEST, Account, rds_account


class Copies:
    """Restored copies behind one account, and the product's world that reaches them."""

    def __init__(self, account: Account, world: World) -> None:
        self.account = account
        self.world = world

    async def restore(self, name: str, damage: str = "", **more: Any) -> DatabaseRef:
        self.account.rds.restore_faults.damage = DAMAGE[damage] if damage else None
        await self.account.restore(name, **NETWORK, **more)
        return DatabaseRef(name="primary", instance=name, region=WEST, dsn_env="DR_TEST_COPY")

    def behind(self, database: DatabaseRef) -> Copy:
        restored = self.account.rds.registry.instance(WEST, database.instance).behind
        assert isinstance(restored, Restored)
        return restored.copy

    async def run(self, database: DatabaseRef, *statements: str) -> None:
        """Each as the superuser in a session of its own."""
        for statement in statements:
            async with superuser(self.behind(database).server.port, self.behind(database).password) as connection:
                await connection.execute(statement.encode())


@asynccontextmanager
async def restored_copies(servers: ServerPair) -> AsyncIterator[Copies]:
    """An account in which these servers are production, and a world whose DSN has the bot's role."""
    async with rds_account(servers) as account:
        site = Site(
            aws=Aws(region=WEST, endpoints={WEST: account.client.meta.endpoint_url}, speed=2400),
            services={"api": ServiceSection(cluster="c", service="s", log_group="/l", health_url="http://127.0.0.1/")},
            databases={"primary": DatabaseSection(instance="shielda-prod", dsn_env="DR_TEST_COPY")},
        )
        world = World(site)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DR_TEST_COPY", servers.url("dr_bot"))
            yield Copies(account, world)
        await world.close()
