"""What people choose in messages, in forms and in the app's home reaches the real slack_bolt as Slack sends it."""

from __future__ import annotations

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from rehearsal.slack import forms
from rehearsal.waiting import until
from tests.slack_samples import CARD, MENUS, MODAL, Json
from tests.world.slack_world import SlackWorld, plan, refusal

BARE = {"type": "home", "blocks": CARD[:1]}


async def _menus(world: SlackWorld) -> str:
    posted = await world.web.chat_postMessage(channel="C0INCIDENT", text="menus", blocks=[MENUS])
    return str(posted["ts"])


@pytest.mark.parametrize(
    ("action_id", "value", "field", "sent"),
    [
        ("ticks", ["one", "two"], "selected_options", ["one", "two"]),
        ("pick", "blue", "selected_option", "blue"),
        ("day", "2025-02-01", "selected_date", "2025-02-01"),
        ("time", "10:30", "selected_time", "10:30"),
        ("moment", 1736937000, "selected_date_time", 1736937000),
        ("many", ["c"], "selected_options", ["c"]),
        ("who", "U0BOB", "selected_user", "U0BOB"),
        ("more", "copy", "selected_option", "copy"),
    ],
)
async def test_a_choice_is_sent_in_its_own_field(
    world: SlackWorld, action_id: str, value: object, field: str, sent: object
) -> None:
    ts = await _menus(world)
    assert (await world.slack.click("bob", "incident", ts, action_id, value=value))["acked"]
    body = world.heard[-1]
    (action,) = body["actions"]
    assert _values(action[field]) == sent
    assert "value" not in action
    if action_id in body["state"]["values"]["menus"]:
        assert _values(body["state"]["values"]["menus"][action_id][field]) == sent


def _values(chosen: object) -> object:
    if isinstance(chosen, list):
        return [one["value"] for one in chosen]
    return chosen["value"] if isinstance(chosen, dict) else chosen


async def test_a_click_tells_what_stands_in_the_other_elements(world: SlackWorld) -> None:
    ts = await _menus(world)
    await world.slack.click("bob", "incident", ts, "pick", value="red")
    await world.slack.click("bob", "incident", ts, "ticks", value=["two"])
    values = world.heard[-1]["state"]["values"]["menus"]
    assert values["pick"]["selected_option"]["value"] == "red"
    assert values["day"] == {"type": "datepicker", "selected_date": "2025-01-15"}
    assert values["time"] == {"type": "timepicker", "selected_time": None}
    assert "more" not in values  # an overflow menu keeps no state
    await world.slack.click("alice", "incident", ts, "ticks", value=["two"])
    assert world.heard[-1]["state"]["values"]["menus"]["pick"]["selected_option"] is None  # that was Bob's choice


async def test_buttons_of_the_home_are_clicked_in_a_view(world: SlackWorld) -> None:
    await world.slack.do("home", person="bob")
    home = await world.slack.wait_for(lambda state: state["home"], person="bob")
    assert (await world.slack.do("click_view", person="bob", view_id=home["id"], action_id="pick", value="blue"))["acked"]
    body = world.heard[-1]
    assert body["container"] == {"type": "view", "view_id": home["id"]}
    assert body["view"]["type"] == "home"
    assert body["view"]["state"]["values"]["menus"]["pick"]["selected_option"]["value"] == "blue"
    assert "channel" not in body
    await world.slack.do("home", person="bob")
    again = next(b for b in reversed(world.heard) if b.get("event", {}).get("type") == "app_home_opened")
    assert again["event"]["view"]["id"] == home["id"]


async def test_a_button_in_a_form_tells_what_was_typed(world: SlackWorld) -> None:
    await world.slack.command("alice", "incident", "open")
    view = MODAL | {"blocks": [*MODAL["blocks"], MENUS]}
    opened = await world.web.views_open(trigger_id=world.heard[-1]["trigger_id"], view=view)
    clicked = {"person": "alice", "view_id": opened["view"]["id"], "action_id": "pick", "value": "red"}
    assert (await world.slack.do("click_view", **clicked, state={"name": "shield"}))["acked"]
    values = world.heard[-1]["view"]["state"]["values"]
    assert values["name"]["typed"]["value"] == "shield"
    pushed = await world.web.views_push(trigger_id=world.heard[-1]["trigger_id"], view=MODAL)
    assert pushed["view"]["previous_view_id"] == opened["view"]["id"]


async def test_a_push_needs_an_interaction_in_an_open_form(world: SlackWorld) -> None:
    await world.slack.command("alice", "incident", "nothing is open")
    said = await refusal(world.web.views_push(trigger_id=world.heard[-1]["trigger_id"], view=MODAL))
    assert said["error"] == "not_found"


async def test_publish_holds_the_hash_and_needs_a_home_tab(world: SlackWorld) -> None:
    first = await world.web.views_publish(user_id="U0BOB", view=BARE)
    second = await world.web.views_publish(user_id="U0BOB", view=BARE, hash=first["view"]["hash"])
    stale = await refusal(world.web.views_publish(user_id="U0BOB", view=BARE, hash=first["view"]["hash"]))
    assert stale["error"] == "hash_conflict"
    assert second["view"]["id"] == first["view"]["id"]
    world.workspace.manifest = {name: v for name, v in world.workspace.manifest.items() if name != "features"}
    assert (await refusal(world.web.views_publish(user_id="U0BOB", view=BARE)))["error"] == "not_enabled"


