"""Reports through Slack and at the terminal: answered once, to whoever asked, without an approval and without a change."""

from __future__ import annotations

import html
import json
import re

import pytest

from rehearsal.waiting import until
from tests.story.conftest import Incident
from tests.world.sql import query

REPORTS = ["targets", "backup status"]
LINE_KEYS = {"level", "check", "object", "says", "evidence"}
TABLE = "dr_heartbeat"


def answers(incident: Incident, person: str, words: str) -> list[str]:
    """The reports that this person was shown."""
    texts = [html.unescape(message["text"]) for message in incident.slack.ephemerals(person)]
    return [text for text in texts if text.startswith(f"*`/dr {words}`*")]


async def answered(incident: Incident, person: str, words: str, before: int, timeout: float = 20) -> list[str]:
    """Wait until there are more reports than before, and until the bot has nothing more to say; returns the new ones."""
    await until(lambda: len(answers(incident, person, words)) > before, timeout, f"the answer to /dr {words}")
    await incident.quiet()
    return answers(incident, person, words)[before:]


@pytest.mark.parametrize("words", REPORTS)
async def test_a_report_is_answered_once_to_the_person_alone(incident: Incident, words: str) -> None:
    messages, before = len(incident.messages()), len(answers(incident, "alice", words))
    said = await incident.type("alice", words)
    assert said == f"Collecting facts for `/dr {words}`. I'll answer here within a few seconds, to you alone."
    (text,) = await answered(incident, "alice", words, before)
    assert "Nothing was changed." in text
    assert "*retention* (`shielda-prod`)" in text
    assert len(incident.messages()) == messages
    assert answers(incident, "bob", words) == []
    assert incident.world.journal.calls(changing=True) == []


async def test_a_stranger_gets_no_report(incident: Incident) -> None:
    async with incident.told("dave", count=2) as sentences:
        await incident.type("dave", "targets")
    assert "You can't ask for `/dr targets`" in sentences[-1]
    assert answers(incident, "dave", "targets") == []


async def test_a_bot_killed_between_the_command_and_its_answer_answers_once(incident: Incident) -> None:
    before = len(answers(incident, "alice", "targets"))
    incident.world.aws_faults.put("slow", operation="DescribeDBInstances", seconds=2.0)
    await incident.type("alice", "targets")
    await incident.world.kill_bot()
    assert len(answers(incident, "alice", "targets")) == before
    await incident.world.start_bot()
    assert len(await answered(incident, "alice", "targets", before, 60)) == 1
    await incident.world.kill_bot()
    await incident.world.start_bot()
    await incident.connected()
    await incident.quiet(1.0)
    assert len(answers(incident, "alice", "targets")) == before + 1


async def test_while_aws_hangs_the_answer_says_first_what_could_not_be_read(incident: Incident) -> None:
    before = len(answers(incident, "alice", "targets"))
    incident.world.aws_faults.put("hang", times=None)
    await incident.type("alice", "targets")
    (text,) = await answered(incident, "alice", "targets", before)
    assert "*source* (`RDS in us-west-2`): RDS in us-west-2 could not be read" in text.splitlines()[1]
    assert ":white_check_mark:" not in text


@pytest.mark.parametrize("words", REPORTS)
async def test_the_terminal_prints_exactly_what_was_promised(incident: Incident, words: str) -> None:
    code, out, err = await incident.dr("report", words, "--json")
    assert (code, err) == (1, "")  # no restore was verified
    printed = json.loads(out)
    assert printed.keys() == {"report", "at", "findings"}
    assert printed["report"] == words
    assert all(line.keys() == LINE_KEYS for line in printed["findings"])
    _, text, _ = await incident.dr("report", words)
    head, *lines = text.splitlines()
    assert sum(int(number) for number in re.findall(r"(\d+) [a-z]+[,.]", head)) == len(lines)


async def test_dr_targets_is_the_report_of_that_name(incident: Incident) -> None:
    code, out, _ = await incident.dr("targets", "--json")
    assert code == 1
    assert json.loads(out)["report"] == "targets"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "target"], "Did you mean `targets`?"),
        (["report", "backup"], "After `backup` comes one of: verify, drop, status"),
        (
            ["report", "runs"],
            "'runs' isn't one; there are agents diagnose, backup status, corruption scan, targets, triage.",
        ),
        (["report", "targets now"], "takes nothing after it"),
        (["plan", "targets"], "`dr plan` takes a scenario, and 'targets' isn't one"),
    ],
)
async def test_words_that_are_no_report_are_one_line_and_exit_code_2(incident: Incident, words: list[str], said: str) -> None:
    code, out, err = await incident.dr(*words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


async def test_a_run_that_ended_well_is_the_proof_of_the_recovery_time(incident: Incident) -> None:
    run = await incident.approved()
    assert await incident.ended(run) == "Done"
    _, out, _ = await incident.dr("targets", "--json")
    lines = {line["check"]: line for line in json.loads(out)["findings"]}
    assert (lines["RTO"]["level"], lines["RTO"]["object"]) == ("met", f"run {run}")
    assert (lines["last run"]["level"], lines["last run"]["object"]) == ("met", f"run {run}")


async def test_a_bot_that_is_told_of_a_table_writes_its_heartbeat_there(incident: Incident) -> None:
    admin = incident.world.database.dsn("postgres")
    create = f"CREATE TABLE {TABLE} (writer text PRIMARY KEY, at timestamptz NOT NULL)"
    await query(admin, f"{create}; GRANT SELECT, INSERT, UPDATE ON {TABLE} TO dr_bot")
    async with incident.settings('alarm = "', f'heartbeat_table = "{TABLE}"\nalarm = "'):

        async def beats() -> bool:
            return len(await query(admin, f"SELECT at FROM {TABLE} WHERE writer = 'dr-bot'")) == 1

        await until(beats, 20, "a heartbeat")
        _, out, _ = await incident.dr("check", "--json")
        assert f"Heartbeats of primary go to {TABLE}." in [finding["says"] for finding in json.loads(out)]
    await query(admin, f"DROP TABLE {TABLE}")
