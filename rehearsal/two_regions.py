"""A rehearsal in two regions: the replica and its secret, the public name and who serves it, and the stack that is applied."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Self

from psycopg import conninfo

from rehearsal import settings
from rehearsal.aws.cloud import DATABASE_SECRET, PRIMARY, SECOND, Cloud
from rehearsal.aws.rds.api import Rds
from rehearsal.aws.rds.behind import Following
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.route53 import Route53
from rehearsal.aws.second_region import SecondRegion
from rehearsal.aws.secretsmanager import SecretsManager
from rehearsal.names.public import PublicName
from rehearsal.names.servers import Resolver
from rehearsal.names.zone import PRIMARY as FIRST_OF_PAIR
from rehearsal.names.zone import SECONDARY, RecordSet
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.replica import Replica
from rehearsal.postgres.template import BOT, DATABASE, OWNER, superuser
from rehearsal.terraform.stack import Stack

NAME = "app.shielda.dev"
TARGETS = {PRIMARY: "shielda-us-west-2.elb.amazonaws.com", SECOND: "shielda-us-east-1.elb.amazonaws.com"}
TTL = 60
HEALTH = "/api/health"
# docs/how-to/targets.md has the same statements for a real database.
HEARTBEATS = f"""
CREATE TABLE IF NOT EXISTS dr_heartbeat (writer text PRIMARY KEY, at timestamptz NOT NULL) WITH (fillfactor = 50);
ALTER TABLE dr_heartbeat OWNER TO {OWNER};
GRANT SELECT, INSERT, UPDATE ON dr_heartbeat TO {BOT};
"""


class TwoRegions:
    """What a failover to the second region finds and leaves behind, as an async context, once AWS and the database are there.

    With `failover_records` the name follows a health check by itself; else somebody must change it.
    """

    def __init__(self, aws: Cloud, rds: Rds, database: ServerPair, folder: Path, *, failover_records: bool = False) -> None:
        assert aws.second
        assert aws.route53
        self.second: SecondRegion = aws.second
        self.names: Route53 = aws.route53
        self.stack = Stack(folder / "terraform")
        self.public: PublicName
        self.resolver: Resolver
        self._aws, self._rds, self._database = aws, rds, database
        self._failover_records = failover_records
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """The replica streams, the name leads to the first region, and nothing is applied."""
        names = self.names
        addresses = {f"{target}.": "127.0.0.1" for target in TARGETS.values()}
        self.resolver = Resolver(names.zone.name, names.servers, addresses, ttl=names.shorten(TTL))
        await self.resolver.port.open()
        self._stack.push_async_callback(self.resolver.port.close)
        ports = {TARGETS[PRIMARY]: self._aws.balancer.port, TARGETS[SECOND]: self.second.balancer.port}
        self.public = PublicName(f"{NAME}.", self.resolver.port, ports)
        await self.public.open()
        self._stack.push_async_callback(self.public.close)
        self._stack.callback(self.stack.close)
        await asyncio.gather(self._rds.open_replica(), self._make_heartbeats())
        self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def replica(self) -> Instance:
        """The replica that there was at the start, whatever became of it."""
        assert self._rds.replica is not None
        return self._rds.replica

    @property
    def serving(self) -> str:
        """The region that the name leads to, as Route 53 has it; resolvers may not know yet."""
        found = self.names.zone.snapshot().answer(f"{NAME}.", "CNAME", self.names.checks.healthy)
        value = found.values[0].rstrip(".") if found else ""
        return next((region for region, target in TARGETS.items() if target == value), PRIMARY)

    def secrets_of(self, region: str) -> SecretsManager:
        """Where the tasks of a region get their database's address."""
        return self.second.secrets if region == SECOND else self._aws.secrets

    def replica_url(self, role: str) -> str:
        """The replica's endpoint as a URL, for DR_DATABASE_URL."""
        behind = self.replica.behind
        assert behind is not None
        return f"postgresql://{role}:{self._database.password(role)}@{behind.host}:{behind.port}/{DATABASE}"

    def service_and_database(self) -> dict[str, str]:
        """What the bot's settings say in addition about its service and its database."""
        first, second, stack = self._aws.balancer.url, self.second.balancer.url, self.stack.folder
        service = settings.SERVICE_IN_TWO_REGIONS.format(first=first, second=second, stack=stack)
        return {"service_more": service, "database_more": settings.DATABASE_IN_TWO_REGIONS}

    def section(self) -> str:
        """The sections of the bot's settings about the replica and the names."""
        return settings.REGIONS_TOML.format(
            replica=self.replica.name,
            name=NAME,
            primary=TARGETS[PRIMARY],
            dr=TARGETS[SECOND],
            resolver=self.resolver.port.address,
            servers=", ".join(f'"{server.port.address}"' for server in self.names.servers),
        )

    def description(self) -> dict[str, Any]:
        """The part of world.json about names."""
        servers = [server.port.address for server in self.names.servers]
        return {"name": NAME, "resolvers": [self.resolver.port.address], "nameservers": servers}

    def databases(self) -> dict[str, str]:
        """A connection string of the superuser's to each instance there is, by the instance's name."""
        return {
            one.name: conninfo.make_conninfo(
                host=one.behind.host, port=one.behind.port, user="postgres", password=self._database.password("postgres"),
                dbname=DATABASE,
            )
            for one in self._rds.registry.instances.values()
            if one.behind is not None
        }  # fmt: skip

    async def restore(self) -> None:
        """As at the start: the name leads to the first region, nobody serves in the second, and the replica streams.

        RDS has been reset before, with its replica.
        """
        await self.second.ecs.remove()
        async with superuser(self._database.primary.port, self._database.password("postgres")) as connection:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")
        self._begin()

    def _begin(self) -> None:
        self.second.secrets.create(DATABASE_SECRET, self.replica_url(OWNER), "DATABASE_URL of the control plane")
        self.names.heal()
        self.names.put(*self._records())
        self.resolver.forget()
        self.stack.renew(endpoint=self._aws.endpoints[SECOND], region=SECOND)

    def _records(self) -> list[RecordSet]:
        name = f"{NAME}."
        if not self._failover_records:
            return [RecordSet(name=name, type="CNAME", ttl=TTL, values=(TARGETS[PRIMARY],))]
        known = {check.name: check.id for check in self.names.checks.known.values()}
        balancers = {PRIMARY: self._aws.balancer, SECOND: self.second.balancer}
        for region, balancer in balancers.items():
            if TARGETS[region] not in known:
                check = self.names.checks.add(port=balancer.port, path=HEALTH, name=TARGETS[region])
                known[check.name] = check.id
        return [
            RecordSet(
                name=name, type="CNAME", ttl=TTL, values=(TARGETS[region],), set_id=region, failover=role,
                health_check=known[TARGETS[region]],
            )
            for region, role in ((PRIMARY, FIRST_OF_PAIR), (SECOND, SECONDARY))
        ]  # fmt: skip

    async def _make_heartbeats(self) -> None:
        async with superuser(self._database.primary.port, self._database.password("postgres")) as connection:
            await connection.execute(HEARTBEATS)

    # Faults -----------------------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """Regions, links, names and terraform work again; what somebody has promoted or changed stays so."""
        await self._aws.cut_off()
        for link in self._links():
            link.link.slow(0.0)
            await link.link.vanish(False)
        self.names.heal()
        self.stack.heal()

    async def lose_first(self) -> None:
        """Fault: the first region is gone; packets to it vanish."""
        await self._aws.cut_off(PRIMARY)

    async def lose_second(self) -> None:
        """Fault: the second region is gone."""
        await self._aws.cut_off(SECOND)

    async def cut_links(self) -> None:
        """Fault: nothing gets through between a replica and its source."""
        for link in self._links():
            await link.link.vanish()

    def slow_links(self, seconds: float = 2.0) -> None:
        """Fault: what a replica receives is so many real seconds old."""
        for link in self._links():
            link.link.slow(seconds)

    def change_names_late(self) -> None:
        """Fault: changes of names take Route 53 a quarter of an hour."""
        self.names.late = True

    def _links(self) -> list[Replica]:
        found = [one.behind for one in self._rds.registry.instances.values()]
        return [one.replica for one in found if isinstance(one, Following) and not one.replica.promoted]
