"""The checks of the integrity suite: list what there is to ask, ask one by one, judge each answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from actions.db import integrity_catalog as catalog
from actions.db.check_result import CheckResult, CheckVerdict
from actions.db.integrity_amcheck import Question, Row, heap_questions, index_questions
from actions.db.integrity_ask import Asker
from actions.errors import Unreachable
from actions.scrub import scrub
from actions.values import count

OK, FAILED, SKIPPED = CheckVerdict
CREATE = "CREATE EXTENSION amcheck, then GRANT EXECUTE on its functions bt_index_check, gin_index_check and verify_heapam"
CORRUPTED = "XX"  # the class of PostgreSQL's error codes that tell of damaged pages and indexes
NO_RIGHT = "our role may not read it, so it was not checked. Run {}."


class Suite:
    """The checks of one database. `run` makes them all and gives their results.

    `only` are the tables to look at ("public.users"); all of them if it is empty. A database that `serves` isn't asked whether
    it has recovered: a standby never has.
    """

    def __init__(
        self,
        asker: Asker,
        database: str,
        progress: Callable[[str], None],
        *,
        only: Collection[str] = (),
        serves: bool = False,
    ) -> None:
        self._asker = asker
        self._database = database
        self._progress = progress
        self._only = frozenset(only)
        self._serves = serves
        self._results: list[CheckResult] = []
        self._unreadable: dict[str, str] = {}

    async def run(self) -> list[CheckResult]:
        """The result of every check, in the order in which they were made."""
        if not self._serves:
            await self._ask(Question(name="recovered", object=self._database, sql=catalog.RECOVERY, judge=_recovery))
        await self._index_validity()
        listed = [*await self._tables(), *await self._constraints(), *await self._amcheck()]
        questions = [one for one in listed if not self._only or self._only & {*one.tables} or (one.skip and not one.tables)]
        for number, question in enumerate(questions, 1):
            read = count(sum(one.rows for one in self._results), "row")
            at = f"Integrity check {number} of {len(questions)}, {read} read so far"
            self._progress(f"{at}; now {question.name} {scrub(question.object)}")
            await self._ask(question)
        return self._results

    # --- what there is to ask ---------------------------------------------------------------------------------------

    async def _tables(self) -> list[Question]:
        """One question for each table; those that our role may not read are failures and stay unread."""
        tables = await self._list("table", catalog.TABLES)
        if tables == []:
            self._say("table", self._database, FAILED, "there is no table in it, so nothing is proven.")
        for row in tables or []:
            if row["needed"]:
                self._unreadable[row["object"]] = f"our role may not read {row['object']}"
        return [
            Question(
                name="table", object=row["object"], sql=catalog.READ.format(table=row["object"]), tables=(row["object"],),
                skip=row["skip"], missing=NO_RIGHT.format(row["needed"]) if row["needed"] else "",
            )
            for row in tables or [] if row["stored"] or row["skip"] or row["needed"]
        ]  # fmt: skip

    async def _constraints(self) -> list[Question]:
        return [
            Question(
                name=name, object=row["object"], sql=row["sql"], tables=(row["table"], *filter(None, [row["other"]])),
                judge=_damage(row["damage"]), skip=row["skip"], unproven=row["unproven"],
                missing=NO_RIGHT.format(row["also"]) if row["also"] else "",
            )
            for name, sql in catalog.CONSTRAINTS.items() for row in await self._list(name, sql) or []
        ]  # fmt: skip

    async def _index_validity(self) -> None:
        invalid = await self._list("index validity", catalog.INVALID)
        invalid = [row for row in invalid if not self._only or row["table"] in self._only] if invalid else invalid
        for row in invalid or []:
            says = f"it is not valid, so it is not used. Drop it, or rebuild it with REINDEX INDEX {row['object']}."
            self._say("index validity", row["object"], FAILED, says, damage=True, table=row["table"])
        if invalid == []:
            self._say("index validity", self._database, OK)

    async def _amcheck(self) -> list[Question]:
        listed = await self._list("amcheck", catalog.AMCHECK)
        if listed is None:
            return []
        if not listed:
            offered = await self._list("amcheck", catalog.AMCHECK_IS_OFFERED) or []
            reason = (
                f"amcheck is not installed. Run {CREATE}"
                if any(row["found"] for row in offered)
                else "this server does not offer amcheck"
            )
            return [Question(name="amcheck", object="of all tables and indexes", skip=reason)]
        functions = {row["name"]: row for row in reversed(listed)}  # of several the one with the most arguments
        heaps, indexes = await self._list("table pages", catalog.HEAPS), await self._list("index", catalog.INDEXES)
        of_heaps = [] if heaps is None else heap_questions(heaps, functions.get("verify_heapam"))
        return [*of_heaps, *([] if indexes is None else index_questions(indexes, functions))]

    async def _list(self, name: str, sql: str) -> list[Any] | None:
        """The rows of a catalog query; None if there is no answer, which is a failure of its own."""
        silent = self._asker.gone
        try:
            return await self._asker.ask(sql, qualified=True)
        except Unreachable as error:
            verdict, says = (SKIPPED, f"{silent}.") if silent else (FAILED, f"we can't list what there is to check. {error}")
            self._say(name, self._database, verdict, says)
            return None

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _ask(self, question: Question) -> None:
        blocked = next((self._unreadable[table] for table in question.tables if table in self._unreadable), "")
        if question.skip:
            return self._tell(question, SKIPPED, f"{question.skip}.")
        if question.missing:
            return self._tell(question, FAILED, question.missing)
        if blocked:
            return self._tell(question, SKIPPED, f"{blocked}.")
        if self._asker.gone:
            return self._tell(question, SKIPPED, f"{self._asker.gone}.")
        try:
            rows = await self._asker.ask(question.sql)
        except Unreachable as error:
            return self._broken(question, str(error), damage=getattr(error, "sqlstate", "").startswith(CORRUPTED))
        return self._answered(question, rows)

    def _broken(self, question: Question, error: str, *, damage: bool) -> None:
        if question.name != "table":
            return self._tell(question, FAILED, error, damage=damage)
        self._unreadable[question.object] = f"{question.object} can't be read in full"
        return self._tell(question, FAILED, f"it can't be read in full. {error}", damage=damage)

    def _answered(self, question: Question, rows: list[Any]) -> None:
        wrong = "; ".join(said for row in rows if (said := question.judge(row)))
        if wrong and question.unproven:
            says = f"it is NOT VALID, so older rows may break it: {wrong}."
            return self._tell(question, SKIPPED, says, damage=True)
        if wrong:
            return self._tell(question, FAILED, f"{wrong}.", damage=True)
        read = rows[0]["rows"] if question.name == "table" else 0
        return self._tell(question, OK, count(read, "row") if question.name == "table" else "", rows=read)

    def _tell(self, question: Question, verdict: CheckVerdict, says: str, **more: Any) -> None:
        self._say(question.name, question.object, verdict, says, table=next(iter(question.tables), ""), **more)

    def _say(self, name: str, thing: str, verdict: CheckVerdict, says: str = "", **more: Any) -> None:
        self._results.append(CheckResult(name=name, object=scrub(thing), verdict=verdict, says=scrub(says), **more))


def _recovery(row: Row) -> str:
    return "the server is still in recovery, so what it holds isn't final" if row["in_recovery"] else ""


def _damage(template: str) -> Callable[[Row], str]:
    """The sentence about so many rows; "" if there are none."""
    noun = "key" if "more than once" in template else "row"

    def judge(row: Row) -> str:
        said = template.replace("{found}", count(row["found"], noun)).replace("{column}", row.get("column", ""))
        return said if row["found"] else ""

    return judge
