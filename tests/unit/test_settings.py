"""dr.toml is read as it is meant, or refused with one line per mistake that names file, section and key."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.settings import BadSettings, Settings, from_mapping, load
from rehearsal import settings as rehearsed

EXAMPLE = Path(__file__).parents[2] / "dr.toml"
BASE: dict[str, Any] = tomllib.loads(EXAMPLE.read_text())
REHEARSED: dict[str, Any] = tomllib.loads(
    rehearsed.toml(
        slack_api="http://127.0.0.1:1/api/",
        state_url="sqlite:///state.sqlite",
        speed=600,
        endpoints={"us-west-2": "http://127.0.0.1:2", "us-east-1": "http://127.0.0.1:3"},
        public="http://127.0.0.1:4",
        expiry_minutes=15,
    )
)
LINE = re.compile(r"^dr\.toml: \[[^\n]*\][^\n]* .*\.$|^dr\.toml: \[[^\n]*\][^\n]*\?$")
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=10), scalars, max_size=3)


def with_(section: str, **keys: Any) -> dict[str, Any]:
    """The example with other keys in one section."""
    raw = copy.deepcopy(BASE)
    raw.setdefault(section, {}).update(keys)
    return raw


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(BadSettings) as raised:
        from_mapping(raw)
    return str(raised.value)


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """The example, or the rehearsal's own file, with one to three parts missing, added or otherwise."""
    raw = copy.deepcopy(draw(st.sampled_from([BASE, REHEARSED])))
    for _ in range(draw(st.integers(1, 3))):
        section = draw(st.sampled_from(sorted(raw)) | st.text(max_size=12)) if raw else draw(st.text(max_size=12))
        inner = raw.get(section)
        if not isinstance(inner, dict) or draw(st.integers(0, 5)) == 0:
            raw[section] = draw(values)
            continue
        key = draw(st.sampled_from(sorted(inner)) | st.text(max_size=12)) if inner else draw(st.text(max_size=12))
        if key in inner and draw(st.booleans()):
            del inner[key]
        else:
            inner[key] = draw(values)
    return raw


@given(mutations())
def test_whatever_the_file_says_it_loads_or_is_refused_line_by_line(raw: dict[str, Any]) -> None:
    try:
        settings = from_mapping(raw)
    except BadSettings as error:
        lines = str(error).split("\n")
        assert all(LINE.match(line) for line in lines), lines
        assert len(set(lines)) == len(lines)
        assert all(len(line) < 600 for line in lines), lines
        return
    assert isinstance(settings, Settings)


def test_the_example_file_loads() -> None:
    settings = load(EXAMPLE)
    assert settings.slack.channel == "C0INCIDENT"
    assert settings.authority.rule("database failover").approvals == 1


@pytest.mark.parametrize(
    ("section", "keys", "says"),
    [
        ("slack", {"chanel": "C0"}, "dr.toml: [slack] chanel is not a known key. Did you mean 'channel'?"),
        ("aws", {"regoin": "eu-west-1"}, "dr.toml: [aws] regoin is not a known key. Did you mean 'region'?"),
        ("targets", {"rto_minutes": 0}, "dr.toml: [targets] rto_minutes is 0: Input should be greater than 0."),
        ("targets", {"rto_minutes": "soon"}, "dr.toml: [targets] rto_minutes is 'soon': Input should be a valid integer"),
        ("authority", {"approvers": []}, "dr.toml: [authority] approvers is []: "),
        ("slack", {"api_url": "http://slack.example/api/"}, "neither https nor a loopback address"),
        ("slack", {"mode": "http"}, "dr.toml: [slack] mode is 'http': "),
        ("state", {"url": "mysql://x/y"}, "'mysql' is no kind of state; sqlite:///... or postgresql://... is expected"),
        ("control_plane", {"health_url": "app.shielda.dev"}, "is not an http or https address"),
        ("aws", {"endpoints": {"us-west-2": "http://10.0.0.1:1"}}, "only a loopback address (127.0.0.1) is allowed"),
        ("aws", {"speed": 60.0}, "speed is for a rehearsal only"),
    ],
)
def test_a_mistake_is_one_line_that_names_section_key_value_and_expectation(
    section: str, keys: dict[str, Any], says: str
) -> None:
    said = refusal(with_(section, **keys))
    assert says in said
    assert len(said.splitlines()) == 1


def test_every_mistake_has_its_line() -> None:
    raw = with_("slack", chanel="C0", channel="")
    del raw["database"]["instance"]
    lines = refusal(raw).splitlines()
    assert len(lines) == 3
    assert "dr.toml: [database] instance is missing, and it is needed." in lines


def test_an_unknown_section_gets_the_nearest_known_one() -> None:
    assert refusal(with_("databse", instance="x")) == "dr.toml: [databse] is not a known key. Did you mean 'database'?"


def test_a_missing_section_is_named() -> None:
    raw = copy.deepcopy(BASE)
    del raw["control_plane"]
    assert refusal(raw) == "dr.toml: [control_plane] is missing, and it is needed."


def test_a_rule_for_what_is_no_scenario_is_refused_with_the_nearest() -> None:
    said = refusal(with_("authority", scenario={"database failovr": {"approvals": 2}}))
    assert said == "dr.toml: [authority.scenario] 'database failovr' is no scenario. Did you mean 'database failover'?"


def test_a_scenarios_own_rule_overrides_the_general_one() -> None:
    raw = with_("authority", scenario={"database failover": {"approvals": 2, "approvers": ["U0CAROL"]}})
    rule = from_mapping(raw).authority.rule("database failover")
    assert (rule.approvals, rule.approvers) == (2, ("U0CAROL",))
    assert rule.requesters == tuple(BASE["authority"]["requesters"])
    assert from_mapping(raw).authority.rule("control-plane restart").approvals == 1


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("state", {"url": "postgres://dr:geheim@db/dr"}),
        ("slack", {"api_url": "http://bot:geheim@slack.example/"}),
        ("control_plane", {"health_url": "ftp://me:geheim@app"}),
        ("aws", {"endpoints": {"us-west-2": "https://me:geheim@aws.example"}}),
        ("slack", {"bot_token": "xoxb-geheim-1"}),
        ("slack", {"channel": ["xapp-geheim-1"]}),
    ],
)
def test_a_secret_that_was_put_into_the_file_is_not_in_the_message(section: str, keys: dict[str, Any]) -> None:
    assert "geheim" not in refusal(with_(section, **keys))


@pytest.mark.parametrize(
    ("text", "says"), [(None, "cannot be read"), (b"[slack", "is not TOML"), (b"\xff\xfe", "is not TOML")], ids=str
)
def test_a_file_that_cannot_be_read_is_one_line_with_its_name(tmp_path: Path, text: bytes | None, says: str) -> None:
    path = tmp_path / "dr.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(BadSettings, match=says) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(("value", "says"), [("", "is not set"), ("xoxp-geheim", "does not begin with xoxb-")])
def test_a_missing_or_wrong_token_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", value)
    with pytest.raises(BadSettings, match=f"environment: SLACK_BOT_TOKEN {says}") as raised:
        _ = load(EXAMPLE).bot_token
    assert "geheim" not in str(raised.value)
