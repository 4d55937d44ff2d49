"""`dr --rehearsal` takes all that leads somewhere else out of its environment, or says in a line that nothing runs here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli import main
from bot.rehearsed import join
from bot.settings import BadSettings

OUTSIDE = {
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "SLACK_BOT_TOKEN": "xoxb-production",
    "DATABASE_URL": "postgresql://production/x",
    "DR_DATABASE_URL": "postgresql://production-dr/x",
    "https_proxy": "http://proxy",
}


def world(folder: Path, pid: int) -> Path:
    """What a rehearsal whose process has this id wrote."""
    path = folder / "world.json"
    environment = {"SLACK_BOT_TOKEN": "xoxb-rehearsal", "DATABASE_URL": "postgresql://127.0.0.1/x"}
    told = {"processes": {"rehearsal": pid}, "config": str(folder / "dr.toml"), "environment": environment}
    path.write_text(json.dumps(told))
    return path


def test_nothing_that_leads_outside_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": "/home/alice", **OUTSIDE})
    assert join(world(tmp_path, os.getpid())) == tmp_path / "dr.toml"
    rehearsal = {"SLACK_BOT_TOKEN": "xoxb-rehearsal", "DATABASE_URL": "postgresql://127.0.0.1/x"}
    assert os.environ == {"HOME": "/home/alice", **rehearsal}


def test_a_killed_rehearsal_cannot_be_joined_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    monkeypatch.setattr(os, "environ", dict(OUTSIDE))
    with pytest.raises(BadSettings, match=r"No rehearsal runs in this folder .*`make rehearse`"):
        join(world(tmp_path, process.pid))
    assert os.environ == OUTSIDE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"processes": {"rehearsal": "x"}}'])
def test_a_file_that_no_rehearsal_wrote_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "world.json").write_text(text)
    with pytest.raises(BadSettings, match=r"isn't what `rehearse start` writes"):
        join(tmp_path / "world.json")


@pytest.mark.parametrize("words", [["--rehearsal", "runs"], ["runs", "--rehearsal"]])
def test_the_option_stands_before_or_after_the_word(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert "No rehearsal runs in this folder" in capsys.readouterr().err
