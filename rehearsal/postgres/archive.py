"""The WAL archive of a database: what a restore replays, and up to which moment one is possible."""

import asyncio
import shlex
from datetime import datetime
from pathlib import Path

from rehearsal.postgres.binaries import own
from rehearsal.postgres.server import Server
from rehearsal.postgres.template import superuser
from rehearsal.waiting import until


class Archive:
    """A folder outside of every server, with one compressed file for each WAL segment.

    Both servers of a pair archive into it (`archive_mode = always`): what the primary had not archived when it died, its
    standby has. An idle segment is almost nothing once compressed, so a long rehearsal doesn't fill the disk.
    """

    def __init__(self, folder: Path, account: str | None) -> None:
        self.folder = folder
        self.latest: datetime | None = None  # Up to here every commit is archived, and a later commit as well.
        self._stuck = folder / "stuck"
        folder.mkdir(parents=True, mode=0o700)
        own(folder, account)

    @property
    def settings(self) -> dict[str, str]:
        """What a server needs to archive here."""
        file, stuck = self._quoted("%f.gz"), self._quoted("stuck")
        # Beside and renamed: two servers may archive the same segment, and a restore may read at any moment.
        write = f'gzip -1 -n -c "%p" > {file}.$$ && mv {file}.$$ {file}'
        command = f"test ! -e {stuck} && {{ test -e {file} || {{ {write}; }}; }}"
        return {"archive_mode": "always", "archive_command": command, "archive_timeout": "60s"}

    @property
    def restore_command(self) -> str:
        """What a restored copy fetches segments with."""
        file = self._quoted("%f.gz")
        return f'test -e {file} && gzip -d -c {file} > "%p"'

    @property
    def stuck(self) -> bool:
        """Whether archiving fails at present, by a fault."""
        return self._stuck.exists()

    def stick(self) -> None:
        """Fault: nothing is archived any more; the servers keep their WAL and count their failures."""
        self._stuck.touch()

    def heal(self) -> None:
        """Archiving works again, and the servers catch up by themselves."""
        self._stuck.unlink(missing_ok=True)

    async def advance(self, server: Server, password: str, timeout: float = 15.0) -> datetime:
        """Ships what the server has committed by now; returns the moment up to which a restore is possible.

        A commit of our own follows that moment, as RDS's heartbeat does: replay stops *before* the first commit after the
        moment asked for, so there must be one, on an idle database too. It takes no connection slot from anybody.
        """
        async with asyncio.timeout(timeout):
            async with superuser(server.port, password, "postgres", slot=False) as connection:
                # Without SET this commit would wait for a standby, which may be missing at present.
                await connection.execute("SET synchronous_commit = local")
                moment = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
                await connection.execute("SELECT pg_logical_emit_message(true, 'rdsadmin', 'heartbeat')")
                # One byte before: if somebody else has just begun a new segment, it's the old one that holds our commit.
                segment = await (await connection.execute("SELECT pg_walfile_name(pg_switch_wal() - 1)")).fetchone()
            assert moment is not None
            assert segment is not None
            await until(
                (self.folder / f"{segment[0]}.gz").exists, timeout, f"the segment {segment[0]} in the archive", every=0.005
            )
        assert isinstance(moment[0], datetime)
        self.latest = max(moment[0], self.latest or moment[0])
        return moment[0]

    async def covers(self, moment: datetime, timeout: float = 30.0) -> None:
        """Returns once a restore to the moment is possible; TimeoutError after `timeout` seconds."""
        await until(lambda: self.latest is not None and self.latest >= moment, timeout, f"an archive up to {moment}")

    def _quoted(self, name: str) -> str:
        """The path of a file here for a shell in PostgreSQL's settings, where a percent sign is written twice."""
        return shlex.quote(str(self.folder).replace("%", "%%")) + f"/{name}"
