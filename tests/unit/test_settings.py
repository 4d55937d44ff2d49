"""dr.toml is read as it is meant, or refused with one line per mistake that names file, section and key."""

from __future__ import annotations

import copy
import math
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.settings import BadSettings, Settings, from_mapping, load
from rehearsal import settings as rehearsed
from tests.unit.example_settings import BASE, EXAMPLE, LINE, refusal, with_

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
moments = st.datetimes() | st.dates() | st.times()
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | moments
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=10), scalars, max_size=3)


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """The example, or the rehearsal's own file, with one to three parts missing, added or changed."""
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
        loaded = from_mapping(raw)
    except BadSettings as error:
        lines = str(error).split("\n")
        assert all(LINE.match(line) for line in lines), lines
        assert len(set(lines)) == len(lines)
        assert all(len(line) < 600 for line in lines), lines
        return
    assert isinstance(loaded, Settings)


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
        ("slack", {"mode": "https"}, "dr.toml: [slack] mode is 'https': Input should be 'socket' or 'http'."),
        ("slack", {"listen": "3000"}, "[slack] listen is '3000': an address and a port of this machine are expected, such as"),
        ("slack", {"listen": "0.0.0.0:70000"}, "[slack] listen is '0.0.0.0:70000': an address and a port of this machine"),
        ("state", {"url": "mysql://x/y"}, "'mysql' is not a kind of state; sqlite:///... or postgresql://... is expected"),
        ("services.control-plane", {"health_url": "app.shielda.dev"}, "is not an http or https address"),
        ("aws", {"endpoints": {"us-west-2": "http://10.0.0.1:1"}}, "only a loopback address (127.0.0.1) is allowed"),
        ("aws", {"speed": 60.0}, "speed is for a rehearsal only"),
        ("aws", {"speed": math.inf}, "dr.toml: [aws] speed is inf: Input should be a finite number"),
        ("aws", {"speed": math.nan}, "dr.toml: [aws] speed is nan: Input should be a finite number"),
        ("aws", {"speed": True}, "dr.toml: [aws] speed is True: Input should be a valid number"),
        ("aws", {"speed": -60.0}, "dr.toml: [aws] speed is -60.0: Input should be greater than or equal to 1."),
        ("aws", {"endpoints": {"us-west-2": "ftp://127.0.0.1:1"}}, "it is not an http or https address; https://HOST/PATH"),
        ("aws", {"endpoints": {"us-west-2": "http://127.0.0.1:70000"}}, "a port from 1 to 65535 is expected"),
        ("slack", {"api_url": "ftp://127.0.0.1/api/"}, "dr.toml: [slack] api_url is 'ftp://127.0.0.1/api/': it is not an http"),
        ("slack", {"channel": "#incident"}, "dr.toml: [slack] channel is '#incident': the id of a channel (C...) is expected"),
        ("slack", {"channel": " C0INCIDENT"}, "dr.toml: [slack] channel is ' C0INCIDENT': blanks around a text"),
        ("slack", {"posts_per_second": 0}, "dr.toml: [slack] posts_per_second is 0: Input should be greater than or equal to"),
        ("slack", {"posts_per_second": math.inf}, "Input should be a finite number"),
        (
            "services.control-plane",
            {"health_url": "http://app:99999/x"},
            "its host or port cannot be read; http://HOST:PORT/PATH",
        ),
        ("services.control-plane", {"health_url": "http://app:0/x"}, "with a port from 1 to 65535 is expected"),
        ("services.control-plane", {"health_url": "http://app:port/x"}, "its host or port cannot be read"),
        ("services.control-plane", {"health_url": "http://[::1/x"}, "its host or port cannot be read"),
        (
            "services.control-plane",
            {"health_url": ""},
            "dr.toml: [services.control-plane] health_url is '': it is not an http or https address",
        ),
        (
            "services.control-plane",
            {"health_url": "http://me:geheim@app/"},
            "there is a secret in it, which the channel would see",
        ),
        ("services.control-plane", {"health_url": "http://me@app/"}, "it has a user or the port 0 in it"),
        (
            "services.control-plane",
            {"health_url": "http://app/?token=geheim"},
            "there is a secret in it, which the channel would see",
        ),
        (
            "services.control-plane",
            {"cluster": ""},
            "dr.toml: [services.control-plane] cluster is '': String should have at least 1 character.",
        ),
        ("services.control-plane", {"service": "a\x00b"}, "line breaks and control characters are not allowed"),
        ("databases.primary", {"dsn_env": ""}, "dr.toml: [databases.primary] dsn_env is '': String should match pattern"),
        (
            "databases.primary",
            {"dsn_env": "MY DSN"},
            "dr.toml: [databases.primary] dsn_env is 'MY DSN': String should match pattern",
        ),
        (
            "databases.primary",
            {"heartbeat_table": "Heart; beat"},
            "[databases.primary] heartbeat_table is 'Heart; beat': it is not a table name; NAME or SCHEMA.NAME in small letters",
        ),
        ("state", {"url": "sqlite:///"}, "dr.toml: [state] url cannot be used: it names no file; sqlite:///FILE is expected."),
        ("state", {"url": "sqlite:///:memory:"}, "it names no file"),
        ("state", {"url": "sqlite://x"}, "it names no file"),
        (
            "state",
            {"url": "postgresql://dr:geheim@db:abc/"},
            "its port is not a number from 1 to 65535; postgresql://USER:PASSWORD@",
        ),
        ("state", {"url": "postgresql://dr:ge@heim@db/"}, "dr.toml: [state] url cannot be used: it has a raw @ in its password"),
        ("targets", {"rpo_minutes": -5}, "dr.toml: [targets] rpo_minutes is -5: Input should be greater than 0."),
        ("targets", {"rpo_minutes": True}, "dr.toml: [targets] rpo_minutes is True: Input should be a valid integer."),
        ("authority", {"approvers": ["U0BOB", "U0BOB"]}, "U0BOB is listed twice; each id is expected once."),
        ("authority", {"approvers": ["U0BOB", "@alice"]}, "'@alice' is not the id of a user (U..., W...) or of a user group"),
        ("authority", {"requesters": [""]}, "'' is not the id of a user"),
        ("authority", {"expiry_minutes": math.nan}, "dr.toml: [authority] expiry_minutes is nan: Input should be a finite"),
        ("authority", {"scenario": {"database failover": {"approvers": []}}}, "failover] approvers is []"),
    ],
)
def test_a_mistake_is_one_line_that_names_section_key_value_and_expectation(
    section: str, keys: dict[str, Any], says: str
) -> None:
    said = refusal(with_(section, **keys))
    assert says in said
    assert len(said.splitlines()) == 1


