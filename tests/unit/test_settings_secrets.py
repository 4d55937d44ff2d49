"""Secrets of the settings: which are missing is said, and none shows itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.settings import BadSettings, from_mapping, load
from tests.conftest import SetVariable
from tests.unit.example_settings import EXAMPLE, refusal, with_


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("state", {"url": "postgres://dr:geheim@db/dr"}),
        ("slack", {"api_url": "http://bot:geheim@slack.example/"}),
        ("services.control-plane", {"health_url": "ftp://me:geheim@app"}),
        ("aws", {"endpoints": {"us-west-2": "https://me:geheim@aws.example"}}),
        ("slack", {"bot_token": "xoxb-geheim-1"}),
        ("slack", {"channel": ["xapp-geheim-1"]}),
    ],
)
def test_a_secret_that_was_put_into_the_file_is_not_in_the_message(section: str, keys: dict[str, Any]) -> None:
    assert "geheim" not in refusal(with_(section, **keys))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is not set"),
        ("xoxp-geheim", "does not begin with xoxb-"),
        ("xoxb-geheim\n", "has a blank or a line break around it"),
        (" xoxb-geheim", "has a blank or a line break around it"),
        ("xoxb-gehe im", "has characters that no token has"),
        ("xoxb-gehéim", "has characters that no token has"),
        ("xoxb-", "has characters that no token has, or too few of them"),
        ("'xoxb-geheim'", "does not begin with xoxb-"),
    ],
)
def test_a_missing_or_wrong_token_is_named_and_not_shown(set_variable: SetVariable, value: str, says: str) -> None:
    set_variable("SLACK_BOT_TOKEN", value)
    with pytest.raises(BadSettings, match=f"environment: SLACK_BOT_TOKEN {says}") as raised:
        _ = load(EXAMPLE).bot_token
    assert "geheim" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "says"), [("", "is not set"), ("geheim", "can't be one"), ("geheim" * 4 + "\n", "can't be one")]
)
def test_a_missing_or_wrong_signing_secret_is_named_and_not_shown(set_variable: SetVariable, value: str, says: str) -> None:
    set_variable("SLACK_SIGNING_SECRET", value)
    with pytest.raises(BadSettings, match=f"environment: SLACK_SIGNING_SECRET {says}") as raised:
        _ = load(EXAMPLE).signing_secret
    assert "geheim" not in str(raised.value)


def test_no_token_and_no_dsn_shows_itself(set_variable: SetVariable) -> None:
    set_variable("SLACK_BOT_TOKEN", "xoxb-geheim")
    set_variable("DATABASE_URL", "postgresql://dr:geheim@db/x")
    known = from_mapping(with_("state", url="postgresql://dr:geheim@db/x"))
    for secret in (known.bot_token, known.database().dsn):
        assert "geheim" not in f"{secret} {secret!r} {[secret]} %s" % secret
        with pytest.raises(TypeError):
            json.dumps(secret)
        with pytest.raises(TypeError):
            _ = "x" + secret  # type: ignore[operator]
        assert "geheim" in secret.get_secret_value()
    assert "geheim" not in repr(known)
