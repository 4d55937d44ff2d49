"""What is asked of amcheck: the pages of each table, and each index against its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
CATALOGS = "PostgreSQL's own catalogs"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One check to be made: it passes if its query finds nothing. The tables are those that must be readable for it."""

    name: str
    object: str
    sql: str = ""
    tables: tuple[str, ...] = ()
    judge: Callable[[Row], str] = lambda _: ""
    skip: str = ""
    missing: str = ""
    unproven: bool = False


def heap_questions(heaps: list[Row], check: Row | None) -> Iterator[Question]:
    """amcheck of the pages of each table with its long values; the catalogs are one question."""
    if check is None:
        yield Question(name="table pages", object="of all tables", skip="this amcheck has no verify_heapam")
        return
    if not check["allowed"]:
        yield Question(name="table pages", object="of all tables", skip=f"our role may not run amcheck. Run {check['needed']}")
        return
    groups = {CATALOGS: [row for row in heaps if row["own"]], **{row["table"]: [row] for row in heaps if not row["own"]}}
    for name, rows in groups.items():
        oids = ",".join(str(oid) for row in rows for oid in (row["oid"], row["toast"]) if oid)
        sql = (
            f"SELECT one::pg_catalog.text AS page_of, blkno, msg"
            f" FROM pg_catalog.unnest('{{{oids}}}'::pg_catalog.regclass[]) AS one,"
            f" LATERAL {check['called']}(one, check_toast => true) LIMIT 1"
        )
        judge: Callable[[Row], str] = lambda row: f"Block {row['blkno']} of {row['page_of']}: {row['msg']}"  # noqa: E731
        yield Question(name="table pages", object=name, sql=sql, tables=(name,), judge=judge)


def index_questions(indexes: list[Row], functions: Mapping[str, Row]) -> Iterator[Question]:
    """amcheck of each index against its table; the catalogs' are one question."""
    own = [row for row in indexes if row["own"] and row["method"] == "btree"]
    for name, rows in [(CATALOGS, own), *((row["object"], [row]) for row in indexes if not row["own"])]:
        method = rows[0]["method"] if rows else "btree"
        tables = tuple(row["table"] for row in rows if not row["own"])
        check = functions.get({"btree": "bt_index_check", "gin": "gin_index_check"}.get(method, ""))
        if check is None:
            skip = f"amcheck of this version has no check for {method} indexes"
            yield Question(name="index", object=name, skip=skip, tables=tables)
        elif not check["allowed"]:
            skip = f"our role may not run amcheck. Run {check['needed']}"
            yield Question(name="index", object=name, skip=skip, tables=tables)
        else:
            options = {1: "", 2: ", true", 3: ", true, true"}[check["arguments"]]
            oids = ",".join(str(row["oid"]) for row in rows)
            sql = f"SELECT {check['called']}(one{options}) FROM pg_catalog.unnest('{{{oids}}}'::pg_catalog.regclass[]) AS one"
            yield Question(name="index", object=name, sql=sql, tables=tables)
