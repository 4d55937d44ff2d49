"""The drills as people start them: a program, a fault, two people, a recovery, and a witness who judges.

`make test` runs each on one seed, and one of them by its program; `make drills` runs each by its program, and on a second seed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rehearsal.drills.catalogue import DRILLS, ENDED_SESSIONS, HOLD, Drill
from rehearsal.drills.run import carry_out
from rehearsal.world import Options
from tests.story.conftest import SPEED

KEYS = {
    *("drill", "scenario", "outcome", "rto_seconds", "rpo_seconds", "rows_lost", "targets", "speed", "requested_by"),
    *("approved_by", "digest", "steps", "effects", "timeline", "findings", "cleanup"),
}
pytestmark = [pytest.mark.spread, pytest.mark.timeout(600)]
HERE = {name: drill for name, drill in DRILLS.items() if drill.shows != "region"}
SLOW = {name: 60 if drill.shows == "outage" else 600 for name, drill in HERE.items()}  # a restore takes AWS too long for 60
REGIONS = [("region-failure", 60, 2), ("region-switchover", 60, 2)]
PROGRAM = ("control-plane-down", 600, 1)
CASES = [PROGRAM, *((name, speed, 2) for name, speed in SLOW.items()), *REGIONS]
EVERY = [(name, 600, 1) for name in HERE] + [(name, 60, 1) for name in DRILLS.keys() - HERE.keys()]
Case = tuple[str, int, int]  # name, speed, seed
Ended = tuple[int, dict[str, Any]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A case for each drill, or for each drill and seed if `--every-seed` says so."""
    if "case" in metafunc.fixturenames:
        more = EVERY if metafunc.config.getoption("--every-seed") else []
        cases = sorted({*CASES, *more})
        metafunc.parametrize("case", cases, ids=[f"{name} at {speed} seed {seed}" for name, speed, seed in cases])


@pytest.fixture
def home(work_dirs: Path) -> Path:
    """The folder that a drill is started in."""
    home = Path(tempfile.mkdtemp(prefix="drill-", dir=work_dirs))
    home.chmod(0o755)
    return home