async def test_shortcuts_of_the_manifest_reach_the_app(world: SlackWorld) -> None:
    card = await plan(world)
    used = {"person": "bob", "callback_id": "save_evidence", "channel": "incident", "ts": card["ts"]}
    assert (await world.slack.do("shortcut", **used))["acked"]
    assert world.heard[-1]["type"] == "message_action"
    assert world.heard[-1]["message"]["ts"] == card["ts"]
    assert (await world.slack.do("shortcut", person="bob", callback_id="start_recovery"))["acked"]
    assert world.heard[-1]["type"] == "shortcut"
    with pytest.raises(Exception, match="no global shortcut 'save_evidence'"):
        await world.slack.do("shortcut", person="bob", callback_id="save_evidence")


async def test_messages_mentions_and_reactions_are_told_once(world: SlackWorld) -> None:
    said = await world.slack.post("alice", "incident", "@dr is 1 < 2 & #general?")
    assert said["text"] == "<@U0DRBOT> is 1 &lt; 2 &amp; <#C0GENERAL|general>?"
    await world.slack.do("react", person="bob", channel="incident", ts=said["ts"], name="eyes")
    await until(lambda: len(_events(world)) == 3, 3)
    by_type = {body["event"]["type"]: body["event"] for body in _events(world)}
    assert by_type.keys() == {"message", "app_mention", "reaction_added"}
    assert by_type["message"]["channel_type"] == "channel"
    assert by_type["reaction_added"]["item"] == {"type": "message", "channel": "C0INCIDENT", "ts": said["ts"]}


def _events(world: SlackWorld) -> list[Json]:
    return [body for body in world.heard if body.get("type") == "event_callback"]


async def test_an_event_without_an_ack_comes_again(world: SlackWorld) -> None:
    world.workspace.sockets.reset()
    await world.slack.wait_for(lambda state: not state["connected"], timeout=2)
    await world.slack.post("alice", "incident", "nobody is listening")
    tries: list[Json] = []

    def acked() -> bool:
        tries[:] = [e for e in world.workspace.log if e["kind"] == "envelope" and e["type"] == "events_api"]
        return bool(tries) and tries[-1]["acked"]

    await until(acked, 30)
    assert [e["retry_attempt"] for e in tries] == list(range(len(tries)))
    assert tries[0]["error"] == "no_connection"
    assert len({e["event_id"] for e in tries}) == 1
    assert len(_events(world)) == 1


async def test_what_people_type_reaches_the_app_escaped(world: SlackWorld) -> None:
    await world.slack.command("alice", "incident", "show a & <b> @bob")
    assert world.heard[-1]["text"] == "show a &amp; &lt;b&gt; <@U0BOB|bob>"


async def test_a_bot_outside_a_channel_is_refused_until_it_is_let_in(world: SlackWorld) -> None:
    await world.slack.do("join", person="dr", channel="general", leave=True)
    said = await refusal(world.web.chat_postMessage(channel="C0GENERAL", text="x"))
    assert said["error"] == "not_in_channel"
    assert (await refusal(world.web.conversations_history(channel="C0GENERAL")))["error"] == "not_in_channel"
    assert not (await world.web.conversations_info(channel="C0GENERAL"))["channel"]["is_member"]
    await world.slack.do("join", person="dr", channel="general")
    assert (await world.web.chat_postMessage(channel="C0GENERAL", text="x"))["ok"]


async def test_a_guest_is_in_one_channel_only(world: SlackWorld) -> None:
    assert [c["name"] for c in (await world.slack.state("gina"))["channels"]] == ["incident"]
    said = await refusal(world.web.chat_postEphemeral(channel="C0GENERAL", user="U0GINA", text="x"))
    assert said["error"] == "user_not_in_channel"
    assert "U0GINA" not in (await world.web.conversations_members(channel="C0GENERAL"))["members"]


async def test_a_method_that_is_called_too_often_says_when_to_come_again(world: SlackWorld) -> None:
    patient = AsyncWebClient(token="xoxb-rehearsal", base_url=f"{world.base}/api/", retry_handlers=[])
    refused = None
    for number in range(60):
        try:
            await patient.chat_postMessage(channel="C0INCIDENT", text=f"post {number}")
        except Exception as error:  # the SDK's own error type is not ours to name here.
            refused = error
            break
    assert refused is not None
    assert refused.response["error"] == "ratelimited"  # type: ignore[attr-defined]
    assert int(refused.response.headers["Retry-After"]) >= 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("element", "typed", "complaint"),
    [
        ({"type": "number_input", "is_decimal_allowed": False, "min_value": "1", "max_value": "9"}, "12", "at most 9"),
        ({"type": "number_input", "is_decimal_allowed": False}, "1.5", "whole number"),
        ({"type": "email_text_input"}, "bob", "valid email"),
        ({"type": "url_text_input"}, "example", "valid URL"),
        ({"type": "plain_text_input", "min_length": 3}, "ab", "at least 3"),
        ({"type": "datepicker"}, "", "complete this required"),
        ({"type": "datepicker"}, "2025-02-28", ""),
    ],
)
def test_slack_refuses_a_form_before_it_reaches_the_app(element: Json, typed: str, complaint: str) -> None:
    view = {"blocks": [{"type": "input", "block_id": "b", "element": element | {"action_id": "a"}}]}
    found = forms.incomplete(view, forms.state_values(view, {"b": typed}))
    assert complaint in found.get("b", "") if complaint else not found
