"""`/dr corruption scan`: whether a database that serves is damaged, what that means, and which command helps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from actions.db.check_result import CheckResult, CheckVerdict
from actions.db.indexes import LEFT_OVER
from actions.db.integrity import PLURALS
from actions.db.integrity_amcheck import CATALOGS
from actions.db.scan import NoSuchTable, Scan, scan
from actions.db.scan_against import Compared, compare
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.values import count
from actions.world import World
from commands.memory import Memory
from commands.report import MEANING, SOURCE, Line, Mark, line, moment, report
from commands.scenario import BadCommand, suggest
from commands.shared import chosen_database

MINUTES = 10
NAMED = 12
ROWS = ("table", "table pages", "foreign key", "not null", "check constraint", "unique index")  # mended by rows from a restore
BLIND = (
    "Rows that were deleted or changed and break no rule can't be seen this way: they need something to compare with, "
    "`/dr corruption scan against=INSTANCE` with a restored copy, if there is one"
)


@report("corruption scan")
async def corruption_scan(
    world: World, _memory: Memory, *, tables: str = "", database: str = "", minutes: int = MINUTES, against: str = ""
) -> list[Line]:
    """Look for damaged pages, indexes, rows and sequences in the database that serves; changes nothing and takes some minutes."""
    meant = chosen_database(world, database)
    if not minutes:
        raise BadCommand("minutes=0 leaves no time to look; a whole number from 1 on is expected.")
    names = [name for name in tables.replace(",", " ").split() if name]
    ends = time.monotonic() + 60.0 * minutes
    try:
        found = await scan(world, meant, names, seconds=60.0 * minutes)
    except NoSuchTable as error:
        raise BadCommand(f"{error} Nothing was done.") from error
    except Unreachable as error:
        says = f"{meant.instance} can't be scanned. {suggest('database failover', 'Find out why it does not answer')}."
        return [line(Mark.STOP, SOURCE, str(meant), says, str(error))]
    copy = DatabaseRef(name=meant.name, instance=against, region=meant.region, dsn_env=meant.dsn_env)
    read = [one.object for one in found.results if one.name == "table" and one.verdict is CheckVerdict.OK]
    others = await compare(world, meant, copy, read, seconds=ends - time.monotonic()) if against else []
    return list(lines(meant, found, copy, others))


def lines(database: DatabaseRef, found: Scan, copy: DatabaseRef, others: Sequence[Compared] = ()) -> Iterator[Line]:
    """A line for each damage and each reason not to look, one for each kind of check that passed, and what it means."""
    damaged = [one for one in found.results if one.damage]
    for one in damaged:
        level = Mark.WARN if one.verdict is CheckVerdict.SKIPPED or one.name == "index validity" else Mark.STOP
        yield line(level, one.name, one.object, _sentence(one.says))
    yield from _checksums(database, found)
    yield from _not_made(found.results)
    yield from _passed(found.results)
    yield from _coverage(database, found)
    yield from _vacuum(database, found)
    yield from _beside(copy, others)
    yield from _meaning(database, found, others)


def _checksums(database: DatabaseRef, found: Scan) -> Iterator[Line]:
    check, where = "checksums", str(database)
    if found.checksums is None:
        yield line(Mark.UNKNOWN, check, where, "The database did not say whether pages failed their checksums.")
    elif not found.checksums.used:
        yield line(
            Mark.UNKNOWN, check, where, "The server keeps no checksums of its pages, so damage by a disk may go unnoticed."
        )
    elif found.checksums.failures:
        newest = f", last at {moment(found.checksums.newest)}" if found.checksums.newest else ""
        says = f"{count(found.checksums.failures, 'page')} failed the checksum when read{newest}."
        yield line(Mark.STOP, check, where, says, "pg_stat_database, since its statistics were reset.")
    else:
        yield line(Mark.OK, check, where, "No page failed its checksum.", "pg_stat_database, since its statistics were reset.")


def _not_made(results: Sequence[CheckResult]) -> Iterator[Line]:
    """The checks that could not be made, by their reasons. They are not ok."""
    reasons: dict[tuple[str, str], list[CheckResult]] = {}
    for one in results:
        if one.verdict is not CheckVerdict.OK and not one.damage:
            reasons.setdefault((one.name, one.says), []).append(one)
    for (name, says), those in reasons.items():
        yield line(Mark.UNKNOWN, name, _names([one.object for one in those]), f"Not checked: {says}")


def _passed(results: Sequence[CheckResult]) -> Iterator[Line]:
    good = [one for one in results if one.verdict is CheckVerdict.OK]
    for name in dict.fromkeys(one.name for one in good):
        those = [one for one in good if one.name == name]
        rows = f", {count(sum(one.rows for one in those), 'row')} in full" if name == "table" else ""
        whole = f"{count(len(those), name, PLURALS.get(name, f'{name}s'))} checked{rows}: no damage."
        yield line(Mark.OK, name, _names([one.object for one in those]), whole)


def _coverage(database: DatabaseRef, found: Scan) -> Iterator[Line]:
    if found.sizes is None:
        return
    read = {one.object for one in found.results if one.name == "table" and one.verdict is CheckVerdict.OK}
    size, whole = sum(found.sizes[name] for name in read & found.sizes.keys()), sum(found.sizes.values())
    share = f", {100 * size / whole:.0f} % of about {whole / 2**20:.1f} MiB" if whole else ""
    says = f"{len(read)} of {count(len(found.sizes), 'table')} could be read in full{share}."
    yield line(Mark.OK if len(read) >= len(found.sizes) else Mark.UNKNOWN, "coverage", str(database), says)


def _vacuum(database: DatabaseRef, found: Scan) -> Iterator[Line]:
    """The runbook's query: it shows what vacuum has left to do, and no corruption."""
    if found.dead_rows is None:
        return
    most = ", ".join(f"{name} {dead}" for name, dead in list(found.dead_rows.items())[:NAMED])
    says = f"Tables with more than 10,000 dead rows: {most or 'none'}. That is work for vacuum, not damage."
    yield line(Mark.OK, "vacuum state", str(database), says, "pg_stat_user_tables.")


