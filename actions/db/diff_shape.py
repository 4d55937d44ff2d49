"""What a table looks like to a comparison: its columns, the key that tells its rows apart, and how both become text.

Rows are compared as text under fixed settings, and not by PostgreSQL's hashes of values: hash_numeric(1) = hash_numeric(-1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from actions.errors import ActionError

INTEGERS = ("smallint", "integer", "bigint")
# Keys of these types are equal exactly if their text is; of numeric if it is without trailing zeros.
AS_TEXT = (
    *INTEGERS, "numeric", "text", "character varying", "character", "uuid", "date", "boolean", "bytea",
    "timestamp without time zone", "timestamp with time zone", '"char"', "oid", "inet", "macaddr",
)  # fmt: skip
TOUCHED = ("updated_at", "modified_at", "changed_at", "last_modified", "updated_on", "modified_on")
NAME = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name, row_security_active(c.oid) AS hidden
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')
"""
TABLE = "SELECT oid::int8 AS oid, relkind = 'p' AS partitioned, reltuples::int8 AS rows FROM pg_class WHERE oid = %s::regclass"
COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, format_type(a.atttypid, NULL) AS base,
  a.attgenerated::text AS generated, a.attidentity::text AS identity, t.typtype = 'e' AS enum,
  t.oid < 16384 AND t.typsend <> 0 AND coalesce(e.typsend <> 0, true) AS sendable,
  coalesce(co.collisdeterministic, true) AS deterministic
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem
LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# The primary key, else the narrowest unique index that could be one.
KEY = """
SELECT array(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, at)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.at) AS columns
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (SELECT FROM unnest(i.indkey[0:i.indnkeyatts - 1]) AS k JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = k WHERE NOT a.attnotnull)
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1
"""


class Incomparable(ActionError):
    """The tables can't be compared. The message says why, and what would help."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its type as SQL writes it, and whether its values are `generated` from others or given by an `identity`.

    `is_sendable`: its type is PostgreSQL's own and has a binary form, which is the same in every database.
    """

    name: str
    type: str
    base: str
    generated: str
    identity: str
    is_key_type: bool
    is_sendable: bool = False

    @property
    def quoted(self) -> str:
        """Its name in SQL."""
        return quoted(self.name)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A table as it is compared. Without a `key` rows can only be counted by their whole content.

    `touched` is the column that says when the application last changed a row; "" if there is none.
    """

    table: str
    partitioned: bool
    rows: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    touched: str = ""

    @property
    def source(self) -> str:
        """The table in FROM: without the rows of tables that inherit from it, with those of its partitions."""
        return f"{'' if self.partitioned else 'ONLY '}{self.table}"

    @property
    def by_number(self) -> bool:
        """Whether the key is one whole number, so that rows can be gathered by ranges of it."""
        return len(self.key) == 1 and self.column(self.key[0]).base in INTEGERS

    @property
    def sort_key(self) -> str:
        """The key as one value that sorts alike in PostgreSQL and in Python: a number, or a text."""
        if not self.key:
            return f"md5({self.content})"
        return self._key_text(self.key[0]) if self.by_number else f"(ROW({', '.join(map(self._key_text, self.key))})::text)"

    @property
    def key_texts(self) -> str:
        """The values of the key as an array of texts, from which SQL can make them again; of a row without one its MD5."""
        return f"ARRAY[{', '.join(f'{quoted(name)}::text' for name in self.key) or self.sort_key}]"

    @property
    def content(self) -> str:
        """The whole row as text, which can be cast to the type of the database that serves."""
        return f"ROW({', '.join(column.quoted for column in self.columns)})::text"

    @property
    def bytes(self) -> str:
        """The whole row in binary, in half the time that its text takes. Rows with the same bytes have the same text."""
        sent = (column.quoted if column.is_sendable else f"ROW({column.quoted})::text" for column in self.columns)
        return f"record_send(ROW({', '.join(sent)}))"

    def column(self, name: str) -> Column:
        """The column of this name."""
        return next(column for column in self.columns if column.name == name)

    def _key_text(self, name: str) -> str:
        column = self.column(name)
        if self.by_number:
            return f"{column.quoted}::int8"
        return f"trim_scale({column.quoted})::text" if column.base == "numeric" else f"{column.quoted}::text"


async def in_recovery(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server still replays its log: a standby, or a copy that isn't restored yet."""
    return bool((await _rows(connection, "SELECT pg_is_in_recovery() AS yes"))[0]["yes"])


