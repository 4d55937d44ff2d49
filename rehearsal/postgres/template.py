"""The template: a database as it is on the first day, built once per version and then copied within milliseconds."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from rehearsal.machines.processes import Processes
from rehearsal.migrations.project import schema
from rehearsal.postgres.binaries import Binaries, find, own, reachable
from rehearsal.postgres.server import Server

DATABASE = "shielda"
SUPERUSER = "postgres"
OWNER = "shielda"
BOT = "dr_bot"

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 16MB
fsync = off  # it has to survive a killed process, and no power cut
dynamic_shared_memory_type = mmap
max_connections = 30
superuser_reserved_connections = 3
wal_level = replica
max_wal_senders = 8
max_replication_slots = 8
wal_keep_size = 64MB
max_wal_size = 256MB
wal_log_hints = on
track_commit_timestamp = on
hot_standby = on
hot_standby_feedback = on
max_worker_processes = 4
autovacuum_max_workers = 1
jit = off
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
wal_sender_timeout = 5s
wal_receiver_timeout = 5s
lc_messages = 'C'
log_timezone = 'UTC'
timezone = 'UTC'
log_connections = on
log_line_prefix = '%m [%p] %u@%d/%a %e '
"""

PLAN = "(ARRAY['free', 'team', 'enterprise'])[1 + {} % 3]"
RECORDS = """
INSERT INTO records (id, body, organization_id)
  SELECT -n, 'An earlier record of some length, number ' || n, 1 + n % 40 FROM generate_series(1, 4000) AS n
"""
SEED = f"""
INSERT INTO organizations (id, name, plan)
  SELECT n, 'Organization ' || n, {PLAN.format("n")} FROM generate_series(1, 40) AS n;
INSERT INTO users (organization_id, email) SELECT 1 + n % 40, 'person' || n || '@example.com' FROM generate_series(1, 120) AS n;
INSERT INTO agents (organization_id, name) SELECT 1 + n % 40, 'agent-' || n FROM generate_series(1, 80) AS n;
{RECORDS};
"""

# amcheck looks into the structure of tables and indexes; the bot may run it and change nothing with it.
AMCHECK = f"""
CREATE EXTENSION IF NOT EXISTS amcheck;
DO $$
DECLARE one regprocedure;
BEGIN
  FOR one IN SELECT objid::regprocedure FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND classid = 'pg_proc'::regclass AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'amcheck')
  LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {BOT}', one); END LOOP;
END $$;
"""

# Nobody needs template0, and every copy of the template has 300 files less without it.
DROP_TEMPLATE0 = (
    "UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'",
    "DROP DATABASE template0",
)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A stopped database to copy: its folder, the programs that made it, and the superuser's password."""

    folder: Path
    binaries: Binaries
    password: str

    async def copy(self, target: Path) -> None:
        """A cold copy of the whole folder, a spare one if there is one; whatever was at `target` is gone."""
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        for spare in self._spares():
            with contextlib.suppress(OSError):  # Another start was faster, or the target is in another file system.
                return os.rename(spare, target)
        return await copy_data(self.folder / "data", target)

    async def make_spares(self, processes: Processes) -> None:
        """Make the copies of the next start in advance, for they are many files. Does nothing if another rehearsal does."""
        with self.folder.joinpath("lock").open("a") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for spare in self._spares():
                if not spare.exists():
                    await self._make(spare, processes)

    async def _make(self, spare: Path, processes: Processes) -> None:
        fresh = self.folder / "unfinished"
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        await processes.run("spare copy", ["nice", "cp", "-Rp", self.folder / "data", fresh])
        fresh.rename(spare)

    def _spares(self) -> list[Path]:
        return [self.folder / "spare-1", self.folder / "spare-2"]


async def copy_data(source: Path, target: Path) -> None:
    """A copy of a data folder that nobody writes to; whatever was at `target` is gone."""
    await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
    process = await asyncio.create_subprocess_exec("cp", "-Rp", str(source), str(target))
    if code := await process.wait():
        raise OSError(f"Copying {source} to {target} failed with exit code {code}.")


def settings(binaries: Binaries) -> str:
    """The server settings that every copy has; each adds its own in node.conf."""
    newer = "reserved_connections = 3\nscram_iterations = 1\n" if binaries.major >= 16 else ""
    return f"{SETTINGS}{newer}include_if_exists = 'node.conf'\n"


