"""What the `rehearse` program imports in advance, and when it doesn't."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from rehearsal.__main__ import forks
from rehearsal.machines.preloading import FIRST, LATER


@pytest.mark.parametrize("module", [*FIRST, *LATER])
def test_each_module_that_is_imported_in_advance_exists(module: str) -> None:
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("line", ["start", "start --port 0", "drill database-failover --json"])
def test_start_and_drill_fork_their_programs(line: str) -> None:
    assert forks(line.split()) is (sys.platform == "linux")


@pytest.mark.parametrize("line", ["--help", "drills", "start --no-bot", "start --help", "drill -h", "nonsense"])
def test_what_starts_no_bot_forks_nothing(line: str) -> None:
    assert not forks(line.split())


def test_the_program_starts_the_process_to_fork_before_anything_heavy_is_imported() -> None:
    heavy = "import sys, rehearsal.__main__; print(sorted({'asyncio', 'aiohttp', 'psycopg', 'rehearsal.cli'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
