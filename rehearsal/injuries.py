"""Nine injuries of a database, each by a seed: damage that a disk, a bug or a person does behind PostgreSQL's back.

The checks of a scan find seven of them; deleted and changed rows break no rule and show only beside another database.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from rehearsal.postgres.template import DATABASE, superuser

PAGE = 8192
GARBAGE = b"\xde\xad\xbe\xef" * 256
ATTEMPTS = 20
EVICT = "SELECT count(pg_buffercache_evict(bufferid)) FROM pg_buffercache WHERE relfilenode = pg_relation_filenode(%s)"
CHILDREN = ("agents", "records", "users")  # each refers to organizations
SAID_ONCE = {"agents": "name", "organizations": "name", "users": "email"}  # a column with a unique index
PLANS = ("free", "team", "enterprise")


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A server and one of its databases: where they can be hurt."""

    port: int
    password: str
    data: Path
    database: str = DATABASE

    def session(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[tuple[Any, ...]]]:
        """A new session as the superuser."""
        return superuser(self.port, self.password, self.database)

    async def run(self, *statements: str) -> None:
        """Each in a session of its own: a backend keeps what it knows of an index or a column for as long as it lives."""
        for statement in statements:
            async with self.session() as connection:
                await connection.execute(statement.encode())

    async def value(self, query: str, *parameters: Any) -> Any:
        """The one value that a query gives."""
        async with self.session() as connection:
            row = await (await connection.execute(query.encode(), parameters)).fetchone()
        assert row is not None
        return row[0]


@dataclass(frozen=True, kw_only=True)
class Wound:
    """What was done: the table, the object that a scan must name, and the keys of the rows, if rows are wrong or lost."""

    injury: str
    table: str
    object: str
    keys: tuple[int, ...] = field(default=())


Inflict = Callable[[Patient, random.Random], Awaitable[Wound]]


@dataclass(frozen=True, kw_only=True)
class Injury:
    """One kind of damage. `breaks_a_rule` says whether the database alone shows it."""

    name: str
    title: str
    says: str
    inflict: Inflict
    breaks_a_rule: bool = True


class CannotHurt(Exception):
    """The injury could not be done; the message says why."""


async def _heap_page(patient: Patient, dice: random.Random) -> Wound:
    """Garbage over a quarter of a page that is not in the server's memory, as after a failing disk."""
    table = dice.choice(("records", "users"))
    blocks = await patient.value("SELECT pg_relation_size(%s::regclass) / %s", table, PAGE)
    block = dice.randrange(max(blocks - 1, 1))  # rows are added to the last one, and would bring it back from memory
    await spoil_page(patient, table, block)
    return Wound(injury="heap-page", table=f"public.{table}", object=f"public.{table}", keys=(block,))


async def spoil_page(patient: Patient, table: str, block: int) -> None:
    """Overwrite a quarter of a page of a table on disk. Raises `CannotHurt` if the server doesn't notice."""
    file = patient.data / await patient.value("SELECT pg_relation_filepath(%s)", table)
    for _ in range(ATTEMPTS):
        await _forget(patient, table)
        with file.open("r+b") as pages:
            pages.seek(block * PAGE + 2048)
            pages.write(GARBAGE)
        try:
            await patient.value(f"SELECT count(*) FROM {table} WHERE ctid >= '({block},0)' AND ctid < '({block + 1},0)'")
        except psycopg.errors.DataCorrupted:
            return
    raise CannotHurt(f"Page {block} of {table} is read again and again, so the server keeps it in memory.")


async def _forget(patient: Patient, table: str) -> None:
    """Have the server write the table's pages and drop them from its memory; no extension is left behind."""
    async with patient.session() as connection:
        await connection.execute("CHECKPOINT")
        try:
            await connection.execute("BEGIN; CREATE EXTENSION pg_buffercache")
            await connection.execute(EVICT, [table])
        except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedFile) as error:
            raise CannotHurt("A page can be damaged only on PostgreSQL 17 or newer, with pg_buffercache.") from error
        finally:
            await connection.execute("ROLLBACK")


async def _index_entry(patient: Patient, dice: random.Random) -> Wound:
    """A row that an index doesn't have: it was written anew while the index was not kept up to date."""
    index, table = dice.choice(
        (("users_email_unique", "users"), ("agents_name_unique", "agents"), ("users_of_organization", "users"))
    )
    key = await _key(patient, table, dice)
    await patient.run(
        f"UPDATE pg_index SET indisready = false WHERE indexrelid = '{index}'::regclass",
        f"WITH gone AS (DELETE FROM {table} WHERE id = {key} RETURNING *) INSERT INTO {table} SELECT * FROM gone",
        f"UPDATE pg_index SET indisready = true WHERE indexrelid = '{index}'::regclass",
    )
    return Wound(injury="index-entry", table=f"public.{table}", object=f"public.{index}", keys=(key,))


async def _duplicate(patient: Patient, dice: random.Random) -> Wound:
    """A value twice under a unique index."""
    table = dice.choice(("agents", "users"))
    column, key = SAID_ONCE[table], await _key(patient, table, dice)
    index = f"{table}_{column}_unique"
    await patient.run(
        f"UPDATE pg_index SET indisready = false, indisunique = false WHERE indexrelid = '{index}'::regclass",
        f"INSERT INTO {table} (organization_id, {column}) SELECT organization_id, {column} FROM {table} WHERE id = {key}",
        f"UPDATE pg_index SET indisready = true, indisunique = true WHERE indexrelid = '{index}'::regclass",
    )
    return Wound(injury="duplicates", table=f"public.{table}", object=f"public.{index}", keys=(key,))