def test_a_service_of_an_unknown_database_is_refused_with_the_known_ones() -> None:
    said = refusal(with_("services.control-plane", database="primry"))
    assert "[services.control-plane] database is 'primry'; one of primary, replica is expected" in said


def test_every_mistake_has_its_line() -> None:
    raw = with_("slack", chanel="C0", channel="")
    del raw["databases"]["primary"]["instance"]
    lines = refusal(raw).splitlines()
    assert len(lines) == 3
    assert "dr.toml: [databases.primary] instance is missing, and it is needed." in lines


def test_an_unknown_section_gets_the_nearest_known_one() -> None:
    assert refusal(with_("databse", instance="x")) == "dr.toml: [databse] is not a known key. Did you mean 'databases'?"


def test_a_missing_section_is_named() -> None:
    raw = copy.deepcopy(BASE)
    del raw["services"]
    assert refusal(raw) == "dr.toml: [services] is missing, and it is needed."


def test_a_rule_for_what_is_no_scenario_is_refused_with_the_nearest() -> None:
    said = refusal(with_("authority", scenario={"database failovr": {"approvals": 2}}))
    assert said == "dr.toml: [authority.scenario] 'database failovr' is not a scenario. Did you mean 'database failover'?"


def test_a_scenarios_own_rule_overrides_the_general_one() -> None:
    raw = with_("authority", scenario={"database failover": {"approvals": 2, "approvers": ["U0CAROL"]}})
    rule = from_mapping(raw).authority.rule("database failover")
    assert (rule.approvals, rule.approvers) == (2, ("U0CAROL",))
    assert rule.requesters == tuple(BASE["authority"]["requesters"])
    assert from_mapping(raw).authority.rule("control-plane restart").approvals == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        (b"[slack", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "is not TOML"),
        (b"a = '\x00'", "is not TOML"),
    ],
    ids=range(6),
)
def test_a_file_that_cannot_be_read_is_one_line_with_its_name(tmp_path: Path, text: bytes | None, says: str) -> None:
    path = tmp_path / "dr.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(BadSettings, match=says) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).splitlines()) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=60) | st.text(alphabet="[]{}=\"'#.,ab1\n ", max_size=60).map(str.encode))
def test_whatever_the_file_holds_it_loads_or_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "any.toml"
    for content in (text, EXAMPLE.read_bytes() + text):
        path.write_bytes(content)
        with suppress(BadSettings):
            load(path)


def test_a_schedule_of_verifications_needs_a_cron_expression_and_the_policy() -> None:
    allowed = with_("authority", unattended=["backup verify", "control-plane restart"])
    assert from_mapping(allowed).authority.unattended == ("backup verify", "control-plane restart")
    for wrong, says in (
        (with_("authority", unattended=["backup verify", "control-plane restrt"]), "Did you mean 'control-plane restart'?"),
        (with_("backups", verify="every monday"), "five fields such as 0 4 * * 1"),
        (with_("backups", databases=["billing"]), "[backups] databases has 'billing'; one of primary"),
        (with_("authority", unattended=[]), '[authority] unattended = ["backup verify"] is expected with it.'),
    ):
        with pytest.raises(BadSettings) as raised:
            from_mapping(wrong)
        assert says in str(raised.value)
        assert LINE.match(str(raised.value))
