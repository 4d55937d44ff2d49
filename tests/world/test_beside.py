"""Two real databases side by side: which rows only one has, which have other contents, and what can't be compared says so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from actions.db import beside as compared
from actions.db.beside import Beside, beside, tables_of
from actions.db.connect import Connections
from actions.site import DatabaseRef
from rehearsal.postgres.pair import ServerPair
from tests.conftest import SetVariable
from tests.world.sql import query

TABLES = """
CREATE SCHEMA "odd {name}";
CREATE TABLE numbered (key bigint PRIMARY KEY, content text, number int DEFAULT 7, bucket float8 DEFAULT 0.1);
CREATE TABLE named ("the {key}" text, part date, body jsonb, PRIMARY KEY (part, "the {key}"));
CREATE TABLE "odd {name}".keyless (body text);
CREATE TABLE measured (key int, at timestamptz) PARTITION BY RANGE (key);
CREATE TABLE measured_low PARTITION OF measured FOR VALUES FROM (0) TO (100);
CREATE TABLE empty (id int PRIMARY KEY);
CREATE TABLE untouched (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), says text);
CREATE TABLE hidden (id int PRIMARY KEY);
CREATE TABLE widened (id int PRIMARY KEY);
CREATE TABLE retyped (id int PRIMARY KEY, says text);
INSERT INTO retyped VALUES (1, 'a');
CREATE TABLE was_dropped (id int PRIMARY KEY);
INSERT INTO numbered SELECT n, 'row ' || n FROM generate_series(-9000, 9000) n;
INSERT INTO numbered VALUES (9007199254740993, 'far away');
INSERT INTO named SELECT n::text, date '2026-01-01' + n, jsonb_build_object('n', n) FROM generate_series(1, 500) n;
INSERT INTO "odd {name}".keyless SELECT 'row ' || n % 10 FROM generate_series(1, 100) n;
INSERT INTO measured SELECT n, '2026-01-01T00:00Z' FROM generate_series(1, 50) n;
INSERT INTO was_dropped VALUES (1), (2);
"""
SINCE = """
DELETE FROM numbered WHERE key BETWEEN -8500 AND -8197;
INSERT INTO numbered SELECT n, 'new' FROM generate_series(9001, 9093) n;
UPDATE numbered SET content = 'wrong' WHERE key IN (5, 9007199254740993);
UPDATE named SET body = '{"n": -3}' WHERE "the {key}" IN ('3', '4', '5');
DELETE FROM "odd {name}".keyless WHERE ctid IN (SELECT ctid FROM "odd {name}".keyless WHERE body = 'row 1' LIMIT 4);
INSERT INTO "odd {name}".keyless VALUES ('row 2'), ('new');
INSERT INTO measured VALUES (60, now());
DROP TABLE was_dropped;
ALTER TABLE widened ADD COLUMN plan text;
ALTER TABLE retyped ALTER COLUMN says TYPE varchar(9);
UPDATE retyped SET says = 'b';
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON hidden, empty TO shielda;
CREATE TABLE was_made (id int);
INSERT INTO was_made VALUES (1), (2), (3);
"""


@pytest.fixture(scope="module")
async def pair(servers: ServerPair) -> AsyncIterator[tuple[Connections, Connections]]:
    """Two databases of one server: the copy as it was, and the present one with what was done since."""
    made, monkeypatch = [], pytest.MonkeyPatch()
    for name, statements in (("beside_copy", TABLES), ("beside_present", TABLES + SINCE)):
        await query(servers.dsn("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await query(servers.dsn("postgres"), f"CREATE DATABASE {name}")
        dsn = servers.dsn("postgres")
        variable = f"TEST_{name.upper()}"
        monkeypatch.setenv(variable, f"{dsn} dbname={name}")
        await query(f"{dsn} dbname={name}", statements)
        made.append(Connections(DatabaseRef(name="primary", instance=name, region="us-west-2", dsn_env=variable)))
    yield made[0], made[1]
    monkeypatch.undo()
    for name in ("beside_copy", "beside_present"):
        await query(servers.dsn("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def found(copy: Connections, present: Connections) -> dict[str, Beside]:
    return {one.name: one for one in await beside(copy, present, await tables_of(copy), await tables_of(present))}


async def test_rows_added_deleted_and_changed_are_told_apart(pair: tuple[Connections, Connections]) -> None:
    tables = await found(*pair)
    numbered = Beside(name="public.numbered", copy=18_002, present=17_791, back=304, given_up=93, changed=2)
    assert tables["public.numbered"] == numbered
    assert tables["public.named"] == Beside(name="public.named", copy=500, present=500, changed=3)
    keyless = Beside(name='"odd {name}".keyless', copy=100, present=98, back=4, given_up=2, keyed=False)
    assert tables['"odd {name}".keyless'] == keyless
    assert tables["public.measured"] == Beside(name="public.measured", copy=50, present=51, given_up=1, keyed=False)
    assert tables["public.was_dropped"] == Beside(name="public.was_dropped", copy=2, in_present=False)
    assert tables["public.was_made"] == Beside(name="public.was_made", present=3, in_copy=False)
    assert {name for name, one in tables.items() if one.same} == {"public.hidden", "public.empty", "public.untouched"}


async def test_a_column_that_only_one_has_is_named_and_the_rest_compared(pair: tuple[Connections, Connections]) -> None:
    copy, present = pair
    tables = await found(copy, present)
    assert not tables["public.widened"].same
    assert tables["public.widened"].columns == "only the present database has plan text"
    assert (
        tables["public.retyped"].columns == "only the copy has says text; only the present database has says character varying(9)"
    )
    assert tables["public.retyped"].changed == 0


async def test_what_cannot_be_read_is_said_and_never_taken_as_equal(
    pair: tuple[Connections, Connections], servers: ServerPair, set_variable: SetVariable
) -> None:
    copy, present = pair
    set_variable("TEST_BESIDE_PRESENT", f"{servers.dsn('shielda')} dbname=beside_present")
    tables = await found(copy, present)
    assert tables["public.empty"].same
    hidden, forbidden = tables["public.hidden"], tables["public.numbered"]
    assert "row-level security" in hidden.why_not
    assert "permission denied for table numbered" in forbidden.why_not
    assert (forbidden.copy, forbidden.present, forbidden.same) == (18_002, None, False)


async def test_too_many_differences_and_a_time_that_is_over_are_said(
    pair: tuple[Connections, Connections], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "MOST_FETCHED", 50)
    numbered = (await found(*pair))["public.numbered"]
    assert numbered.why_not.endswith("rows would have to be compared one by one, and at most 50 are.")
    assert (numbered.copy, numbered.present, numbered.given_up) == (18_002, 17_791, 0)
    monkeypatch.setattr(compared, "ALL_SECONDS", 0.0)
    assert {one.why_not for one in (await found(*pair)).values() if one.in_copy and one.in_present} == {"The time was over."}


async def test_a_locked_table_holds_up_nothing_for_long(pair: tuple[Connections, Connections]) -> None:
    copy, present = pair
    async with await psycopg.AsyncConnection.connect(present.dsn) as holder:
        await holder.execute("LOCK TABLE numbered IN ACCESS EXCLUSIVE MODE")
        tables = await found(copy, present)
    assert "lock timeout" in tables["public.numbered"].why_not
    assert (tables["public.numbered"].copy, tables["public.numbered"].present) == (18_002, None)
    assert tables["public.named"].changed == 3
