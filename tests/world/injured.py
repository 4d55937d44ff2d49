"""One server for all tests that hurt databases: each gets a database of its own, copied in a tenth of a second."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from psycopg import conninfo, sql

from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site
from actions.world import World
from rehearsal.injuries import INJURIES, Patient, Wound
from rehearsal.machines.processes import Processes
from rehearsal.postgres.server import Server
from rehearsal.postgres.template import BOT, DATABASE, OWNER, SUPERUSER, prepare, superuser
from tests.world.aws_world import WEST

PASSWORD = "for-these-tests"


class Ward:
    """The server. `patient` gives a new database; what the product sees of it is `ref`, and its DSN is in the environment."""

    def __init__(self, server: Server, password: str, world: World, environment: pytest.MonkeyPatch) -> None:
        self.server = server
        self.password = password
        self.world = world
        self._environment = environment
        self._numbers = itertools.count(1)

    async def patient(self, *, of: str = DATABASE, name: str = "") -> Patient:
        """A copy of a database that nobody is connected to."""
        name = name or f"patient_{next(self._numbers)}"
        async with superuser(self.server.port, self.password, "postgres") as connection:
            names = (sql.Identifier(name), sql.Identifier(of), sql.Identifier(OWNER))
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names)
            await connection.execute(copy)
        self._environment.setenv(name.upper(), self.dsn(name))
        return Patient(port=self.server.port, password=self.password, data=self.server.data, database=name)

    async def hurt(self, injury: str, seed: int) -> tuple[Patient, Wound]:
        """A patient with this injury."""
        patient = await self.patient()
        return patient, await INJURIES[injury].inflict(patient, random.Random(f"{injury}/{seed}"))

    def dsn(self, name: str, role: str = BOT) -> str:
        password = self.password if role == SUPERUSER else PASSWORD
        return conninfo.make_conninfo(host="127.0.0.1", port=self.server.port, user=role, password=password, dbname=name)

    def ref(self, patient: Patient) -> DatabaseRef:
        """The patient as the product knows it."""
        return DatabaseRef(name="primary", instance="shielda-prod", region=WEST, dsn_env=patient.database.upper())

    def world_of(self, patient: Patient) -> World:
        """A world whose one database is the patient."""
        return World(site(patient.database.upper()))


def site(dsn_env: str = "DATABASE_URL") -> Site:
    return Site(
        aws=Aws(region=WEST),
        services={"api": ServiceSection(cluster="c", service="s", log_group="/l", health_url="http://127.0.0.1/")},
        databases={"primary": DatabaseSection(instance="shielda-prod", dsn_env=dsn_env)},
    )


@asynccontextmanager
async def ward(processes: Processes, work_dirs: Path, cache: Path, name: str = "ward") -> AsyncIterator[Ward]:
    """A server of its own, started from the template."""
    template = await prepare(processes, cache)
    folder = work_dirs / name
    folder.mkdir(mode=0o755, exist_ok=True)
    server = Server(processes, name, folder / "data", folder / "server.log", template.binaries)
    await template.copy(server.data)
    server.configure(autovacuum="off")
    await server.start()
    async with superuser(server.port, template.password, "postgres") as connection:
        for role in (BOT, OWNER):
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
            await connection.execute(statement)
    world = World(site())
    with pytest.MonkeyPatch.context() as environment:
        yield Ward(server, template.password, world, environment)
    await world.close()
    await server.kill()
