"""A plan that wants a name typed: its button, the form behind it, and what of the form is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.slack import cards
from bot.slack.app import Malformed, read_form
from bot.slack.look import Look
from bot.state.approvals import Click
from bot.state.story import Offer
from commands.plan import Plan, changes
from rehearsal.slack import blocks as slack
from tests.unit.test_plan_cards import offered, plan_with

VALUE = "abcdefgh:plan:nonce"


def typed_plan(**other: Any) -> Plan:
    return plan_with(confirm="shielda-prod", interrupts="every write to shielda-prod", cost=("It costs <much>.",), **other)


def form(text: object, metadata: str = f"C0INCIDENT|{VALUE}|approve") -> dict[str, Any]:
    values = {"typed": {"typed": {"type": "plain_text_input", "value": text}}}
    view = {"id": "V1", "callback_id": "dr_confirm", "private_metadata": metadata, "state": {"values": values}}
    return {"type": "view_submission", "user": {"id": "U0BOB"}, "view": view}


def test_the_card_says_what_to_type_and_its_button_asks_nothing_by_itself() -> None:
    _, made = cards.render(offered(typed_plan()), Look())
    assert "must approve*, and type `shielda-prod`, by" in json.dumps(made)
    (button,) = [e for b in made if b["type"] == "actions" for e in b["elements"] if e["action_id"] == "dr_approve"]
    assert (button["text"]["text"], "confirm" in button) == ("Approve: interrupt every write to shielda-prod", False)


def test_the_form_says_what_is_at_stake_and_is_one_that_slack_takes() -> None:
    offer: Offer = offered(typed_plan()).offer
    made = cards.name_form(offer, VALUE, "C0INCIDENT")
    assert slack.view_problems(made) == []
    text = json.dumps(made)
    for said in (
        "This interrupts every write to shielda-prod.",
        "It costs &lt;much&gt;.",
        "Type shielda-prod to approve",
        offer.digest[:12],
    ):
        assert said in text


def test_a_submitted_name_is_an_approval_with_the_buttons_own_value() -> None:
    item = read_form(form(" shielda-prod "))
    assert item.payload == {"value": VALUE, "choice": "approve", "typed": "shielda-prod"}
    assert Click.from_value(item.payload["value"]) == Click(run_id="abcdefgh", question="plan", nonce="nonce")


@pytest.mark.parametrize("typed", ["", "shielda-pro", "Shielda-prod", "shielda-prod.", "shielda prod", "*"])
def test_another_name_gets_one_line_that_says_so(typed: str) -> None:
    says = cards.wrong_name(typed_plan(), typed)
    assert says == "That isn't shielda-prod. Type exactly this name, or go back; nothing was done."
    assert cards.wrong_name(typed_plan(), "shielda-prod") == ""


@pytest.mark.parametrize("text", [None, 7, "\x00", {}])
def test_a_form_with_anything_else_in_it_types_no_name(text: object) -> None:
    assert read_form(form(text)).payload["typed"] == ""


@pytest.mark.parametrize("metadata", ["C0INCIDENT|nonsense|approve", f"|{VALUE}|approve", f"C0INCIDENT|{VALUE}|approves"])
def test_a_form_with_another_origin_than_ours_is_malformed(metadata: str) -> None:
    with pytest.raises(Malformed):
        read_form(form("shielda-prod", metadata))


def test_the_name_is_stored_with_the_plan_and_bound_by_its_digest() -> None:
    plan = typed_plan()
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))).confirm == "shielda-prod"
    other = plan_with(confirm="another", interrupts="every write to shielda-prod", cost=("It costs <much>.",))
    assert plan.digest != other.digest
    assert changes(plan, other)
