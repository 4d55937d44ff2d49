"""Copies of the databases' template that one start makes for the next."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.machines.processes import Processes
from rehearsal.postgres.binaries import Binaries
from rehearsal.postgres.template import Template


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with Processes(tmp_path / "processes.json") as processes:
        yield processes


@pytest.fixture
def template(tmp_path: Path) -> Template:
    """A small one."""
    folder = tmp_path / "template"
    folder.joinpath("data", "base").mkdir(parents=True)
    folder.joinpath("data", "base", "1").write_text("a table")
    return Template(folder=folder, binaries=Binaries(folder=folder, version="18.6", source="", account=None), password="")


def spares(template: Template) -> list[str]:
    return sorted(path.name for path in template.folder.glob("spare-*"))


async def test_a_copy_is_a_spare_one_as_long_as_there_are_some(template: Template, processes: Processes, tmp_path: Path) -> None:
    await template.make_spares(processes)
    for number, left in enumerate((["spare-2"], [], [])):
        target = tmp_path / f"copy-{number}"
        target.mkdir()
        target.joinpath("old").touch()
        await template.copy(target)
        assert spares(template) == left
        assert [str(path.relative_to(target)) for path in target.rglob("*")] == ["base", "base/1"]
    assert template.folder.joinpath("data", "base", "1").read_text() == "a table"


async def test_what_an_interrupted_start_left_unfinished_is_never_a_spare_copy(template: Template, processes: Processes) -> None:
    unfinished = template.folder / "unfinished"
    unfinished.mkdir()
    unfinished.joinpath("half").touch()
    await template.make_spares(processes)
    assert spares(template) == ["spare-1", "spare-2"]
    assert not list(template.folder.rglob("half"))
    assert not unfinished.exists()


async def test_while_one_rehearsal_makes_spare_copies_another_makes_none(template: Template, processes: Processes) -> None:
    with template.folder.joinpath("lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        await template.make_spares(processes)
    assert spares(template) == []
