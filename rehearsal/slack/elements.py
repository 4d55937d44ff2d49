"""The interactive elements in blocks: buttons, menus, pickers and fields, each with its fields and its limits.

The fields are those of @slack/types 3, the limits those of Slack's Block Kit reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date
from typing import Any
from zoneinfo import available_timezones

from rehearsal.slack.checking import STYLES, Checker

Json = dict[str, Any]
CONVERSATIONS = frozenset({"im", "mpim", "private", "public"})
MENUS = frozenset({"static_select", "external_select", "users_select", "conversations_select", "channels_select"})
MULTI_MENUS = frozenset(f"multi_{name}" for name in MENUS)
FIELDS = frozenset(
    {"plain_text_input", "email_text_input", "url_text_input", "number_input", "rich_text_input", "file_input"},
)
PICKERS = frozenset({"datepicker", "timepicker", "datetimepicker"})
CHOICES = frozenset({"radio_buttons", "checkboxes"})


def element(check: Checker, value: Any, allowed: Collection[str], at: str) -> None:
    """The value must be a valid element of one of the allowed types."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind is None or kind not in allowed:
        check.say(f"{at}/type", f"unsupported type: {kind}")
        return
    keys, rule = ELEMENTS[kind]
    check.only(value, f"type {keys}", at)
    check.short(value, "action_id", 255, at)
    if "confirm" in value:
        check.confirm(value["confirm"], f"{at}/confirm")
    if "placeholder" in value:
        check.text(value["placeholder"], f"{at}/placeholder", 150, kinds="plain_text")
    rule(check, value, at)


def image(check: Checker, value: Json, at: str) -> None:
    """The value must name a picture and say what it shows."""
    if "slack_file" not in value:
        check.need(value, "image_url", at)
    elif not isinstance(value["slack_file"], dict) or not value["slack_file"].keys() & {"id", "url"}:
        check.say(f"{at}/slack_file", "missing required field: id or url")
    check.url(value, "image_url", at, web=True)
    check.words(value, "alt_text", 2000, at)


def _button(check: Checker, value: Json, at: str) -> None:
    check.text(value.get("text"), f"{at}/text", 75, kinds="plain_text")
    check.short(value, "value", 2000, at)
    check.url(value, "url", at)
    check.short(value, "accessibility_label", 75, at)
    check.one_of(value, "style", STYLES, at)


def _workflow_button(check: Checker, value: Json, at: str) -> None:
    _button(check, value, at)
    if not isinstance(value.get("workflow"), dict) or not isinstance(value["workflow"].get("trigger"), dict):
        check.say(at, "missing required field: workflow")


def _icon_button(check: Checker, value: Json, at: str) -> None:
    check.need(value, "icon", at)
    check.text(value.get("text"), f"{at}/text", 75, kinds="plain_text")
    check.short(value, "value", 2000, at)
    check.short(value, "accessibility_label", 75, at)


def _feedback_buttons(check: Checker, value: Json, at: str) -> None:
    for name in ("positive_button", "negative_button"):
        button = value.get(name)
        if not isinstance(button, dict):
            check.say(at, f"missing required field: {name}")
            continue
        check.only(button, "text value accessibility_label", f"{at}/{name}")
        check.text(button.get("text"), f"{at}/{name}/text", 75, kinds="plain_text")
        check.words(button, "value", 2000, f"{at}/{name}")


def _option(check: Checker, value: Any, at: str, kinds: str, keys: str = "text value description") -> None:
    if not isinstance(value, dict):
        check.say(at, "must be an object")
        return
    check.only(value, keys, at)
    check.text(value.get("text"), f"{at}/text", 75, kinds=kinds)
    check.words(value, "value", 150, at)
    check.url(value, "url", at)
    if "description" in value:
        check.text(value["description"], f"{at}/description", 75, kinds=kinds)


def _options(check: Checker, value: Json, most: int, at: str, kinds: str = "plain_text", **more: str) -> list[Any]:
    options = check.items(value, "options", most, at)
    for number, option in enumerate(options):
        _option(check, option, f"{at}/options/{number}", kinds, **more)
    return options


def _initial(check: Checker, value: Json, options: list[Any], at: str) -> None:
    """What is chosen at first must be among the options, in exactly their words."""
    if "initial_option" in value and value["initial_option"] not in options:
        check.say(f"{at}/initial_option", "must be one of the options")
    if "initial_options" in value:
        for number, option in enumerate(check.items(value, "initial_options", 100, at)):
            if option not in options:
                check.say(f"{at}/initial_options/{number}", "must be one of the options")


def _overflow(check: Checker, value: Json, at: str) -> None:
    _options(check, value, 5, at, keys="text value description url")


def _choice(check: Checker, value: Json, at: str) -> None:
    _initial(check, value, _options(check, value, 10, at, "plain_text mrkdwn"), at)


def _static_select(check: Checker, value: Json, at: str) -> None:
    if "option_groups" not in value:
        options = _options(check, value, 100, at)
    elif "options" in value:
        check.say(at, "options and option_groups exclude each other")
        return
    else:
        options = []
        for number, group in enumerate(check.items(value, "option_groups", 100, at)):
            where = f"{at}/option_groups/{number}"
            if not isinstance(group, dict):
                check.say(where, "must be an object")
                continue
            check.only(group, "label options", where)
            check.text(group.get("label"), f"{where}/label", 75, kinds="plain_text")
            options += _options(check, group, 100, where)
    _initial(check, value, options, at)
    _most_items(check, value, at)


def _most_items(check: Checker, value: Json, at: str) -> None:
    check.between(value, "max_selected_items", 1, 1000, at)


