"""Options of the test program, and the folders that all rings share."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rehearsal.machines.launch import launch_by
from rehearsal.machines.preloaded import Preloaded

MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30  # bytes
settings.register_profile("same", max_examples=50, derandomize=True, deadline=None)  # the same examples on the same code
settings.register_profile("new", max_examples=500, deadline=None)  # `make explore`: examples that nobody has tried yet
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of what takes long is done."""
    parser.addoption("--every-seed", action="store_true", help="run every drill by its program, and on a second seed")
    parser.addoption("--every-point", action="store_true", help="kill the bot at every record and effect (takes long)")
    parser.addoption("--drill", action="append", default=[], metavar="NAME", help="only this drill or decision (repeatable)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a module's tests stay together, in one of them, unless the module is marked `spread`.

    Of one that is, only the tests of the same parameters stay together.
    """
    for item in items:
        spread = item.get_closest_marker("spread") is not None
        parameters = item.name.partition("[")[2] if spread else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.nodeid.partition('::')[0]} {parameters or item.name if spread else ''}"))


SetVariable = Callable[[str, str], None]


@pytest.fixture
def set_variable(monkeypatch: pytest.MonkeyPatch) -> SetVariable:
    """Sets an environment variable for as long as the test lasts."""
    return monkeypatch.setenv


@pytest.fixture(scope="session")
def work_dirs() -> Iterator[Path]:
    """A folder for everything that the tests of this session start: in memory if there is room, for a database is many files."""
    path = Path(tempfile.mkdtemp(prefix="dr-tests-", dir=MEMORY if _suits(MEMORY) else None))
    path.chmod(0o755)  # the account of the database servers needs access
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _suits(path: Path) -> bool:
    """Whether there is room, and programs may be run from it."""
    return path.is_dir() and shutil.disk_usage(path).free > ROOM and not os.statvfs(path).f_flag & os.ST_NOEXEC


@pytest.fixture(scope="session")
def cache(work_dirs: Path) -> Path:
    """The template of the databases, built once per session."""
    return work_dirs / "cache"


@pytest.fixture(scope="session", autouse=True)
async def preloaded() -> AsyncIterator[None]:
    """The rehearsal's Python programs are forked from one that has imported what they need."""
    async with Preloaded(at_once=True, seconds=60) as preloaded:
        launch_by(preloaded.launch)
        yield
        launch_by(asyncio.create_subprocess_exec)
