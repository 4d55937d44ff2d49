"""What PostgreSQL's catalog says about one index that is to be rebuilt, and what broken rebuilds of it have left behind."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions.db.diff_shape import quoted
from actions.site import DatabaseRef

if TYPE_CHECKING:
    from actions.world import World

LEFT_OVER = re.compile(r"_cc(?:new|old)\d*\"?$")  # how REINDEX CONCURRENTLY calls what it works on
INDEX = """
SELECT c.oid::int8 AS oid, format('%%I.%%I', n.nspname, c.relname) AS name, format('%%I.%%I', tn.nspname, t.relname) AS "table",
  c.relkind = 'I' AS partitioned, i.indisexclusion AS exclusion, t.oid < 16384 AS system, pg_relation_size(c.oid) AS bytes,
  i.indisvalid AND i.indisready AND i.indislive AS valid,
  pg_get_userbyid(t.relowner)::text AS owner, current_user::text AS ours, pg_has_role(t.relowner, 'MEMBER') AS may,
  EXISTS (SELECT FROM pg_stat_progress_create_index AS going WHERE going.relid = t.oid) AS busy,
  array(SELECT format('%%I.%%I', n.nspname, other.relname) FROM pg_index AS o JOIN pg_class AS other ON other.oid = o.indexrelid
    WHERE o.indrelid = t.oid AND other.oid <> c.oid AND NOT (o.indisvalid AND o.indisready AND o.indislive)
      AND other.relname ~ '_cc(new|old)[0-9]*$'
      AND starts_with(c.relname, regexp_replace(other.relname, '_cc(new|old)[0-9]*$', '')) ORDER BY 1) AS left_over
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE i.indexrelid = to_regclass(%s)
"""
OLDEST = """
SELECT coalesce(extract(epoch FROM now() - min(xact_start)), 0)::float8 AS seconds FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index: its full name and its table's, its size, whether it is used, and what earlier rebuilds left of it.

    `oid` is another one after a rebuild. `busy`: an index of the table is being built right now. `refusal` says why it can't be
    rebuilt by us, "" if it can. `oldest` is the age of the oldest transaction, for which a rebuild waits.
    """

    name: str
    table: str
    oid: int
    bytes: int
    valid: bool
    owner: str
    busy: bool
    left_over: tuple[str, ...]
    refusal: str
    oldest: float


async def read_index(world: World, database: DatabaseRef, name: str) -> Index | None:
    """The index; None if there is none of this name. Raises `DatabaseUnreachable`."""
    connections = world.database(database)
    rows, oldest = await asyncio.gather(connections.ask(INDEX, [name]), connections.ask(OLDEST))
    if not rows:
        return None
    row = rows[0]
    return Index(
        name=row["name"],
        table=row["table"],
        oid=row["oid"],
        bytes=row["bytes"],
        valid=row["valid"],
        owner=row["owner"],
        busy=row["busy"],
        left_over=tuple(row["left_over"]),
        refusal=_refusal(row),
        oldest=oldest[0]["seconds"],
    )


def _refusal(row: dict[str, object]) -> str:
    """Why it can't be rebuilt while people work with it, and what to do instead."""
    name = str(row["name"])
    if row["system"]:
        return f"{name} belongs to PostgreSQL itself and can't be rebuilt beside its users. Restore the database instead."
    if row["partitioned"]:
        return f"{name} is only the head of the indexes of partitions. Name the one of the partition."
    if row["exclusion"]:
        return f"{name} enforces an exclusion constraint, and PostgreSQL rebuilds such an index only with the table locked."
    if LEFT_OVER.search(name):
        return f"{name} is what a broken rebuild left behind. Name the index itself: its left-overs are dropped with the rebuild."
    if not row["may"]:
        owner, ours = quoted(str(row["owner"])), quoted(str(row["ours"]))
        return f"A rebuild acts as the table's owner. Run GRANT {owner} TO {ours} WITH INHERIT FALSE."
    return ""
