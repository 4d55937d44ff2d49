"""The page in a real browser, with a small bot: windows, keyboard, forms, home, phone, and axe-core in both themes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.slack_samples import CARD, MENUS, MODAL
from tests.world.browser import PHONE, chromium, violations, window
from tests.world.slack_world import SlackWorld, slack_world

pytestmark = pytest.mark.timeout(120)
INPUTS: list[dict[str, Any]] = [
    {"type": "datepicker", "action_id": "e", "initial_date": "2025-01-15"},
    {"type": "timepicker", "action_id": "e", "initial_time": "10:30"},
    {"type": "datetimepicker", "action_id": "e", "initial_date_time": 1736937000},
    {"type": "radio_buttons", "action_id": "e", "options": MENUS["elements"][0]["options"]},
    {"type": "checkboxes", "action_id": "e", "options": MENUS["elements"][0]["options"]},
    {"type": "multi_users_select", "action_id": "e"},
    {"type": "channels_select", "action_id": "e"},
    {"type": "number_input", "action_id": "e", "is_decimal_allowed": False},
]


@pytest.fixture(name="world")
async def patient() -> AsyncIterator[SlackWorld]:
    """Slack with a small bot, and with more patience than Slack has: a browser takes much of a small machine."""
    async with slack_world(20.0) as world:
        yield world


def form() -> dict[str, Any]:
    """The modal with an input of each kind besides; only the name is required."""
    inputs = [
        {"type": "input", "block_id": f"b{n}", "optional": True, "label": {"type": "plain_text", "text": e["type"]}, "element": e}
        for n, e in enumerate(INPUTS)
    ]
    return MODAL | {"callback_id": "all_inputs", "blocks": [*MODAL["blocks"], *inputs]}


async def test_ten_windows_stay_live(world: SlackWorld) -> None:
    async with chromium() as browser:
        session = await browser.new_context()
        pages = [await session.new_page() for _ in range(10)]
        for page in pages:
            await page.goto(f"{world.base}/?person=alice", wait_until="commit")
        for page in pages:
            await page.wait_for_selector("#channels button", timeout=20_000)
        await world.slack.post("bob", "incident", "Can all of you read this?")
        for page in pages:
            await page.wait_for_selector("text=Can all of you read this?", timeout=20_000)
        paint = await pages[0].evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        await session.close()
    assert paint < 10_000  # ten windows at once, on a machine that does other things too


async def test_the_keyboard_alone_gets_from_a_command_to_a_form_and_back(world: SlackWorld) -> None:
    async with chromium() as browser, window(browser, world.base, "alice") as alice:
        page = alice.page
        await page.fill("#composer-text", "/d")
        await page.wait_for_selector("#completions [role=option]")
        await page.keyboard.press("Tab")
        assert await page.input_value("#composer-text") == "/dr "
        await page.keyboard.type("plan")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("[data-action=dr_approve]")
        await page.focus("[data-action=dr_approve]")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog.modal")
        await page.keyboard.type("wrong name")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".field-error:not([hidden])")
        assert await page.inner_text(".field-error:not([hidden])") == "That is not its name."
        assert await alice.focused() == "typed"
        await page.fill("[data-action=typed]", "shielda-prod")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog.modal", state="detached")
        await page.wait_for_selector("text=Approve", state="detached")
        assert await alice.focused() != "BODY"  # the button is gone, and the focus stays with its message


async def test_every_input_of_a_form_reaches_the_app(world: SlackWorld) -> None:
    async with chromium() as browser, window(browser, world.base, "bob") as bob:
        await world.slack.command("bob", "incident", "open")
        await world.web.views_open(trigger_id=world.heard[-1]["trigger_id"], view=form())
        await bob.page.wait_for_selector("dialog.modal")
        await bob.page.fill("[data-action=typed]", "shielda-prod")
        await bob.page.check("#input-" + world.workspace.views("bob")[0]["id"] + "-b4 input >> nth=1")
        await bob.page.click("dialog .primary")
        await bob.page.wait_for_selector("dialog.modal", state="detached")
    values = next(body for body in reversed(world.heard) if body.get("type") == "view_submission")["view"]["state"]["values"]
    assert values["b0"]["e"] == {"type": "datepicker", "selected_date": "2025-01-15"}
    assert values["b1"]["e"]["selected_time"] == "10:30"
    assert values["b2"]["e"]["selected_date_time"] == 1736937000
    assert [one["value"] for one in values["b4"]["e"]["selected_options"]] == ["two"]
    assert values["b5"]["e"]["selected_users"] == []


async def test_a_phone_shows_the_messages_and_the_rest_on_demand(world: SlackWorld) -> None:
    async with chromium() as browser, window(browser, world.base, "bob", size=PHONE) as bob:
        await world.web.chat_postMessage(channel="C0INCIDENT", text="A plan", blocks=CARD)
        await bob.page.wait_for_selector("[data-action=dr_approve]")
        assert await bob.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert (await bob.page.locator("main").bounding_box())["width"] == PHONE["width"]
        assert not await bob.page.is_visible("#left")
        await world.slack.post("alice", "general", "news")
        await bob.page.click("#open-left")
        await bob.page.click("#channels .unread")
        await bob.page.wait_for_selector("text=news")
        assert not await bob.page.is_visible("#left")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_wrong(world: SlackWorld, theme: str) -> None:
    async with chromium() as browser, window(browser, world.base, "bob", color_scheme=theme) as bob:
        posted = await world.web.chat_postMessage(channel="C0INCIDENT", text="A plan", blocks=[*CARD, MENUS])
        await world.web.chat_postMessage(channel="C0INCIDENT", text="detail", thread_ts=posted["ts"])
        await world.slack.command("bob", "incident", "hello")
        await bob.page.click("text=1 reply")
        await bob.page.wait_for_selector("#thread:not([hidden])")
        assert await violations(bob.page) == []
        await bob.page.click("text=Disaster Recovery – home")
        await bob.page.wait_for_selector("#home [data-action=pick]")
        await bob.page.select_option("#home [data-action=pick]", "blue")
        assert await violations(bob.page) == []
        await world.web.views_open(trigger_id=world.heard[-1]["trigger_id"], view=form())
        await bob.page.wait_for_selector("dialog.modal")
        assert await violations(bob.page) == []
    clicked = next(body for body in reversed(world.heard) if body.get("type") == "block_actions")
    assert clicked["view"]["type"] == "home"