def _external_select(check: Checker, value: Json, at: str) -> None:
    check.between(value, "min_query_length", 0, 100, at)
    _most_items(check, value, at)
    chosen = [value["initial_option"]] if "initial_option" in value else value.get("initial_options", [])
    for number, option in enumerate(chosen if isinstance(chosen, list) else []):
        _option(check, option, f"{at}/initial_options/{number}", "plain_text")


def _people_or_channels(check: Checker, value: Json, at: str) -> None:
    _most_items(check, value, at)
    for name in ("initial_user", "initial_conversation", "initial_channel"):
        check.matches(value, name, r"[UWCGD][A-Z0-9]+", "of an id, such as U0123ABCD", at)
    wanted = value.get("filter")
    if wanted is None:
        return
    if not isinstance(wanted, dict) or not wanted:
        check.say(f"{at}/filter", "must have at least one field")
        return
    check.only(wanted, "include exclude_external_shared_channels exclude_bot_users", f"{at}/filter")
    for kind in wanted.get("include", []):
        if kind not in CONVERSATIONS:
            check.say(f"{at}/filter/include", f"must be one of: {', '.join(sorted(CONVERSATIONS))}")


def _plain_text_input(check: Checker, value: Json, at: str) -> None:
    check.short(value, "initial_value", 3000, at)
    check.between(value, "min_length", 0, 3000, at)
    check.between(value, "max_length", 1, 3000, at)


def _number_input(check: Checker, value: Json, at: str) -> None:
    if not isinstance(value.get("is_decimal_allowed"), bool):
        check.say(at, "missing required field: is_decimal_allowed")
    for name in ("initial_value", "min_value", "max_value"):
        check.matches(value, name, r"-?\d+(\.\d+)?", "of a number", at)


def _rich_text_input(check: Checker, value: Json, at: str) -> None:
    check.between(value, "min_lines", 1, 100, at)
    check.between(value, "max_lines", 1, 100, at)


def _file_input(check: Checker, value: Json, at: str) -> None:
    check.between(value, "max_files", 1, 10, at)


def _datepicker(check: Checker, value: Json, at: str) -> None:
    given = value.get("initial_date")
    if given is not None and not _is_day(given):
        check.say(f"{at}/initial_date", "must be a date in the format YYYY-MM-DD")


def _is_day(given: Any) -> bool:
    try:
        return isinstance(given, str) and date.fromisoformat(given).isoformat() == given
    except (TypeError, ValueError):
        return False


def _timepicker(check: Checker, value: Json, at: str) -> None:
    given, zone = value.get("initial_time"), value.get("timezone")
    if given is not None and not (isinstance(given, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", given)):
        check.say(f"{at}/initial_time", "must be a time in the format HH:mm")
    if zone is not None and (not isinstance(zone, str) or zone not in available_timezones()):
        check.say(f"{at}/timezone", "must be a valid IANA time zone")


def _datetimepicker(check: Checker, value: Json, at: str) -> None:
    given = value.get("initial_date_time")
    if given is not None and (not isinstance(given, int) or len(str(given)) != 10):
        check.say(f"{at}/initial_date_time", "must be a Unix time stamp of 10 digits")


Rule = Callable[[Checker, Json, str], None]
USUAL = "action_id confirm focus_on_load"
MENU = f"{USUAL} placeholder"
TEXT = "action_id placeholder focus_on_load dispatch_action_config initial_value"
ELEMENTS: dict[str, tuple[str, Rule]] = {
    "button": ("text action_id url value style confirm accessibility_label", _button),
    "workflow_button": ("text action_id workflow style accessibility_label", _workflow_button),
    "icon_button": ("icon text action_id value confirm accessibility_label visible_to_user_ids", _icon_button),
    "feedback_buttons": ("action_id positive_button negative_button", _feedback_buttons),
    "overflow": ("action_id options confirm", _overflow),
    "radio_buttons": (f"{USUAL} options initial_option", _choice),
    "checkboxes": (f"{USUAL} options initial_options", _choice),
    "static_select": (f"{MENU} options option_groups initial_option", _static_select),
    "multi_static_select": (f"{MENU} options option_groups initial_options max_selected_items", _static_select),
    "external_select": (f"{MENU} initial_option min_query_length", _external_select),
    "multi_external_select": (f"{MENU} initial_options min_query_length max_selected_items", _external_select),
    "users_select": (f"{MENU} initial_user", _people_or_channels),
    "multi_users_select": (f"{MENU} initial_users max_selected_items", _people_or_channels),
    "channels_select": (f"{MENU} initial_channel response_url_enabled", _people_or_channels),
    "multi_channels_select": (f"{MENU} initial_channels max_selected_items", _people_or_channels),
    "conversations_select": (
        f"{MENU} initial_conversation default_to_current_conversation response_url_enabled filter",
        _people_or_channels,
    ),
    "multi_conversations_select": (
        f"{MENU} initial_conversations default_to_current_conversation max_selected_items filter",
        _people_or_channels,
    ),
    "datepicker": (f"{MENU} initial_date", _datepicker),
    "timepicker": (f"{MENU} initial_time timezone", _timepicker),
    "datetimepicker": (f"{USUAL} initial_date_time", _datetimepicker),
    "plain_text_input": (f"{TEXT} multiline min_length max_length", _plain_text_input),
    "email_text_input": (TEXT, _plain_text_input),
    "url_text_input": (TEXT, _plain_text_input),
    "number_input": (f"{TEXT} is_decimal_allowed min_value max_value", _number_input),
    "rich_text_input": (f"{TEXT} min_lines max_lines", _rich_text_input),
    "file_input": ("action_id filetypes max_files", _file_input),
    "image": ("image_url slack_file alt_text", image),
}
