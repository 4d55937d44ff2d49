"""Two servers for repairs: the one that serves, and the restored copy beside it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from actions.db.repair import PutRowsBack, RepairHolds
from actions.db.repair_collect import CollectDifferences
from actions.db.repair_undo import UndoRepair
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Result
from rehearsal.injuries import Patient
from rehearsal.machines.processes import Processes
from tests.world.aws_world import WEST
from tests.world.fast_aws import Rig, fast_aws
from tests.world.injured import Ward, ward

AT = "2026-01-15T10:00:00+00:00"
COPY = "shielda-prod-repair"
ORDERS = """
SET ROLE shielda; CREATE TABLE customers (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customers,
  total numeric(12, 2), twice numeric GENERATED ALWAYS AS (total * 2) STORED, note text, at timestamptz, updated_at timestamptz);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN NEW.updated_at = now(); NEW.note = 'touched'; RETURN NEW; END $$;
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) AS n;
INSERT INTO orders (customer, total, note, at, updated_at) SELECT 1 + n % 50, n / 100.0, repeat('é', n % 7),
  '2026-01-14 23:30+02', '2026-01-15 09:00+00' FROM generate_series(1, 1000) AS n;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()
"""
QUIETLY = "SET session_replication_role = replica;"  # as damage does: no trigger says anything
DAMAGE = (
    f"{QUIETLY} DELETE FROM orders WHERE id % 25 = 3; UPDATE orders SET total = -total WHERE id % 50 = 4",
    f"{QUIETLY} UPDATE orders SET note = 'newer', updated_at = '2026-01-15 11:00+00' WHERE id % 100 = 5",
    f"{QUIETLY} INSERT INTO orders (customer, total, note) SELECT 1, n, 'new' FROM generate_series(1, 30) AS n",
)
READ = "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {} AS t"


class Hospital:
    """Two servers: the one that serves, and the restored copy, which RDS knows by an address."""

    def __init__(self, present: Ward, past: Ward, rig: Rig) -> None:
        self.present = present
        self.past = past
        self.rig = rig
        self._numbers = itertools.count(1)
        copy = rig.add_instance(COPY)
        copy.behind.port = past.server.port  # type: ignore[union-attr]
        copy.publish("available")

    async def admit(self, *statements: str, tables: tuple[str, ...] = ("orders",), **more: Any) -> Repair:
        """A database on both servers after the statements."""
        name = f"repair_{next(self._numbers)}"
        past, present = await self.past.patient(name=name), await self.present.patient(name=name)  # its DSN is the last one's
        for patient in (present, past):
            await patient.run(*statements)
        return Repair(self, present, past, tables, more)


class Repair:
    """One repair of one database."""

    def __init__(
        self, hospital: Hospital, present: Patient, past: Patient, tables: tuple[str, ...], more: dict[str, Any]
    ) -> None:
        self.rig = hospital.rig
        self.present = present
        self.past = past
        self.ref = hospital.present.ref(present)
        self.copy = DatabaseRef(name="primary", instance=COPY, region=WEST, dsn_env=self.ref.dsn_env)
        self.names: dict[str, Any] = {"database": self.ref, "case": f"case-{present.database}", "tables": tables}
        self._more = {"copy": self.copy, "at": AT, **more}

    @property
    def collect(self) -> CollectDifferences:
        return CollectDifferences(**self.names, **self._more)

    @property
    def put_back(self) -> PutRowsBack:
        return PutRowsBack(**self.names)

    @property
    def undo(self) -> UndoRepair:
        return UndoRepair(**self.names)

    async def does(self, action: Action, result: Result = Result.DONE) -> str:
        outcome = await self.rig.carry_out(action)
        assert outcome.result is result, outcome.says
        return outcome.says

    async def rows(self, table: str = "orders", patient: Patient | None = None) -> set[str]:
        return set((await (patient or self.present).value(READ.format(table)) or "").split("\n"))

    async def counts(self) -> dict[str, dict[str, int]]:
        return dict(await self.present.value("SELECT counts FROM dr_repair.cases"))

    async def holds(self) -> Any:
        return await RepairHolds(**self.names, **self._more).look(self.rig.world)


@contextlib.asynccontextmanager
async def open_hospital(processes: Processes, work_dirs: Path, cache: Path, name: str) -> AsyncIterator[Hospital]:
    """Both servers, for the tests of one module, which gives them its name."""
    async with (
        ward(processes, work_dirs, cache, f"{name}-present") as present,
        ward(processes, work_dirs, cache, f"{name}-past") as past,
        fast_aws(work_dirs / f"{name}.sqlite", tasks=False) as rig,
    ):
        yield Hospital(present, past, rig)
