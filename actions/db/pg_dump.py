"""The definition of one table, as pg_dump writes it: what comes before its rows, and what comes after them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from typing import Self

from psycopg import conninfo

from actions.errors import Refused
from actions.scrub import scrub

SECONDS = 60.0  # only definitions are read
COMPLETE = "PostgreSQL database dump complete"
LEFT_OUT = ("--no-publications", "--no-subscriptions", "--no-security-labels")  # these are not the table owner's to make
# What psql alone understands, and settings that would wait without end or that older servers don't know.
OF_PSQL = re.compile(r"\\(un)?restrict |SET \w+_timeout = 0;")


@dataclass(frozen=True, kw_only=True)
class PgDump:
    """The two scripts: `before` makes the table, its sequences and grants, `after` its indexes, constraints and triggers."""

    before: str
    after: str

    @classmethod
    async def of(cls, dsn: str, table: str) -> Self:
        """Those of this table. Raises `Refused` if pg_dump isn't there, is too old for the server, or fails."""
        before, after = await asyncio.gather(*(_section(dsn, table, name) for name in ("pre-data", "post-data")))
        return cls(before=before, after=after)


async def _section(dsn: str, table: str, section: str) -> str:
    program = shutil.which("pg_dump")
    if program is None:
        raise Refused("pg_dump isn't on this machine. Install PostgreSQL's client programs of the server's version or newer.")
    parts = conninfo.conninfo_to_dict(dsn)
    password = str(parts.pop("password", "") or "")  # not in the list of processes
    argv = (program, f"--section={section}", f"--table={table}", f"--dbname={conninfo.make_conninfo('', **parts)}")
    env = {**{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}, "PGPASSWORD": password}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, *LEFT_OUT, "--no-password", env=env, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(SECONDS):
            out, error = await process.communicate()
    except TimeoutError as late:
        raise Refused(f"Nothing was changed: pg_dump had not ended after {SECONDS:g} s.") from late
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    script = out.decode()
    if process.returncode or COMPLETE not in script:
        said = scrub(error.decode(errors="replace")).strip().splitlines()
        raise Refused(f"Nothing was changed: pg_dump failed: {said[-1] if said else f'exit code {process.returncode}'}")
    return "".join(line for line in script.splitlines(keepends=True) if not OF_PSQL.match(line))
