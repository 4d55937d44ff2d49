"""The difference of two tables, row by row: as a naive comparison in Python says, and without the silent errors of others."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.db import diff
from actions.db.diff import Comparison, Difference, Kind, Side
from actions.db.diff_shape import Incomparable
from rehearsal.injuries import Patient
from rehearsal.machines.processes import Processes
from tests.world.injured import Ward, ward

SINCE = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module", name="ward")
async def the_ward(processes: Processes, work_dirs: Path, cache: Path) -> AsyncIterator[Ward]:
    """One server for all of these tests."""
    async with ward(processes, work_dirs, cache) as opened:
        yield opened


@pytest.fixture(scope="module")
async def patient(ward: Ward) -> Patient:
    """One database with two schemas: `present` is the database that serves, `past` the reference."""
    patient = await ward.patient()
    await patient.run("CREATE SCHEMA present; CREATE SCHEMA past; GRANT USAGE ON SCHEMA present, past TO dr_bot")
    return patient


async def tables(patient: Patient, columns: str, now: str = "", then: str = "") -> None:
    """The table `t` in both schemas, filled by the rest of an INSERT."""
    statements = []
    for schema, rows in (("present", now), ("past", then)):
        statements += [f"DROP TABLE IF EXISTS {schema}.t CASCADE", f"CREATE TABLE {schema}.t ({columns})"]
        statements += [f"INSERT INTO {schema}.t {rows}"] if rows else []
    await patient.run("; ".join(statements))


async def compared(ward: Ward, patient: Patient, **more: Any) -> list[Difference]:
    connections = ward.world.database(ward.ref(patient))
    sides = Side(connections=connections, table="present.t"), Side(connections=connections, table="past.t")
    async with Comparison(*sides, **({"since": SINCE} | more)) as comparison:
        return [one for batch in [found async for found in comparison.differences()] for one in batch]


def kinds(found: list[Difference]) -> dict[str, list[tuple[str | None, ...]]]:
    return {kind.value: [one.key for one in found if one.kind is kind] for kind in Kind if kind in {one.kind for one in found}}


# --- against a naive comparison ---------------------------------------------------------------------------------------

TEXTS = st.text(alphabet="aAäß, '\"(){}\\x0", max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int4": st.integers(-3, 3),
    "int8": st.sampled_from([-(2**63), 2**63 - 1, 0, 1, -1]),
    "text": TEXTS,
    "numeric": st.sampled_from(["1", "-1", "1.00", "-1.00", "0", "1e30", "NaN"]),
    "float8": st.sampled_from([0.1, -0.0, 0.0, float("inf"), 1e-300]),
    "bytea": st.binary(max_size=3),
    "timestamptz": st.sampled_from(["2026-03-29 01:30+00", "2026-03-29 03:30+02", "2026-10-25 01:30+02", "2026-10-25 01:30+01"]),
    "jsonb": st.sampled_from(['{"a": 1}', '{"a": null}', "[]", "null"]),
    "int4[]": st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=3),
}
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "int4": st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 40),
    "int8": st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-100, 100),
    "text": TEXTS,
    "uuid": st.uuids().map(str),
    "numeric": st.integers(-9, 9).map(str),
    "date": st.dates(),
}


@st.composite
def sides(draw: st.DrawFn) -> tuple[list[str], list[str], dict[Any, Any], dict[Any, Any]]:
    """Types of key and values, and the rows of both sides by their keys: much is the same, and some is not."""
    key_types = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=2))
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3))
    keys = st.tuples(*(KEYS[kind] for kind in key_types))
    values = st.tuples(*(st.none() | VALUES[kind] for kind in types))
    then = draw(st.dictionaries(keys, values, max_size=25))
    now = dict(then)
    for key in draw(st.lists(st.sampled_from(sorted(then, key=repr)), max_size=5)) if then else ():
        if draw(st.booleans()):
            now.pop(key, None)
        else:
            now[key] = draw(values)
    return key_types, types, now | draw(st.dictionaries(keys, values, max_size=5)), then


def in_python(now: list[Any], then: list[Any], width: int) -> dict[str, set[Any]]:
    """The differences of rows as PostgreSQL prints them, by their keys."""
    ours, theirs = ({row[:width]: row for row in rows} for rows in (now, then))
    return {
        "missing": theirs.keys() - ours.keys(),
        "extra": ours.keys() - theirs.keys(),
        "changed": {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]},
    }


@given(sides())
@settings(max_examples=30)
async def test_it_finds_what_a_naive_comparison_finds(ward: Ward, patient: Patient, drawn: Any) -> None:
    key_types, types, now, then = drawn
    names = [f"k{n}" for n in range(len(key_types))] + [f"v{n}" for n in range(len(types))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, key_types + types, strict=True))
    await tables(patient, f"{columns}, PRIMARY KEY ({', '.join(names[: len(key_types)])})")
    read = f"SELECT {', '.join(f'{name}::text' for name in names)} FROM {{}}.t"
    printed = {}
    async with patient.session() as connection:
        for schema, rows in (("present", now), ("past", then)):
            holes = ", ".join(["%s"] * len(names))
            async with connection.cursor() as cursor:
                await cursor.executemany(f"INSERT INTO {schema}.t VALUES ({holes})", [[*k, *v] for k, v in rows.items()])
                printed[schema] = await (await cursor.execute(read.format(schema))).fetchall()
    found = kinds(await compared(ward, patient))
    wanted = in_python(printed["present"], printed["past"], len(key_types))
    assert {kind: set(found.get(kind, [])) for kind in wanted} == wanted
    assert found.keys() <= wanted.keys()
    assert all(len(keys) == len(set(keys)) for keys in found.values())


# --- the silent errors of others --------------------------------------------------------------------------------------


async def test_equal_changes_do_not_hide_each_other(ward: Ward, patient: Patient) -> None:
    rows = "SELECT n, CASE WHEN n IN (3, 5) THEN '{}' ELSE 'same' END FROM generate_series(1, 9) AS n"
    await tables(patient, "id int, body text", rows.format("a"), rows.format("a"))
    await patient.run("INSERT INTO present.t VALUES (3, 'a'), (3, 'a')", "ALTER TABLE past.t ADD PRIMARY KEY (id)")
    assert kinds(await compared(ward, patient)) == {"twice": [("3",)]}
    await tables(patient, "id int PRIMARY KEY, body text", rows.format("b"), rows.format("a"))
    assert kinds(await compared(ward, patient)) == {"changed": [("3",), ("5",)]}


@pytest.mark.parametrize("kind", ["int8", "text"])
async def test_rows_beyond_the_keys_of_either_side_are_seen(ward: Ward, patient: Patient, kind: str) -> None:
    rows = "SELECT n, n FROM generate_series({}, {}) AS n"
    await tables(patient, f"id {kind} PRIMARY KEY, n int", rows.format(20, 49), rows.format(10, 39))
    found = kinds(await compared(ward, patient))
    assert found == {"missing": [(str(n),) for n in range(10, 20)], "extra": [(str(n),) for n in range(40, 50)]}


async def test_a_reference_that_is_quiet_but_not_recovered_is_refused(
    ward: Ward, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tables(patient, "id int PRIMARY KEY")
    (ward.server.data / "standby.signal").touch()
    await ward.server.stop()
    await ward.server.start()
    try:
        with pytest.raises(Incomparable, match="still replays its log"):
            await compared(ward, patient)
    finally:
        (ward.server.data / "standby.signal").unlink()
        await ward.server.stop()
        await ward.server.start()


# --- what else could go unnoticed -------------------------------------------------------------------------------------


async def test_the_sign_of_a_numeric_is_a_difference(ward: Ward, patient: Patient) -> None:
    await tables(patient, "id int PRIMARY KEY, n numeric", "VALUES (1, -1.00)", "VALUES (1, 1.00)")
    assert kinds(await compared(ward, patient)) == {"changed": [("1",)]}


async def test_values_of_types_of_its_own_are_compared(ward: Ward, patient: Patient) -> None:
    await patient.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN padded AS char(3)",
    )
    columns = "id int PRIMARY KEY, m mood, p pair, d padded, may aclitem, all_may aclitem[]"
    row = ["'sad'", "'(1,x)'", "'a'", "'dr_bot=r/postgres'", "'{dr_bot=r/postgres}'"]
    others = ["'glad'", "'(2,x)'", "'b'", "'dr_bot=w/postgres'", "'{dr_bot=w/postgres}'"]
    changed = [f"({n}, {', '.join([*row[:n], other, *row[n + 1 :]])})" for n, other in enumerate(others)]
    rows = [f"({n}, {', '.join(row)})" for n in range(7)]
    await tables(patient, columns, f"VALUES {', '.join([*changed, *rows[5:]])}", f"VALUES {', '.join(rows)}")
    assert kinds(await compared(ward, patient)) == {"changed": [(str(n),) for n in range(5)]}


async def test_rows_that_the_index_of_the_key_lacks_are_seen(ward: Ward, patient: Patient) -> None:
    await tables(patient, "id int8 PRIMARY KEY", "SELECT generate_series(1, 200)", "SELECT generate_series(1, 200)")
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'present.t_pkey'::regclass"
    await patient.run(ready.format("false"), "INSERT INTO present.t VALUES (-7), (1000000000000)", ready.format("true"))
    assert await patient.value("SELECT max(id) FROM present.t") == 200, "the index must lie"
    assert kinds(await compared(ward, patient)) == {"extra": [("-7",), ("1000000000000",)]}


async def test_numeric_keys_with_other_zeros_are_the_same_key(ward: Ward, patient: Patient) -> None:
    await tables(patient, "id numeric PRIMARY KEY, n int", "VALUES (2, 2)", "VALUES (2.0, 3)")
    assert kinds(await compared(ward, patient)) == {"changed": [("2",)]}


async def test_a_time_zone_of_the_server_makes_no_difference(ward: Ward, patient: Patient) -> None:
    await tables(
        patient, "id int PRIMARY KEY, at timestamptz", "VALUES (1, '2026-01-01 12:00+00')", "VALUES (1, '2026-01-01 13:00+01')"
    )
    await patient.run(f"ALTER DATABASE {patient.database} SET timezone = 'Asia/Tokyo'")
    assert await compared(ward, patient) == []


async def test_long_values_are_compared_to_their_end(ward: Ward, patient: Patient) -> None:
    body = "repeat('x', 200000) || {}"
    await tables(patient, "id int PRIMARY KEY, body text", f"SELECT 1, {body.format(1)}", f"SELECT 1, {body.format(2)}")
    assert kinds(await compared(ward, patient)) == {"changed": [("1",)]}


async def test_what_was_touched_since_is_told_apart(ward: Ward, patient: Patient) -> None:
    rows = "SELECT n, {}, timestamp '2026-01-15 09:00' + n * interval '30 min' FROM generate_series(1, 4) AS n"
    await tables(patient, "id int PRIMARY KEY, n int, updated_at timestamp", rows.format("n"), rows.format("0"))
    assert kinds(await compared(ward, patient)) == {"changed": [("1",), ("2",)], "touched": [("3",), ("4",)]}
    with pytest.raises(Incomparable, match="has no column seen_at that holds a time"):
        await compared(ward, patient, touched="seen_at")


async def test_rows_without_a_key_are_counted_by_their_content(ward: Ward, patient: Patient) -> None:
    await tables(patient, "a int, b text", "VALUES (1, 'x'), (1, 'x'), (2, 'y')", "VALUES (1, 'x'), (3, NULL), (3, NULL)")
    found = kinds(await compared(ward, patient))
    assert {kind: len(keys) for kind, keys in found.items()} == {"missing": 2, "extra": 2}


async def test_a_row_whose_key_was_lost_is_not_passed_over(ward: Ward, patient: Patient) -> None:
    await tables(patient, "id int, n int", "VALUES (1, 1), (NULL, 2)", "VALUES (1, 1)")
    await patient.run("ALTER TABLE past.t ADD PRIMARY KEY (id)")
    with pytest.raises(Incomparable, match=r"^1 rows of present\.t in the database that serves have no key"):
        await compared(ward, patient)


async def test_a_partitioned_table_is_compared_with_its_partitions(ward: Ward, patient: Patient) -> None:
    await tables(patient, "id int PRIMARY KEY, n int", "", "SELECT n, n FROM generate_series(1, 9) AS n")
    await patient.run(
        "DROP TABLE present.t; CREATE TABLE present.t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);"
        " CREATE TABLE present.low PARTITION OF present.t FOR VALUES FROM (1) TO (5);"
        " CREATE TABLE present.high PARTITION OF present.t DEFAULT;"
        " INSERT INTO present.t SELECT n, n FROM generate_series(1, 8) AS n"
    )
    assert kinds(await compared(ward, patient)) == {"missing": [("9",)]}


@pytest.mark.parametrize(
    ("now", "then", "says"),
    [
        ("id int PRIMARY KEY, n int", "id int PRIMARY KEY", "Column n of present.t is only in the database that serves"),
        (
            "id int PRIMARY KEY",
            "id int8 PRIMARY KEY",
            "Column id of present.t is integer in the database that serves, and bigint",
        ),
        ("id float8 PRIMARY KEY", "id float8 PRIMARY KEY", "keys of type double precision aren't compared"),
    ],
)
async def test_tables_of_another_shape_are_refused(ward: Ward, patient: Patient, now: str, then: str, says: str) -> None:
    await tables(patient, now)
    await patient.run(f"DROP TABLE past.t; CREATE TABLE past.t ({then})")
    with pytest.raises(Incomparable, match=says):
        await compared(ward, patient)


async def test_nobody_alters_the_table_during_a_comparison(ward: Ward, patient: Patient) -> None:
    await tables(patient, "id int PRIMARY KEY, n int", "VALUES (1, 1)", "VALUES (1, 1), (2, 2)")
    connections = ward.world.database(ward.ref(patient))
    sides = Side(connections=connections, table="present.t"), Side(connections=connections, table="past.t")
    async with Comparison(*sides) as comparison:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await patient.run("SET lock_timeout = '100ms'; ALTER TABLE present.t ADD COLUMN more int DEFAULT 7")
        await patient.run("INSERT INTO present.t VALUES (3, 3)")  # after the snapshot
        found = [one async for batch in comparison.differences() for one in batch]
    assert kinds(found) == {"missing": [("2",)]}


async def test_many_rows_are_read_in_pieces(ward: Ward, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "FETCHED", 7)
    dice = random.Random(4)
    lost, wrong = set(dice.sample(range(1, 3001), 300)), set(dice.sample(range(1, 3001), 200))
    rows = "SELECT n, n {} FROM generate_series(1, 3000) AS n {}"
    change = f"+ CASE WHEN n = ANY('{{{','.join(map(str, wrong))}}}') THEN 1 ELSE 0 END"
    without = f"WHERE NOT n = ANY('{{{','.join(map(str, lost))}}}')"
    await tables(patient, "id int PRIMARY KEY, n int", rows.format(change, without), rows.format("", ""))
    found = kinds(await compared(ward, patient))
    assert found == {
        "missing": [(str(n),) for n in sorted(lost)],
        "changed": [(str(n),) for n in sorted(wrong - lost)],
    }
