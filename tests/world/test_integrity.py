"""The integrity suite against restored copies: whole ones pass, each kind of damage is found and its object is named."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actions.db import integrity_ask
from actions.db.check_result import CheckResult
from actions.db.integrity import IntegrityHolds, integrity, judge
from actions.site import DatabaseRef
from actions.values import Result
from rehearsal.postgres.pair import ServerPair
from tests.world.rds_account import WEST
from tests.world.restored_copies import Copies, restored_copies
from tests.world.sql import query

DOCUMENT = Path(__file__).parents[2] / "docs/database-role.md"
FOREIGN_KEYS = {f"public.{table} ({table}_organization_id_organizations_id_fk)" for table in ("agents", "records", "users")}


@pytest.fixture(scope="module")
async def copies(servers: ServerPair) -> AsyncIterator[Copies]:
    """One account for all of these tests."""
    async with restored_copies(servers) as copies:
        yield copies


@pytest.fixture(scope="module")
async def early(copies: Copies) -> DatabaseRef:
    """A copy that can be read, and whose recovery ends some seconds later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rehearsal.aws.rds.restores.RECOVERING_SECONDS", (12_000.0, 12_000.0))
        return await copies.restore("shielda-copy")


@pytest.fixture(scope="module")
async def copy(copies: Copies, early: DatabaseRef) -> DatabaseRef:
    """The same copy after its recovery; a test takes away what it puts in."""
    await copies.account.recovered(await copies.account.described(early.instance))
    return early


def of(results: list[CheckResult], verdict: str) -> dict[str, str]:
    return {one.object: one.says for one in results if one.verdict == verdict}


async def test_a_copy_still_in_recovery_fails_and_says_so(copies: Copies, early: DatabaseRef) -> None:
    dsn = copies.account.dsn(await copies.account.described(early.instance))
    assert await query(dsn, "SELECT pg_is_in_recovery()") == [(True,)]
    results = await integrity(copies.world, early)
    assert of(results, "failed") == {str(early): "the server is still in recovery, so what it holds isn't final."}


async def test_a_clean_copy_passes_every_check_and_none_is_skipped(copies: Copies, copy: DatabaseRef) -> None:
    said: list[str] = []
    results = await integrity(copies.world.followed(said.append), copy)
    assert [one for one in results if one.verdict != "ok"] == []
    kinds = {"recovered", "table", "foreign key", "unique index", "not null", "check constraint", "sequence"}
    assert {one.name for one in results} == kinds | {"index validity", "table pages", "index"}
    assert {one.object for one in results if one.name == "foreign key"} == FOREIGN_KEYS
    assert next(one.rows for one in results if one.object == "public.records") == 4000
    assert len(said) == len(results) - 2
    assert re.fullmatch(r"Integrity check 1 of \d+, 0 rows read so far; now table drizzle.__drizzle_migrations", said[0])
    outcome = await IntegrityHolds(database=copy).look(copies.world)
    assert outcome.result == Result.DONE
    rows = sum(one.rows for one in results)
    assert outcome.says.startswith("No damage was found in shielda-copy.")
    assert f"{rows} rows were read in full. Nothing was skipped." in outcome.says


@pytest.mark.parametrize(
    ("kind", "objects"),
    [("heap-page", {"public.records"}), ("index-entry", {"public.users_email_unique"}), ("orphans", FOREIGN_KEYS)],
)
async def test_planted_damage_is_found_and_named(copies: Copies, kind: str, objects: set[str]) -> None:
    damaged = await copies.restore(f"shielda-{kind}", kind)
    await copies.account.recovered(await copies.account.described(damaged.instance))
    results = await integrity(copies.world, damaged)
    assert set(of(results, "failed")) == objects
    outcome = judge(results, damaged)
    assert outcome.result == Result.FAILED
    assert all(name in outcome.says for name in objects)


