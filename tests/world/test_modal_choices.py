"""A choice in a modal reaches the bot as Slack sends it, and stays chosen when the bot changes the modal."""

from __future__ import annotations

from typing import Any

from tests.slack_samples import MODAL
from tests.world.slack_world import SlackWorld, plan

PICKER: dict[str, Any] = {
    "type": "input",
    "block_id": "time",
    "label": {"type": "plain_text", "text": "When"},
    "element": {"type": "datetimepicker", "action_id": "picked", "initial_date_time": 1768472580},
}


async def opened(world: SlackWorld, **picker: Any) -> dict[str, Any]:
    """A modal with a picker that carol has open."""
    card = await plan(world)
    await world.slack.click("carol", "incident", card["ts"], "dr_approve")
    view = MODAL | {"blocks": [PICKER | picker]}
    await world.web.views_update(view_id=world.workspace.views("carol")[0]["id"], view=view)
    return world.workspace.views("carol")[0]


async def test_a_choice_is_sent_only_if_its_input_dispatches(world: SlackWorld) -> None:
    view = await opened(world)
    assert not (await world.workspace.choose("carol", view["id"], "picked", 1768472640))["acked"]
    assert not [body for body in world.heard if "view" in body]


async def test_a_choice_comes_with_the_view_and_without_a_channel(world: SlackWorld) -> None:
    view = await opened(world, dispatch_action=True)

    async def note(ack: Any, body: dict[str, Any]) -> None:
        world.heard.append(body)
        await ack()

    world.handler.app.action("picked")(note)
    assert (await world.workspace.choose("carol", view["id"], "picked", 1768472640))["acked"]
    body = world.heard[-1]
    assert not {"channel", "message", "response_url"} & body.keys()
    assert body["container"] == {"type": "view", "view_id": view["id"]}
    assert body["actions"][0]["selected_date_time"] == 1768472640
    assert body["actions"][0]["initial_date_time"] == 1768472580
    assert body["view"]["state"]["values"] == {"time": {"picked": {"type": "datetimepicker", "selected_date_time": 1768472640}}}


async def test_what_was_chosen_stays_when_the_bot_changes_the_modal(world: SlackWorld) -> None:
    view = await opened(world)
    await world.workspace.choose("carol", view["id"], "picked", 1768472640)
    await world.web.views_update(view_id=view["id"], view=MODAL | {"blocks": [PICKER, *MODAL["blocks"]]})
    await world.workspace.submit("carol", view["id"], {"name": "shielda-prod"})
    sent = next(body for body in reversed(world.heard) if body.get("type") == "view_submission")
    assert sent["view"]["state"]["values"]["time"]["picked"]["selected_date_time"] == 1768472640
