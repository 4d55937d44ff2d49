"""The work folders of drills: each drill has its own, which is removed at the end, as is what a killed drill left."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rehearsal.postgres.binaries import substitute


@contextlib.contextmanager
def drill_work_dir(home: Path) -> Iterator[Path]:
    """A new folder below `home`. At the end it's removed, together with the folders of drills whose process is gone."""
    own = Path(tempfile.mkdtemp(prefix=f"drill-{os.getpid()}-", dir=home))
    try:
        yield own
    finally:
        for old in home.glob("drill-*-*"):
            if old == own or not _is_running(old.name.split("-")[1]):
                _remove(old)


def _remove(work_dir: Path) -> None:
    for folder in (work_dir, substitute(work_dir / "postgres")):
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