def _beside(copy: DatabaseRef, others: Sequence[Compared]) -> Iterator[Line]:
    """What is different beside a copy. Rows that changed since the copy's moment are among it, also those that are right."""
    check, evidence = "rows", f"Each row compared with {copy.instance}."
    for one in others:
        if one.error:
            yield line(Mark.UNKNOWN, check, one.table, f"Not compared with {copy.instance}: {one.error}.")
        elif suspect := {kind: one.counts[kind] for kind in ("missing", "changed", "twice") if one.counts.get(kind)}:
            told = ", ".join(f"{number} {kind} (such as key {'; '.join(one.some[kind])})" for kind, number in suspect.items())
            newer = f" {one.counts['extra']} are only here." if one.counts.get("extra") else ""
            yield line(Mark.WARN, check, one.table, f"Rows that differ from {copy.instance}: {told}.{newer}", evidence)
    if same := [one.table for one in others if not one.error and not one.counts.keys() & {"missing", "changed", "twice"}]:
        says = f"No row of {copy.instance} is missing or different in {count(len(same), 'table')}."
        yield line(Mark.OK, check, _names(same), says, evidence)


def _meaning(database: DatabaseRef, found: Scan, others: Sequence[Compared]) -> Iterator[Line]:
    damaged = [one for one in found.results if one.damage]
    unmade = [one for one in found.results if one.verdict is not CheckVerdict.OK and not one.damage]
    advice = list(_advice(found, damaged))
    for one in others:
        if one.counts.keys() & {"missing", "changed"}:
            help_ = suggest(f"corruption repair table={one.table} time=TIME", "put them back by hand")
            advice.append(f"If the rows of {one.table} that differ were not changed on purpose, {help_}.")
    if advice:
        for says in advice:
            yield line(Mark.STOP, MEANING, database.instance, says)
    elif unmade:
        says = f"Nothing that was looked at is damaged, but {count(len(unmade), 'check')} could not be made."
        yield line(Mark.UNKNOWN, MEANING, database.instance, says)
    else:
        blind = "" if others else f" {BLIND}."
        yield line(Mark.OK, MEANING, database.instance, f"No damage was found, and nothing needs to be done.{blind}")


def _advice(found: Scan, damaged: Sequence[CheckResult]) -> Iterator[str]:
    """What helps against what was found, a sentence each; the widest damage first."""
    tables = list(dict.fromkeys(one.table for one in damaged if one.name in ROWS and one.table))
    whole = any(one.object == CATALOGS for one in damaged) or (len(tables) > 2 and len(tables) * 2 > len(found.sizes or ()))
    failures = found.checksums is not None and found.checksums.failures > 0
    if whole:
        by_hand = "restore the whole database to a moment before the damage"
        yield f"So much is damaged that single tables won't do: {suggest('database restore time=TIME', by_hand)}."
    else:
        for table in tables:
            by_hand = "restore a copy to a moment before the damage, compare the table with it, and put the lost rows back"
            help_ = suggest(f"corruption repair table={table} time=TIME", by_hand)
            yield f"Rows of {table} are lost or wrong. Stop its writers, then {help_}, with a time before the damage."
    duplicates = {one.object for one in damaged if one.name == "unique index"}
    for one in damaged:
        if one.name == "unique index":
            yield f"{one.object} has duplicates: a person must decide which rows stay. REINDEX alone would fail."
        elif one.name == "index" and one.object not in duplicates and one.object != CATALOGS:
            by_hand = f"run `REINDEX INDEX CONCURRENTLY {one.object}`"
            rebuild = suggest(f"corruption reindex index={one.object}", by_hand)
            yield f"{one.object} does not fit its table: {rebuild}. No row is lost."
        elif one.name == "index validity":
            by_hand = f"run `REINDEX INDEX CONCURRENTLY {one.object}`"
            base = LEFT_OVER.sub("", one.object)
            rebuilt = suggest(f"corruption reindex index={base}", by_hand)
            yield f"{one.object} is not used: {rebuilt}{', which drops it' if base != one.object else ', or drop it'}."
        elif one.name == "sequence":
            yield f"{one.object} is behind, so inserts into {one.table} will fail. Set it beyond the greatest value with setval."
    if failures and not damaged:
        yield "A page failed its checksum and no table shows it now. Look at the server's log, and have the storage checked."


def _sentence(says: str) -> str:
    return f"{says[:1].upper()}{says[1:]}"


def _names(objects: Sequence[str]) -> str:
    more = f" and {len(objects) - NAMED} more" if len(objects) > NAMED else ""
    return f"{', '.join(objects[:NAMED])}{more}"
