"""The statements of a repair and of its undo, for a table of any shape. Each takes %(case)s and %(table)s, the table's name.

Kept rows are cast to the table's type once (MATERIALIZED), matched by key, and touched only if they are as they were seen.
"""

from __future__ import annotations

from actions.db.diff_shape import Shape, quoted
from actions.db.repair_case import of_key, row_text

OF_TABLE = "kept.case_id = %(case)s AND kept.table_name = %(table)s"


def insert_missing(shape: Shape) -> str:
    """Insert the missing rows with their own values. One whose key or unique value is taken by now is left out."""
    names = [column.quoted for column in shape.columns if not column.generated]
    key = ", ".join(f"present.{quoted(name)}::text" for name in shape.key)
    put = (
        f"INSERT INTO {shape.table} AS present ({', '.join(names)}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(f'(kept.wanted).{name}' for name in names)} FROM kept"
        f" ON CONFLICT DO NOTHING RETURNING ARRAY[{key}] AS key"
    )
    return _kept(shape, "missing", "listed", put, "inserted")


def revert_changed(shape: Shape) -> str:
    """Give changed rows the values that they had, if they still are as they were seen."""
    return _kept(shape, "changed", "listed", _update(shape, "wanted", "seen"), "reverted")


def leave_the_rest() -> str:
    """What was to be mended and isn't as it was seen any more is a conflict."""
    rest = "state = 'listed' AND kind IN ('missing', 'changed')"
    return f"UPDATE dr_repair.rows AS kept SET state = 'conflict' WHERE {OF_TABLE} AND {rest}"


def changed_since(shape: Shape) -> str:
    """The keys of rows that the repair has mended and that aren't as it left them."""
    return (
        f"SELECT kept.key::text AS key FROM dr_repair.rows AS kept,"
        f" LATERAL (SELECT kept.wanted::{shape.table} AS wanted OFFSET 0) AS cast_"
        f" WHERE {OF_TABLE} AND kept.state IN ('inserted', 'reverted') AND NOT EXISTS (SELECT FROM {shape.source} AS present"
        f" WHERE {of_key(shape, 'present', 'cast_.wanted')} AND {row_text(shape, 'present')} = kept.wanted) ORDER BY 1 LIMIT 6"
    )


def delete_inserted(shape: Shape) -> str:
    """Take away the rows that the repair inserted."""
    put = f"DELETE FROM {shape.source} AS present USING kept WHERE {of_key(shape, 'present', 'kept.wanted')} RETURNING kept.key"
    return _kept(shape, "missing", "inserted", put, "undone")


def change_back(shape: Shape) -> str:
    """Give reverted rows the values that they had before the repair."""
    return _kept(shape, "changed", "reverted", _update(shape, "found", "left"), "undone")


def _update(shape: Shape, to: str, expected: str) -> str:
    fixed = {*shape.key, *(column.name for column in shape.columns if column.generated or column.identity == "a")}
    values = ", ".join(f"{column.quoted} = (kept.{to}).{column.quoted}" for column in shape.columns if column.name not in fixed)
    return (
        f"UPDATE {shape.source} AS present SET {values} FROM kept WHERE {of_key(shape, 'present', f'kept.{to}')}"
        f" AND {row_text(shape, 'present')} = kept.{expected} RETURNING kept.key"
    )


def _kept(shape: Shape, kind: str, state: str, put: str, becomes: str) -> str:
    """A statement over the kept rows of a kind; those that it touched get a new state, and are counted."""
    found = f"CASE WHEN kept.found <> '' THEN kept.found::{shape.table} END AS found"
    columns = f"kept.key, kept.found AS seen, kept.wanted AS left, {found}, kept.wanted::{shape.table} AS wanted"
    return (
        f"WITH kept AS MATERIALIZED (SELECT {columns} FROM dr_repair.rows AS kept"
        f" WHERE {OF_TABLE} AND kept.kind = '{kind}' AND kept.state = '{state}'), put AS ({put}),"
        f" told AS (UPDATE dr_repair.rows AS kept SET state = '{becomes}' FROM put"
        f" WHERE {OF_TABLE} AND kept.kind = '{kind}' AND kept.key = put.key RETURNING 1)"
        f" SELECT count(*) AS rows FROM told"
    )