def roles(binaries: Binaries) -> str:
    """The roles of the application and of the bot; a rehearsal sets their passwords when it starts."""
    reserved = ", pg_use_reserved_connections" if binaries.major >= 16 else ""
    # Before 16 no slot can be reserved for the bot, so a limit for the application has the same effect.
    limit = "" if binaries.major >= 16 else " CONNECTION LIMIT 24"
    # A repair acts as the tables' owner, by SET ROLE; without that the bot's role may do no more than before.
    owner = f"GRANT {OWNER} TO {BOT} WITH INHERIT FALSE;" if binaries.major >= 16 else ""
    return f"""
CREATE ROLE {OWNER} LOGIN{limit};
CREATE ROLE {BOT} LOGIN CREATEDB;
GRANT pg_monitor, pg_signal_backend, pg_read_all_data{reserved} TO {BOT};
{owner}
ALTER ROLE {BOT} SET log_statement = 'all';
"""


async def prepare(processes: Processes, cache: Path) -> Template:
    """The template for the PostgreSQL of this machine. The first time it's built below `cache`, in about 2 s."""
    binaries = await asyncio.to_thread(find, cache)
    content = settings(binaries) + roles(binaries) + schema() + SEED + AMCHECK + "".join(DROP_TEMPLATE0) + str(binaries.folder)
    key = f"template-{binaries.version}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    folder = reachable(cache, binaries.account) / key
    if not folder.exists():
        await _build(processes, binaries, folder)
    password = folder.joinpath("password").read_text()
    return Template(folder=folder, binaries=binaries, password=password)


async def _build(processes: Processes, binaries: Binaries, folder: Path) -> None:
    """Build it elsewhere and rename it, so that two starts at once, or one that's killed, leave no half-built template."""
    fresh, password = _fresh(folder, binaries)
    try:
        await _initialise(processes, binaries, fresh)
        await _fill(processes, binaries, fresh, password)
        with contextlib.suppress(OSError):  # Another start was faster; its template is as good.
            os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fresh(folder: Path, binaries: Binaries) -> tuple[Path, str]:
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    fresh.chmod(0o755)
    password = secrets.token_urlsafe(16)
    file = fresh / "password"
    file.write_text(password)
    own(file, binaries.account)
    file.chmod(0o600)
    return fresh, password


async def _initialise(processes: Processes, binaries: Binaries, fresh: Path) -> None:
    data = fresh / "data"
    data.mkdir(mode=0o700)
    own(data, binaries.account)
    locale = ["--locale=C.UTF-8"] if binaries.major < 17 else ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    argv: list[str | Path] = [binaries.program("initdb"), "-D", data, "-U", SUPERUSER, f"--pwfile={fresh / 'password'}", "-k"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--wal-segsize=1", "--no-sync", *locale]
    log = fresh / "initdb.log"
    await processes.run(f"initdb {fresh.name}", argv, user=binaries.account, stdout=log)
    with data.joinpath("postgresql.conf").open("a") as conf:
        conf.write(settings(binaries))


async def _fill(processes: Processes, binaries: Binaries, fresh: Path, password: str) -> None:
    server = Server(processes, f"template {fresh.name}", fresh / "data", fresh / "server.log", binaries)
    server.configure(wal_keep_size="0", wal_recycle="off")  # so that no copy has more WAL than it needs
    await server.start()
    async with superuser(server.port, password, "postgres") as connection:
        await connection.execute(roles(binaries))
        await connection.execute(cheap_password(SUPERUSER, password))
        await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        for statement in DROP_TEMPLATE0:
            await connection.execute(statement)
    async with superuser(server.port, password, "template1") as connection:
        await connection.execute(AMCHECK)  # new databases have it, too
    async with superuser(server.port, password) as connection:
        await connection.execute(AMCHECK)
        await connection.execute(f"SET ROLE {OWNER}; {schema()} {SEED}; ANALYZE")
    await server.stop()


def cheap_password(role: str, password: str) -> sql.Composed:
    """The statement that sets a random password. It needs no stretching, for which every connection would pay 5 ms."""
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))


@contextlib.asynccontextmanager
async def superuser(
    port: int, password: str, database: str = DATABASE, *, slot: bool = True
) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A short connection of the rehearsal itself, directly to a server and not through the endpoint.

    Without a `slot` it is one of PostgreSQL's WAL senders, which don't count as connections; it takes no parameters.
    """
    connection = await psycopg.AsyncConnection.connect(
        host="127.0.0.1", port=port, user=SUPERUSER, password=password, dbname=database,
        autocommit=True, connect_timeout=5, application_name="rehearsal", replication="false" if slot else "database",
    )  # fmt: skip
    async with connection:
        yield connection
