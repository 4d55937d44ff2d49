"""The question before a restored copy takes over, and what an answer should rest on: the newest commit, and each table's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from actions.db.beside import Beside, beside, count_all, tables_of
from actions.db.migrations import about_migrations
from actions.db.reach import reach
from actions.db.restored import OnInstance
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Hold
from actions.values import Finding, count, ok, warn

if TYPE_CHECKING:
    from actions.world import World

NEWEST = "SELECT pg_last_xact_replay_timestamp() AS at"


@dataclass(frozen=True, kw_only=True)
class TakeOver(OnInstance, Hold, kind="postgresql.take_over"):
    """Show what a restored database holds beside the one that it replaces, and ask whether it shall take over.

    `migrations` is the folder of the migrations that a Yes runs on the copy, by the command `run`; "" for none.
    """

    replaces: DatabaseRef
    at: str
    migrations: str = ""
    run: str = ""

    timeout: ClassVar[float] = 180.0

    @property
    def question(self) -> str:
        return f"Shall {self.database.instance} take over from {self.replaces.instance}?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        copy = await reach(world, self.database)
        pending = await about_migrations(copy, self.migrations, self.run) if self.migrations else ()
        tables, newest = await tables_of(copy), (await copy.ask(NEWEST))[0]["at"]
        says = newest_commit(datetime.fromisoformat(self.at), newest)
        try:
            present = await reach(world, self.replaces)
            now = await tables_of(present)
        except Unreachable as error:
            unread = f"{self.replaces.instance} can't be read, so what would be given up could not be counted."
            return (warn(unread, str(error)), *pending, says, _alone(await count_all(copy, tables)))
        found = await beside(copy, present, tables, now, world.progress)
        return (loss(found), *pending, says, *told(found), *_left_out(len(tables.keys() | now.keys()) - len(found)))


def newest_commit(wanted: datetime, newest: datetime | None) -> Finding:
    """Which moment was wanted, and which was reached."""
    was = f"It was restored to {_utc(wanted)}"
    if newest is None:
        return warn(f"{was}, and doesn't say when its newest commit was. Compare the rows with care.")
    return ok(f"{was}, and its newest commit is from {_utc(newest)}. All that was committed later is not in it.")


def loss(found: Sequence[Beside]) -> Finding:
    """What a Yes gives up and brings back in all tables together, and whether that is all of it."""
    given_up, back = sum(map(_given_up, found)), sum(map(_back, found))
    changed = sum(one.changed for one in found)
    unknown = [one.name for one in found if one.why_not or (_only_one(one) and _counted(one) is None)]
    says = f"A Yes gives up {_no(given_up)} added since, and brings back {_no(back)} deleted since."
    says += (
        f" {count(changed, 'row')} changed since {'gets its' if changed == 1 else 'get their'} earlier contents."
        if changed
        else ""
    )
    if unknown:
        return warn(f"{says} That is not all: {count(len(unknown), 'table')} could not be compared.", ", ".join(unknown))
    return (
        warn(says)
        if given_up or back or changed
        else ok("In no table that was compared has a row been added, deleted or changed.")
    )


def told(found: Iterable[Beside]) -> Iterator[Finding]:
    """A finding for each table that differs or could not be compared, the most rows first, and one for all that are the same."""
    same = []
    for one in sorted(found, key=lambda one: (-(_given_up(one) + _back(one) + one.changed), one.name)):
        if one.same:
            same.append(f"{one.name} {one.copy}")
        elif _only_one(one):
            yield _told_alone(one)
        elif one.why_not:
            yield _not_compared(one)
        else:
            yield _told(one)
    if same:
        agree = (
            f"{count(len(same), 'table holds', 'tables hold')} the same rows with the same contents as in the present database."
        )
        yield ok(agree, ", ".join(sorted(same)))


def _told(one: Beside) -> Finding:
    parts = []
    if one.given_up:
        parts.append(f"{count(one.given_up, 'row')} added since {_is(one.given_up)} given up")
    if one.back:
        parts.append(f"{count(one.back, 'row')} deleted since {'comes' if one.back == 1 else 'come'} back")
    if one.changed:
        parts.append(
            f"{count(one.changed, 'row')} changed since {'gets its' if one.changed == 1 else 'get their'} earlier contents"
        )
    says = ", ".join(parts) or "the rows agree in the columns that both databases have"
    evidence = [f"{_rows(one.copy)} in the copy, {_rows(one.present)} in the present database."]
    evidence += ["It has no primary key, so a changed row counts as one added and one deleted."] if not one.keyed else []
    evidence += [f"Columns: {one.columns}."] if one.columns else []
    return warn(f"{one.name}: {says}.", " ".join(evidence))


def _told_alone(one: Beside) -> Finding:
    rows = _counted(one)
    counted = f"with {count(rows, 'row')}" if rows is not None else "and its rows could not be counted"
    if one.in_copy:
        return warn(f"{one.name} comes back, {counted}: the present database has no such table.")
    return warn(f"{one.name} was made since and is given up, {counted}.")


def _not_compared(one: Beside) -> Finding:
    if one.copy is None or one.present is None:
        says = f"{_rows(one.copy)} in the copy, {_rows(one.present)} in the present database"
    elif one.copy == one.present:
        says = f"{count(one.copy, 'row')} in both, but that doesn't mean the same rows"
    else:
        more = "more" if one.copy > one.present else "fewer"
        says = f"{count(one.copy, 'row')} in the copy, {abs(one.copy - one.present)} {more} than in the present database"
    return warn(f"{one.name}: {says}. How many are given up and come back could not be counted.", one.why_not)


def _left_out(tables: int) -> tuple[Finding, ...]:
    return (warn(f"{count(tables, 'smaller table was', 'smaller tables were')} not compared."),) if tables else ()


def _alone(counts: Mapping[str, int | None]) -> Finding:
    counted = ", ".join(f"{name} {_rows(rows)}" for name, rows in counts.items())
    return ok(f"The copy has {count(len(counts), 'table')}.", counted)


def _only_one(one: Beside) -> bool:
    return not (one.in_copy and one.in_present)


def _counted(one: Beside) -> int | None:
    """The rows of a table that only one of them has."""
    return one.copy if one.in_copy else one.present


def _given_up(one: Beside) -> int:
    return one.given_up if one.in_copy else one.present or 0


def _back(one: Beside) -> int:
    return one.back if one.in_present else one.copy or 0


def _no(rows: int) -> str:
    return count(rows, "row") if rows else "no row"


def _is(rows: int) -> str:
    return "is" if rows == 1 else "are"


def _rows(rows: int | None) -> str:
    return "not counted" if rows is None else count(rows, "row")


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