async def _program(home: Path, name: str, speed: int, seed: int) -> Ended:
    argv = [sys.executable, "-m", "rehearsal", "drill", name, "--speed", str(speed), "--seed", str(seed), "--json"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=home, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, json.loads(out)


async def _here(home: Path, cache: Path, name: str, speed: int, seed: int) -> Ended:
    options = Options(work_dir=home / f"{name}-{seed}", cache=cache, port=0, speed=speed, seed=seed, reports=False)
    report = await carry_out(DRILLS[name], options)
    return int(report.outcome != DRILLS[name].outcome), json.loads(json.dumps(report.to_json()))


async def test_a_drill_ends_as_it_must_with_each_effect_once_and_its_story(home: Path, cache: Path, case: Case) -> None:
    name, speed, seed = case
    drill = DRILLS[name]
    code, report = await (_program(home, *case) if seed == 1 else _here(home, cache, *case))
    assert report["outcome"] == drill.outcome, "\n".join([report["why"], *(t["text"] for t in report["timeline"])])
    assert code == 0
    assert report.keys() >= KEYS
    assert (report["drill"], report["scenario"], report["speed"]) == (drill.name, drill.scenario, speed)
    assert report["requested_by"] != report["approved_by"]
    assert re.fullmatch(r"[0-9a-f]{64}", report["digest"])
    assert "***" not in json.dumps(report), "something of a drill was taken for a secret"
    _effects_once(report, drill)
    _within_targets(report, drill)
    _cleaned_up(report, drill)
    _timeline_in_order(report, drill)
    assert _folders_of_drills(home) == []


async def test_a_drill_whose_plan_is_forbidden_fails_and_says_why(work_dirs: Path, cache: Path) -> None:
    wrong_command = replace(DRILLS["database-failover"], command="control-plane restart")
    report = await carry_out(wrong_command, Options(work_dir=work_dirs / "forbidden", cache=cache, port=0, speed=SPEED))
    assert report.outcome == "failed"
    assert report.why.startswith("The plan cannot be approved: Plan ")
    assert report.witness["state"] == "down"
    assert report.effects == []


def _folders_of_drills(home: Path) -> list[Path]:
    """The work folders of drills, and their substitutes if an account could not reach them."""
    substitutes = f"*{str(home).strip('/').replace('/', '-')}*drill-*"
    return [*home.glob(".rehearsal/drill-*"), *Path(tempfile.gettempdir()).glob(substitutes)]


def _effects_once(report: dict[str, Any], drill: Drill) -> None:
    assert sorted(map(str, report["effects"])) == sorted(map(str, drill.effects))
    if ENDED_SESSIONS in drill.effects:  # one statement, and every session that it was meant for is gone
        ended = next(line["text"] for line in report["timeline"] if "sessions have ended" in line["text"])
        found = re.search(r"(\d+) of (\d+) sessions", ended)
        assert found
        assert found[1] == found[2] != "0"


def _within_targets(report: dict[str, Any], drill: Drill) -> None:
    if drill.fault != "region-down":  # which loses what was under way, and no more than the target
        assert (report["rows_lost"] > 0) == (drill.shows == "data"), "a restore gives up what was written since; others nothing"
    assert report["rto_seconds"] <= report["targets"]["rto_seconds"]
    assert report["rto_seconds"] > 0 or drill.shows in ("nothing", "table")
    assert report["rpo_seconds"] <= report["targets"]["rpo_seconds"]


def _cleaned_up(report: dict[str, Any], drill: Drill) -> None:
    states = {one["what"]: one["state"] for one in report["cleanup"]}
    if drill.shows == "nothing":
        gone = [what.removeprefix("instance ") for what, state in states.items() if state == "gone"]
        assert [name.split("-20")[0] for name in gone] == ["shielda-verify"] * 2, states
        assert states == {
            **{f"instance {name}": "gone" for name in gone},
            **{f"Drop temporary database {name}": "done" for name in gone},
        }
        return
    if drill.shows == "region":
        assert sum(what.startswith("instance ") for what in states) == 2, "the old primary is kept, and its replica serves"
        return
    if drill.shows not in ("data", "table"):
        assert states == {}
        return
    kept = [what for what, state in states.items() if state == "kept"]
    assert [what.partition(" ")[0] for what in kept] == ["instance", "snapshot"]
    assert "instance shielda-prod" in kept
    ended = {"data": "already done", "table": "done"}[drill.shows]  # the service runs again before; the copy is dropped
    assert [state for what, state in states.items() if what not in kept] == [ended]


def _timeline_in_order(report: dict[str, Any], drill: Drill) -> None:
    lines = [line["text"] for line in report["timeline"]]
    times = [line["at"] for line in report["timeline"]]
    assert times == sorted(times)
    for line in set(lines):  # an answer, and that the run goes on, once for each question
        once_each = "decided: yes" in line or "Going on." in line
        assert lines.count(line) <= (drill.answers.count(HOLD) if once_each else 1), "a line was told twice"
    assert "approved plan" in lines[0]
    assert report["digest"][:12] in lines[0]
    last_word = "Every step is done and proven" if drill.end == "Done" else "The green mark is withheld"
    end = next(line for line in lines if last_word in line)
    assert end == lines[-1] or "The clean-up is done and proven" in lines[-1]
    begun = [m[1] for line in lines if (m := re.search(r"Step (\d+\.\d+): ", line))]
    ended = [m[1] for line in lines if (m := re.search(r"^(?::\w+: )?Step (\d+\.\d+) (?:done|already done|failed): ", line))]
    assert sorted(begun) == sorted(ended)
    outcomes = [step["outcome"] for step in report["steps"] if step["outcome"] != "not begun"]
    assert len(begun) == len(outcomes)
    assert [one for one in outcomes if one not in ("done", "already done")] == ([] if drill.end == "Done" else ["failed"])
    assert len(outcomes) == len(report["steps"]) or drill.end != "Done"
    for step in begun:
        assert _at(lines, f"Step {step}: ") < _at(lines, f"Step {step} ")
    stages = [int(step.partition(".")[0]) for step in begun]
    assert stages == sorted(stages)


def _at(lines: list[str], words: str) -> int:
    return next(number for number, line in enumerate(lines) if words in line)