async def full_name(connection: psycopg.AsyncConnection[Any], table: str) -> str:
    """The table's name with its schema, as SQL writes it. Raises `Incomparable` if there is none, or some rows are hidden."""
    found = await _rows(connection, NAME, [table])
    if not found:
        raise Incomparable(f"There is no table {table}. Write it as SCHEMA.TABLE if it isn't on the search path.")
    if found[0]["hidden"]:
        raise Incomparable(f"Row-level security hides rows of {table} from our role. It needs BYPASSRLS.")
    return str(found[0]["name"])


async def read_shape(connection: psycopg.AsyncConnection[Any], table: str, *, touched: str = "") -> Shape:
    """The shape of a table (its full name), in the connection's transaction. Raises `Incomparable`."""
    (facts,) = await _rows(connection, TABLE, [table])
    columns = tuple(_column(row) for row in await _rows(connection, COLUMNS, [facts["oid"]]))
    keys = await _rows(connection, KEY, [facts["oid"]])
    return Shape(
        table=table,
        partitioned=facts["partitioned"],
        rows=max(facts["rows"], 0),
        columns=columns,
        key=tuple(keys[0]["columns"]) if keys else (),
        touched=_touched(table, columns, touched),
    )


def common_shape(source: Shape, reference: Shape) -> tuple[Shape, Shape]:
    """Both shapes with the same columns in the same order and the same key. Raises `Incomparable` if they have others."""
    ours, theirs = ({column.name: column.type for column in shape.columns} for shape in (source, reference))
    for name in ours.keys() ^ theirs.keys():
        where = "the database that serves" if name in ours else "the reference"
        raise Incomparable(f"Column {name} of {source.table} is only in {where}. Bring both to the same migration first.")
    for name in ours:
        if ours[name] != theirs[name]:
            says = f"Column {name} of {source.table} is {ours[name]} in the database that serves"
            raise Incomparable(f"{says}, and {theirs[name]} in the reference. Bring both to the same migration first.")
    key = reference.key or source.key
    for name in key:
        if not source.column(name).is_key_type:
            raise Incomparable(
                f"Rows of {source.table} can't be told apart by {name}: keys of type {ours[name]} aren't compared."
            )
    columns = tuple(reference.column(column.name) for column in source.columns)
    return _with(source, source.columns, key), _with(reference, columns, key)


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _with(shape: Shape, columns: tuple[Column, ...], key: tuple[str, ...]) -> Shape:
    rest = {"partitioned": shape.partitioned, "rows": shape.rows, "touched": shape.touched}
    return Shape(table=shape.table, columns=columns, key=key, **rest)  # type: ignore[arg-type]


def _column(row: Mapping[str, Any]) -> Column:
    usable = row["deterministic"] and (row["enum"] or row["base"] in AS_TEXT)
    facts = {name: row[name] for name in ("name", "type", "base", "generated", "identity")}
    return Column(**facts, is_key_type=usable, is_sendable=row["sendable"])


def _touched(table: str, columns: Sequence[Column], wanted: str) -> str:
    """The column that tells when a row was changed: the wanted one, or one that is called as such columns are."""
    times = [column.name for column in columns if column.base.startswith("timestamp")]
    if wanted and wanted not in times:
        raise Incomparable(f"{table} has no column {wanted} that holds a time. It has {', '.join(times) or 'none'}.")
    return wanted or next((name for name in TOUCHED if name in times), "")


async def _rows(connection: psycopg.AsyncConnection[Any], sql: str, parameters: list[Any] | None = None) -> list[Any]:
    return await (await connection.execute(sql.encode(), parameters)).fetchall()
