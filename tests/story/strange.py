"""What nobody can type, sent all the same: it is acknowledged, answered with one sentence, and stored nowhere."""

from __future__ import annotations

import copy

from tests.story.conftest import RESTART, Incident, logged_errors, until

STRANGE = {
    "NUL": "control-plane\x00 restart",
    "a control character": "control-plane \x1b[31mrestart",
    "half a character": "control-plane restart \ud800",
    "a megabyte": "control-plane restart " + "x" * 1_000_000,
    "a long word": "x" * 999,
    "an open quotation mark": "control-plane 'restart",
}
NOT_FOR_PEOPLE = ("INSERT", "SELECT", "psycopg", "sqlalchemy", "Traceback", "Error:", "dr_inbox", "\x00")


async def strange_input_is_answered(incident: Incident) -> None:
    """Commands, clicks and forms with what no database takes; afterwards the bot works as before."""
    for name, text in STRANGE.items():
        said = await incident.type("alice", text)
        assert said, name
        assert len(said) < 4000, name
        assert not any(word in said for word in NOT_FOR_PEOPLE), said
    run = await incident.plan("alice", RESTART)
    for value in (
        f"{run}:plan:\x00",
        f"{run}\x00:plan:x",
        f"{run}:plan:\udc00",
        "\x00" * 100,
        f"{run}:plan:{'x' * 1900}",
        "'; DROP",
    ):
        said = await incident.refused("bob", run, "dr_approve", value)
        assert said == "I don't recognise this button. Nothing was done."
    incident.world.aws_faults.put("access_denied", operation="UpdateService")
    await incident.click("bob", run, "dr_approve")
    await incident.waiting(run)
    await incident.click("carol", run, "dr_skip")
    form = await until(lambda: next(iter(incident.slack.views("carol")), None))
    shown = copy.deepcopy(form)
    refused = await incident.slack.submit("carol", shown["id"], {"reason": "\x00\ud800\x01\x7f\x00"})
    assert refused["errors"] == {"reason": "A reason of at least three characters is needed. Nothing was done."}
    accepted = await incident.slack.submit("carol", shown["id"], {"reason": "It\x00 answers \ud800again"})
    assert accepted["acked"]
    assert await incident.ended(run) == "Done"
    assert any("because: It answers again." in line for line in incident.thread(run))
    assert logged_errors(incident.world.bot_log.read_text()) == []
