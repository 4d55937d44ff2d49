"""The Web API of the rehearsal's Slack, called by the real slack_sdk: what it returns, and what it refuses."""

from __future__ import annotations

from slack_sdk.web.async_client import AsyncWebClient

from tests.slack_samples import SCOPES
from tests.world.slack_world import SlackWorld, refusal


async def test_blocks_that_slack_would_refuse_are_refused(world: SlackWorld) -> None:
    long_header = [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]
    said = await refusal(world.web.chat_postMessage(channel="C0INCIDENT", text="x", blocks=long_header))
    assert said["error"] == "invalid_blocks"
    assert said["response_metadata"]["messages"] == [
        "[ERROR] must be less than 151 characters [json-pointer:/blocks/0/text/text]"
    ]
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "y" * 2900}}
    said = await refusal(world.web.chat_postMessage(channel="C0INCIDENT", text="x", blocks=[section] * 5))
    assert said["error"] == "msg_blocks_too_long"
    empty = world.web.api_call("chat.postMessage", params={"channel": "C0INCIDENT"})
    assert (await refusal(empty))["error"] == "no_text"
    assert (await refusal(world.web.chat_postMessage(channel="C0NONE", text="x")))["error"] == "channel_not_found"


async def test_tokens_scopes_and_methods_are_checked(world: SlackWorld) -> None:
    strange = AsyncWebClient(token="xoxb-other", base_url=f"{world.base}/api/")
    assert (await refusal(strange.auth_test()))["error"] == "invalid_auth"
    nobody = AsyncWebClient(base_url=f"{world.base}/api/")
    assert (await refusal(nobody.auth_test()))["error"] == "not_authed"
    said = await refusal(world.web.reactions_add(channel="C0INCIDENT", timestamp="1.0", name="eyes"))
    assert (said["error"], said["needed"]) == ("missing_scope", "reactions:write")
    assert (await refusal(world.web.api_call("team.billing.info")))["error"] == "unknown_method"
    said = await refusal(world.web.apps_connections_open(app_token="xoxb-rehearsal"))
    assert said["error"] == "not_allowed_token_type"
    answer = await world.web.auth_test()
    assert answer.headers["X-OAuth-Scopes"].split(",") == SCOPES


async def test_history_tells_metadata_only_when_asked_and_in_pages(world: SlackWorld) -> None:
    metadata = {"event_type": "dr_timeline", "event_payload": {"key": "R2", "rev": 1}}
    first = await world.web.chat_postMessage(channel="C0GENERAL", text="one", metadata=metadata)
    await world.web.chat_postMessage(channel="C0GENERAL", text="in the thread", thread_ts=first["ts"])
    second = await world.web.chat_postMessage(channel="C0GENERAL", text="two")
    page = await world.web.conversations_history(channel="C0GENERAL", include_all_metadata=True, limit=1)
    assert [m["text"] for m in page["messages"]] == ["two"]
    page = await world.web.conversations_history(
        channel="C0GENERAL", include_all_metadata=True, limit=1, cursor=page["response_metadata"]["next_cursor"]
    )
    assert page["messages"][0]["metadata"] == metadata
    assert page["messages"][0]["reply_count"] == 1
    bare = await world.web.conversations_history(channel="C0GENERAL", oldest=first["ts"])
    assert [m["ts"] for m in bare["messages"]] == [second["ts"]]
    whole = await world.web.conversations_history(channel="C0GENERAL")
    assert "metadata" not in whole["messages"][-1]
    thread = await world.web.conversations_replies(channel="C0GENERAL", ts=first["ts"])
    assert [m["text"] for m in thread["messages"]] == ["one", "in the thread"]


async def test_a_pin_is_refused_the_second_time(world: SlackWorld) -> None:
    message = await world.web.chat_postMessage(channel="C0INCIDENT", text="pin me")
    await world.web.pins_add(channel="C0INCIDENT", timestamp=message["ts"])
    again = await refusal(world.web.pins_add(channel="C0INCIDENT", timestamp=message["ts"]))
    assert again["error"] == "already_pinned"
    listed = await world.web.pins_list(channel="C0INCIDENT")
    assert listed["items"][0]["message"]["ts"] == message["ts"]
    await world.web.chat_update(channel="C0INCIDENT", ts=message["ts"], text="still pinned")
    assert (await world.slack.messages("incident"))[-1]["pinned"]
    await world.web.pins_remove(channel="C0INCIDENT", timestamp=message["ts"])


async def test_people_and_groups_are_described_as_they_are(world: SlackWorld) -> None:
    assert (await world.web.users_info(user="U0GINA"))["user"]["is_restricted"]
    assert (await world.web.usergroups_users_list(usergroup="S0ONCALL"))["users"] == ["U0ALICE", "U0BOB"]
    assert len((await world.web.users_list())["members"]) == 6
    info = await world.web.conversations_info(channel="C0INCIDENT")
    assert info["channel"]["is_ext_shared_channel"] is False