WHOLE = """
CREATE SCHEMA odd; GRANT USAGE ON SCHEMA odd TO dr_bot; SET search_path = odd, public;
CREATE TABLE one_row (at int); CREATE UNIQUE INDEX ON one_row ((true)); INSERT INTO one_row VALUES (1);
CREATE TABLE "we're 100% {odd}" ("Id" bigserial PRIMARY KEY, "dr_row" text, small int, UNIQUE (dr_row, small));
INSERT INTO "we're 100% {odd}" ("dr_row", small) VALUES ('a', NULL), ('a', NULL), (NULL, 1), (NULL, 1);
CREATE TABLE parent (a bigint, b text COLLATE "C", PRIMARY KEY (a, b)); INSERT INTO parent VALUES (1, 'x');
CREATE TABLE child (a int, b text, FOREIGN KEY (a, b) REFERENCES parent);
INSERT INTO child VALUES (1, 'x'), (2, NULL), (NULL, 'y'), (NULL, NULL);
CREATE TABLE "full" (a int, b text, FOREIGN KEY (a, b) REFERENCES parent MATCH FULL);
INSERT INTO "full" VALUES (1, 'x'), (NULL, NULL);
CREATE TABLE live (email text, deleted bool); INSERT INTO live VALUES ('a', true), ('A', true), ('a', false), ('b', false);
CREATE UNIQUE INDEX ON live (lower(email)) WHERE NOT deleted;
CREATE TABLE checked (n int CHECK (n > 0), down int); INSERT INTO checked VALUES (NULL, 1), (5, -3);
CREATE SEQUENCE downwards INCREMENT -1 START -4 OWNED BY checked.down;
CREATE TABLE parts (id int PRIMARY KEY, parent int REFERENCES parts) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES (1, NULL), (11, 1), (2, 11);
CREATE TABLE pointer (part int REFERENCES parts); INSERT INTO pointer VALUES (11), (NULL);
CREATE TABLE long (body text); ALTER TABLE long ALTER body SET STORAGE EXTERNAL; INSERT INTO long VALUES (repeat('x', 20000));
CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE derived () INHERITS (base); INSERT INTO base VALUES (1);
INSERT INTO derived VALUES (1);
CREATE MATERIALIZED VIEW seen AS SELECT 1 AS n; CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE generated (n int, twice int GENERATED ALWAYS AS (n * 2) STORED); INSERT INTO generated VALUES (2);
CREATE FUNCTION public.two() RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION even(n int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN n % two() = 0; END';
CREATE TABLE evens (n int CHECK (odd.even(n))); INSERT INTO evens VALUES (4), (NULL);
CREATE TABLE document (body json, more jsonb, place point); INSERT INTO document VALUES ('{}', '{}', '(1,2)');
"""


