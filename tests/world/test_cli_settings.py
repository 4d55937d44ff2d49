"""Whatever is wrong with the settings or the environment is one line and exit code 2, in every word of the program."""

from __future__ import annotations

import asyncio
import os
import sys
import tomllib
from pathlib import Path

import pytest

from rehearsal.machines.launch import launch

EXAMPLE = (Path(__file__).parents[2] / "dr.toml").read_text()
STATE, HEALTH = 'url = "sqlite:///state.sqlite"', "https://app.shielda.dev/api/health"
GOOD = {"DATABASE_URL": "postgresql://dr:geheim@127.0.0.1:1/x"}
RESTART = "control-plane restart"

# Words, what dr.toml has instead of what, the environment, and the one line's beginning and end.
CASES = [
    (
        ["runs"],
        STATE,
        'url = "sqlite:////proc/none/state.sqlite"',
        {},
        "dr.toml: [state] url: the folder /proc/none can't be made",
    ),
    (["runs"], STATE, 'url = "sqlite:////proc"', {}, "dr.toml: [state] url: the database can't be opened: "),
    (
        ["runs"],
        STATE,
        'url = "sqlite:///dr.toml"',
        {},
        "dr.toml: [state] url: the database can't be opened: file is not a database.",
    ),
    (
        ["show", "x"],
        STATE,
        'url = "postgresql://dr:geheim@127.0.0.1:1/x"',
        {},
        "dr.toml: [state] url: the database can't be opened",
    ),
    (
        ["runs"],
        STATE,
        'url = "postgresql://dr:geheim@h:abc/"',
        {},
        "dr.toml: [state] url cannot be used: its port is not a number",
    ),
    (["runs"], STATE, 'url = "postgresql://dr:geheim@h1:1,h2:2/x"', {}, "dr.toml: [state] url: it can't be read as an address"),
    (["serve"], STATE, 'url = "postgresql://dr:ge@heim@h/x"', {}, "dr.toml: [state] url cannot be used: it has a raw @"),
    (
        ["serve"],
        HEALTH,
        "http://127.0.0.1:99999/",
        {},
        "dr.toml: [services.control-plane] health_url is 'http://127.0.0.1:99999/': its host",
    ),
    (
        ["serve"],
        "",
        "",
        {"SLACK_BOT_TOKEN": "xoxb-geheim\n"},
        "environment: SLACK_BOT_TOKEN has a blank or a line break around it",
    ),
    (
        ["serve"],
        "",
        "",
        {"SLACK_BOT_TOKEN": ""},
        "environment: SLACK_BOT_TOKEN is not set; Slack's token of that kind is expected.",
    ),
    (
        ["plan", RESTART],
        "",
        "",
        {},
        "environment: DATABASE_URL is not set; it must hold the DSN of shielda-prod.",
    ),
    (
        ["plan", RESTART, "--json"],
        "",
        "",
        {"DATABASE_URL": "geheim"},
        "environment: DATABASE_URL holds a DSN that can't be used: ",
    ),
    (
        ["plan", RESTART],
        "",
        "",
        {"DATABASE_URL": "postgresql://dr:ge\\heim@a\\b/x"},
        "environment: DATABASE_URL holds a DSN that can't be used: its host",
    ),
    (["plan", "control-plane restrat"], "", "", {}, "`/dr control-plane restrat` is not a command."),
    (["check", "--config", "none.toml"], "", "", {}, "none.toml: cannot be read (No such file or directory); give another file"),
]
Answer = tuple[int, str, str]


@pytest.fixture(scope="module")
async def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """What the program says in each case; a few at a time, for each is a process of its own."""
    turns = asyncio.Semaphore(3)

    async def ask(number: int, words: list[str], old: str, new: str, environment: dict[str, str]) -> Answer:
        room = tmp_path_factory.mktemp(f"case{number}")
        (room / "dr.toml").write_text(EXAMPLE.replace(old, new, 1))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLACK_", "DATABASE_", "AWS_"))} | environment
        async with turns:
            process = await launch(
                *(sys.executable, "-m", "bot", *words),
                cwd=room,
                env=env | {"PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    return await asyncio.gather(*(ask(number, *case[:4]) for number, case in enumerate(CASES)))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case[0][0]} {n}" for n, case in enumerate(CASES)])
def test_a_mistake_is_one_line_and_exit_code_2(answers: list[Answer], number: int) -> None:
    code, out, err = answers[number]
    assert err.startswith(CASES[number][-1])
    assert len(err.splitlines()) == 1
    assert err.endswith((".\n", "?\n"))
    assert (code, out) == (2, "")
    assert "geheim" not in err
    assert "heim" not in err


def test_the_example_is_what_the_cases_change() -> None:
    assert STATE in EXAMPLE
    assert HEALTH in EXAMPLE
    assert tomllib.loads(EXAMPLE)["databases"]["primary"]["dsn_env"] == "DATABASE_URL"
