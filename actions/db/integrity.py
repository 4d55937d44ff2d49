"""The integrity suite: whether a restored copy is whole, by questions to its rows and not by what its catalogs promise.

Changes nothing. It doesn't compare with another database: rows that are missing or wrong and break no rule are not found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.check_result import CheckResult, CheckVerdict
from actions.db.reach import reach
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Check
from actions.values import Outcome, count, done, failed

if TYPE_CHECKING:
    from actions.world import World

TIMEOUT = 21_600.0  # A fresh copy fetches its pages from the snapshot when they are first read.
LEAST = 120.0  # seconds of our own clock: a rehearsal's database is no faster than a real one
SHOWN, NAMED = 12, 30  # failures that are told in full, and checks that are named in one list
SINGLE = ("recovered", "index validity")
PLURALS = {"index": "indexes", "unique index": "unique indexes", "not null": "not null", "table pages": "table pages"}


@dataclass(frozen=True, kw_only=True)
class IntegrityHolds(Check, kind="postgresql.integrity_holds"):
    """Check a restored copy: all tables read in full, its constraints by own queries, its tables and indexes by amcheck.

    It reaches the instance at the address that RDS gives. A check that can't be made is named with what it needs. After
    `minutes` the step has failed, and says what was not looked at.
    """

    database: DatabaseRef
    minutes: int = int(TIMEOUT / 60)

    timeout: ClassVar[float] = TIMEOUT
    plane: ClassVar[str] = "control"  # RDS gives the address
    permissions: ClassVar[tuple[str, ...]] = (
        "rds:DescribeDBInstances", "postgresql:pg_read_all_data", "postgresql:EXECUTE on amcheck's functions",
    )  # fmt: skip

    @property
    def region(self) -> str:
        """The region of the instance."""
        return self.database.region

    @property
    def title(self) -> str:
        return f"Check the integrity of {self.database.instance}, for at most {self.minutes} min"

    @property
    def target(self) -> str:
        return str(self.database)

    def command(self) -> str:
        what = "read every table in full, test all constraints by queries, then pg_amcheck --heapallindexed --checkunique"
        return f"# on {self.database.instance}, at its address from RDS: {what}"

    async def look(self, world: World) -> Outcome:
        return judge(await integrity(world, self.database, timeout=60.0 * self.minutes), self.database)


async def integrity(world: World, database: DatabaseRef, *, timeout: float = TIMEOUT, name: str = "") -> list[CheckResult]:
    """What each check found, within `timeout` provider seconds. Never raises for an expected failure: that is a result, too.

    `name` is a database of that instance if it is another one than the DSN's.
    """
    from actions.db.integrity_ask import Asker
    from actions.db.integrity_suite import Suite

    try:
        connections = await reach(world, database, name=name)
    except Unreachable as error:
        return [CheckResult(name="recovered", object=str(database), verdict=CheckVerdict.FAILED, says=str(error))]
    async with Asker(connections, max(world.local(timeout), LEAST)) as asker:
        return await Suite(asker, str(database), world.progress).run()


def judge(results: Sequence[CheckResult], database: DatabaseRef) -> Outcome:
    """Failed if one check failed or none was made; else done. Either way it says what was checked and what wasn't."""
    wrong = [one for one in results if one.verdict is CheckVerdict.FAILED]
    good = [one for one in results if one.verdict is CheckVerdict.OK]
    said = f"{_passed(good)} {_skipped([one for one in results if one.verdict is CheckVerdict.SKIPPED])}"
    if good and not wrong:
        return done(f"No damage was found in {database.instance}. {said}")
    told = " ".join(f"{one.name} {one.object}: {one.says}" for one in wrong[:SHOWN])
    more = f" And these: {_named(wrong[SHOWN:])}." if wrong[SHOWN:] else ""
    return failed(f"{count(len(wrong), 'integrity check')} of {database.instance} failed. {told}{more} {said}")


def _passed(results: Sequence[CheckResult]) -> str:
    if not results:
        return "No check passed."
    names = [one.name for one in results]
    kinds = ", ".join(
        name if name in SINGLE else count(names.count(name), name, PLURALS.get(name, "")) for name in dict.fromkeys(names)
    )
    read = count(sum(one.rows for one in results), "row was", "rows were")
    return f"{count(len(names), 'check')} passed: {kinds}. {read} read in full."


def _skipped(results: Sequence[CheckResult]) -> str:
    """The skipped checks by their reasons; the objects are named, so that nobody takes them for checked."""
    if not results:
        return "Nothing was skipped."
    reasons: dict[str, list[CheckResult]] = {}
    for one in results:
        reasons.setdefault(one.says, []).append(one)
    told = " ".join(f"{_named(those)}: {reason}" for reason, those in reasons.items())
    return f"{count(len(results), 'check was', 'checks were')} skipped. {told}"


def _named(results: Sequence[CheckResult]) -> str:
    more = f" and {len(results) - NAMED} more" if len(results) > NAMED else ""
    return f"{', '.join(f'{one.name} {one.object}' for one in results[:NAMED])}{more}"