async def test_unusual_tables_that_are_whole_raise_no_false_alarm(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(copy, WHOLE)
    results = await integrity(copies.world, copy)
    await copies.run(copy, "DROP SCHEMA odd CASCADE; DROP FUNCTION public.two()")
    assert [one for one in results if one.verdict != "ok"] == []
    assert {"odd.parts_2", "odd.long", "odd.seen", "odd.long (index of its long values)"} <= set(of(results, "ok"))


BROKEN = (
    "CREATE SCHEMA bad; CREATE TABLE bad.t (id serial, email text CONSTRAINT u UNIQUE, n int NOT NULL, m int CHECK (m > 0));"
    " CREATE TABLE bad.p (id int PRIMARY KEY, q int); INSERT INTO bad.p VALUES (1, 1);"
    " CREATE TABLE bad.f (a int, b int, CONSTRAINT fk FOREIGN KEY (a) REFERENCES bad.p, UNIQUE NULLS NOT DISTINCT (b));"
    " CREATE TABLE bad.old (m int); INSERT INTO bad.old VALUES (-1);"
    " ALTER TABLE bad.old ADD CONSTRAINT positive CHECK (m > 0) NOT VALID;"
    " CREATE INDEX left_over ON bad.p (q)",
    "INSERT INTO bad.t (email, n, m) VALUES ('a', 1, 1), ('b', 2, 2), ('c', 3, 3)",
    "UPDATE pg_attribute SET attnotnull = false WHERE attrelid = 'bad.t'::regclass AND attname = 'n'",
    "ALTER TABLE bad.t DISABLE TRIGGER ALL; UPDATE bad.t SET n = NULL WHERE n = 3",
    "UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'bad.t'::regclass AND attname = 'n'",
    "UPDATE pg_index SET indisready = false, indisunique = false WHERE indexrelid = 'bad.u'::regclass",
    "INSERT INTO bad.t (email, n, m) VALUES ('a', 4, 4)",
    "UPDATE pg_index SET indisready = true, indisunique = true WHERE indexrelid = 'bad.u'::regclass",
    "ALTER TABLE bad.t DROP CONSTRAINT t_m_check; UPDATE bad.t SET m = -1 WHERE n = 2",
    "ALTER TABLE bad.t ADD CONSTRAINT t_m_check CHECK (m > 0) NOT VALID",
    "UPDATE pg_constraint SET convalidated = true WHERE conname = 't_m_check'",
    "SELECT setval('bad.t_id_seq', 2)",
    "SET session_replication_role = replica; INSERT INTO bad.f (a) VALUES (7)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bad.left_over'::regclass",
)


async def test_rows_that_break_a_rule_behind_its_back_are_found(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(copy, *BROKEN)
    results = await integrity(copies.world, copy)
    await copies.run(copy, "DROP SCHEMA bad CASCADE")
    wrong = of(results, "failed")
    assert wrong["bad.t"] == "1 row without a value in n."
    assert wrong["bad.t (t_m_check)"] == "1 row of bad.t against it."
    assert wrong["bad.f (fk)"] == "1 row of bad.f with no match in bad.p."
    assert wrong["bad.t_id_seq"] == "its next value is taken or passed in bad.t.id."
    assert "REINDEX INDEX bad.left_over" in wrong["bad.left_over"]
    duplicates = [one for one in results if one.object == "bad.u" and one.verdict == "failed"]
    assert [one.name for one in duplicates] == ["unique index", "index"]
    assert duplicates[0].says == "1 key of bad.t more than once."
    assert set(wrong) == {"bad.t", "bad.t (t_m_check)", "bad.f (fk)", "bad.t_id_seq", "bad.left_over", "bad.u"}
    skipped = {"bad.old (positive)": "it is NOT VALID, so older rows may break it: 1 row of bad.old against it."}
    assert of(results, "skipped") == skipped


async def test_a_missing_right_is_a_failure_that_names_its_grant(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(
        copy,
        "REVOKE pg_read_all_data FROM dr_bot; CREATE SCHEMA private; CREATE TABLE private.t (id serial PRIMARY KEY)",
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM dr_bot; GRANT SELECT ON records, agents TO dr_bot",
        "ALTER TABLE records ENABLE ROW LEVEL SECURITY; GRANT SELECT ON ALL TABLES IN SCHEMA drizzle TO dr_bot",
    )
    given: set[str] = set()
    results = await integrity(copies.world, copy)
    assert "GRANT SELECT ON public.users TO dr_bot" in of(results, "failed")["public.users"]
    assert "ALTER ROLE dr_bot BYPASSRLS" in of(results, "failed")["public.records"]
    pages = [one for one in results if one.name == "table pages"]
    assert [one.says.split(" ON ")[0] for one in pages] == ["our role may not run amcheck. Run GRANT EXECUTE"]
    assert judge(results, copy).result == Result.FAILED
    for _ in range(3):  # a schema first, then what is in it
        wanted = {found for one in results for found in re.findall(r"Run ((?:GRANT|ALTER).*)\.$", one.says)}
        assert not wanted & given
        given |= wanted
        await copies.run(copy, *sorted(wanted))
        results = await integrity(copies.world, copy)
    await copies.run(copy, "DROP SCHEMA private CASCADE; ALTER TABLE records DISABLE ROW LEVEL SECURITY")
    await copies.run(copy, "ALTER ROLE dr_bot NOBYPASSRLS; GRANT pg_read_all_data TO dr_bot")
    assert [one for one in results if one.verdict != "ok"] == []


async def test_without_amcheck_the_rest_is_checked_and_the_skip_is_told(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(copy, "DROP EXTENSION amcheck")
    outcome = await IntegrityHolds(database=copy).look(copies.world)
    assert outcome.result == Result.DONE
    assert (
        "1 check was skipped. amcheck of all tables and indexes: amcheck is not installed. Run CREATE EXTENSION" in outcome.says
    )


async def test_the_statements_in_the_docs_give_all_the_rights_needed(copies: Copies, copy: DatabaseRef) -> None:
    statements = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]
    await copies.run(copy, "DROP EXTENSION IF EXISTS amcheck; REVOKE pg_read_all_data FROM dr_bot", statements)
    results = await integrity(copies.world, copy)
    assert [one for one in results if one.verdict != "ok"] == []
    assert {"table pages", "index"} <= {one.name for one in results}


def check_that(does: str) -> str:
    """A table `odd.a` whose check constraint does something when it is tested."""
    return (
        "DROP SCHEMA IF EXISTS odd CASCADE; CREATE SCHEMA odd; GRANT USAGE ON SCHEMA odd TO dr_bot;"
        f" CREATE FUNCTION odd.odd() RETURNS bool LANGUAGE sql AS 'SELECT true FROM {does}';"
        " CREATE TABLE odd.a (n int); INSERT INTO odd.a VALUES (1); ALTER TABLE odd.a ADD CHECK (odd.odd()) NOT VALID"
    )


async def test_a_check_that_breaks_the_connection_is_named_and_the_rest_goes_on(copies: Copies, copy: DatabaseRef) -> None:
    await copies.run(copy, check_that("pg_terminate_backend(pg_backend_pid())"))
    results = await integrity(copies.world, copy)
    says = {"odd.a (a_check)": "The database says: terminating connection due to administrator command."}
    assert of(results, "failed") == says
    assert "public.users_id_seq" in of(results, "ok")


async def test_checks_that_take_too_long_end_with_the_time(
    copies: Copies, copy: DatabaseRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions.db.integrity.LEAST", 3.0)
    await copies.run(copy, check_that("pg_sleep(60)"))
    began = time.monotonic()
    results = await integrity(copies.world, copy, timeout=1)
    assert 2.5 < time.monotonic() - began < 9
    assert of(results, "failed") == {"odd.a (a_check)": "There was no answer: the time of 3 s is over."}
    assert of(results, "skipped")["public.users_id_seq"] == "the time of 3 s is over."
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%odd%' AND state = 'active' AND pid <> pg_backend_pid()"
    assert await query(copies.behind(copy).dsn(), active) == [(0,)]


async def test_a_server_that_freezes_ends_the_suite_soon(
    copies: Copies, copy: DatabaseRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity_ask, "WATCH", 0.5)
    await copies.run(copy, check_that("pg_sleep(60)"))
    server, tasks = copies.behind(copy).server, set[asyncio.Task[Any]]()

    def freeze(said: str) -> None:
        if "check constraint odd.a" in said:
            tasks.add(asyncio.create_task(freeze_soon()))

    async def freeze_soon() -> None:
        await asyncio.sleep(0.3)
        await server.hang()

    try:
        began = time.monotonic()
        results = await integrity(copies.world.followed(freeze), copy)
        assert 1 < time.monotonic() - began < 15
        assert of(results, "failed") == {"odd.a (a_check)": "There was no answer: the database stopped answering."}
        assert of(results, "skipped")["public.users_id_seq"] == "the database stopped answering."
        again = await integrity(copies.world, copy)
        assert of(again, "failed").keys() == {str(copy)}
        assert judge(again, copy).result == Result.FAILED
    finally:
        await server.resume()


async def test_an_instance_that_is_not_there_is_a_failure(copies: Copies) -> None:
    nobody = DatabaseRef(name="primary", instance="shielda-nobody", region=WEST, dsn_env="DR_TEST_COPY")
    outcome = await IntegrityHolds(database=nobody).look(copies.world)
    assert outcome.result == Result.FAILED
    assert "RDS in us-west-2 gives no address for shielda-nobody: there is none." in outcome.says
    assert "No check passed." in outcome.says