async def _orphans(patient: Patient, dice: random.Random) -> Wound:
    """Rows that belong to an organization that doesn't exist."""
    table = dice.choice(CHILDREN)
    keys = await _keys(patient, table, dice)
    await patient.run(
        f"SET session_replication_role = replica; UPDATE {table} SET organization_id = {dice.randrange(10**6, 10**7)}"
        f" WHERE id IN {_list(keys)}"
    )
    constraint = f"public.{table} ({table}_organization_id_organizations_id_fk)"
    return Wound(injury="orphans", table=f"public.{table}", object=constraint, keys=keys)


async def _broken_check(patient: Patient, dice: random.Random) -> Wound:
    """Rows against a CHECK, behind a constraint that is NOT VALID or wrongly said to be valid."""
    table, name, change = dice.choice(
        (
            ("organizations", "organizations_plan_known", "plan = 'gold'"),
            ("users", "users_email_has_an_at", "email = 'nobody' || id"),
        )
    )
    keys = await _keys(patient, table, dice)
    where = f"conrelid = '{table}'::regclass AND conname = '{name}'"
    rule = await patient.value(f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE {where}")
    await patient.run(
        f"ALTER TABLE {table} DROP CONSTRAINT {name}; UPDATE {table} SET {change} WHERE id IN {_list(keys)};"
        f" ALTER TABLE {table} ADD CONSTRAINT {name} {rule} NOT VALID"
    )
    if dice.random() < 0.5:
        await patient.run(f"UPDATE pg_constraint SET convalidated = true WHERE {where}")
    return Wound(injury="broken-check", table=f"public.{table}", object=f"public.{table} ({name})", keys=keys)


async def _nulls(patient: Patient, dice: random.Random) -> Wound:
    """Rows without a value in a column that is NOT NULL."""
    table, column = dice.choice((("agents", "created_at"), ("records", "body"), ("users", "created_at")))
    keys = await _keys(patient, table, dice)
    rule = f"UPDATE pg_attribute SET attnotnull = {{}} WHERE attrelid = '{table}'::regclass AND attname = '{column}'"
    await patient.run(rule.format("false"), f"UPDATE {table} SET {column} = NULL WHERE id IN {_list(keys)}", rule.format("true"))
    return Wound(injury="nulls", table=f"public.{table}", object=f"public.{table}", keys=keys)


async def _sequence_behind(patient: Patient, dice: random.Random) -> Wound:
    """A sequence that gives numbers which are taken."""
    table = dice.choice(("agents", "users"))
    await patient.run(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}) - {dice.randrange(1, 50)})")
    return Wound(injury="sequence-behind", table=f"public.{table}", object=f"public.{table}_id_seq")


async def _deleted(patient: Patient, dice: random.Random) -> Wound:
    """Rows that are gone."""
    table = dice.choice(CHILDREN)
    keys = await _keys(patient, table, dice, most=40)
    await patient.run(f"DELETE FROM {table} WHERE id IN {_list(keys)}")
    return Wound(injury="deleted-rows", table=f"public.{table}", object=f"public.{table}", keys=keys)


async def _changed(patient: Patient, dice: random.Random) -> Wound:
    """Rows that hold other values, all of them allowed."""
    table, change = dice.choice(
        (
            ("records", "body = upper(body)"),
            ("organizations", f"plan = CASE plan WHEN '{PLANS[0]}' THEN '{PLANS[1]}' ELSE '{PLANS[0]}' END"),
        )
    )
    keys = await _keys(patient, table, dice, most=40)
    await patient.run(f"UPDATE {table} SET {change} WHERE id IN {_list(keys)}")
    return Wound(injury="changed-rows", table=f"public.{table}", object=f"public.{table}", keys=keys)


INJURIES = {
    injury.name: injury
    for injury in (
        Injury(name="heap-page", title="A page holds garbage", says="As after a failing disk.", inflict=_heap_page),
        Injury(name="index-entry", title="An index lacks a row", says="It isn't found by it.", inflict=_index_entry),
        Injury(name="duplicates", title="A unique value is there twice", says="Its index lacks one.", inflict=_duplicate),
        Injury(name="orphans", title="Rows belong to nobody", says="Their organization doesn't exist.", inflict=_orphans),
        Injury(name="broken-check", title="Rows break a CHECK", says="The constraint hides it.", inflict=_broken_check),
        Injury(name="nulls", title="Values are missing", says="The column is NOT NULL.", inflict=_nulls),
        Injury(name="sequence-behind", title="A sequence is behind", says="Its next number is taken.", inflict=_sequence_behind),
        Injury(name="deleted-rows", title="Rows are gone", says="No rule is broken.", inflict=_deleted, breaks_a_rule=False),
        Injury(name="changed-rows", title="Rows are wrong", says="No rule is broken.", inflict=_changed, breaks_a_rule=False),
    )
}  # fmt: skip


async def _key(patient: Patient, table: str, dice: random.Random) -> int:
    return (await _keys(patient, table, dice, most=1))[0]


async def _keys(patient: Patient, table: str, dice: random.Random, most: int = 5) -> tuple[int, ...]:
    """Some rows of the first day, in any order."""
    known = "id < 0" if table == "records" else "id BETWEEN 2 AND 40"
    keys = await patient.value(f"SELECT array_agg(id ORDER BY id) FROM {table} WHERE {known}")
    return tuple(dice.sample(keys, dice.randint(1, min(most, len(keys)))))


def _list(keys: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, keys))})"
