"""The rooms of drills: each world gets a folder of its own, which goes with it, and so does what a killed drill left."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rehearsal.postgres.binaries import stand_in


@contextlib.contextmanager
def drill_room(home: Path) -> Iterator[Path]:
    """A new folder below `home`, removed at the end together with the rooms of drills whose process is gone."""
    room = Path(tempfile.mkdtemp(prefix=f"drill-{os.getpid()}-", dir=home))
    try:
        yield room
    finally:
        for old in home.glob("drill-*-*"):
            if old == room or not _runs(old.name.split("-")[1]):
                _remove(old)


def _remove(room: Path) -> None:
    for folder in (room, stand_in(room / "postgres")):
        shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
