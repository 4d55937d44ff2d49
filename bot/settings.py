"""Settings: dr.toml and the environment become one frozen value, or one clear line per mistake."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator

from actions import scrub
from actions.db.dsn import mistake
from actions.section import Label
from actions.site import Name, Number, Section, Site, Whole, is_loopback, texts, web_address
from bot.cron import is_cron
from commands.memory import VERIFICATION


class BadSettings(ValueError):
    """dr.toml or the environment can't be used. The message names, line by line, file, key, mistake and expectation."""


def _are_ids(ids: tuple[str, ...]) -> tuple[str, ...]:
    for number, one in enumerate(ids):
        if not re.fullmatch(r"[UWS][A-Z0-9]+", one):
            raise ValueError(f"{one!r} is not the id of a user (U..., W...) or of a user group (S...)")
        if one in ids[:number]:
            raise ValueError(f"{one} is listed twice; each id is expected once")
    return ids


Ids = Annotated[tuple[str, ...], AfterValidator(_are_ids)]
Approvals = Annotated[Whole, Field(ge=1, le=5)]
Minutes = Annotated[Number, Field(gt=0, le=240)]


class Slack(Section):
    """Where the bot posts, and how it receives. With `report` it uploads the report of each run into its thread.

    In `mode` "http" Slack posts to /slack/events at the address `listen`; in "socket" the bot opens the connections itself.
    `posts_per_second` is Slack's limit per channel; the other methods keep Slack's proportion to it.
    """

    channel: str
    api_url: str = "https://slack.com/api/"
    mode: Literal["socket", "http"] = "socket"
    listen: str = "127.0.0.1:3000"
    posts_per_second: Number = Field(default=1.0, ge=0.01, le=1000)
    report: bool = True

    @field_validator("channel")
    @classmethod
    def _is_id(cls, channel: str) -> str:
        if not re.fullmatch(r"[CG][A-Z0-9]+", channel):
            raise ValueError("the id of a channel (C...) is expected, as Slack shows it at the end of the channel's details")
        return channel

    @field_validator("listen")
    @classmethod
    def _is_address(cls, listen: str) -> str:
        if not re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}", listen) or not 0 < int(listen.rpartition(":")[2]) < 65536:
            raise ValueError("an address and a port of this machine are expected, such as 0.0.0.0:3000")
        return listen

    @field_validator("api_url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        if web_address(url).scheme != "https" and not is_loopback(url):
            raise ValueError("it is neither https nor a loopback address, and tokens would travel in clear")
        return url if url.endswith("/") else url + "/"


class State(Section):
    """Where runs are kept: this must not be the database that is being recovered."""

    url: str = Field(default="sqlite:///state.sqlite", repr=False)  # it may hold a password

    @field_validator("url")
    @classmethod
    def _is_usable(cls, url: str) -> str:
        kind = url.partition("://")[0]
        if kind == "sqlite" and (not url.startswith("sqlite:///") or re.fullmatch(r"(:memory:)?|.*\?.*", url[10:])):
            raise ValueError("it names no file; sqlite:///FILE is expected")
        if kind not in ("sqlite", "postgresql"):
            named = repr(kind) if re.fullmatch(r"[a-z+]{1,30}", kind) and kind != url else "that"
            raise ValueError(f"{named} is not a kind of state; sqlite:///... or postgresql://... is expected")
        if kind == "postgresql" and (wrong := mistake(url)):
            raise ValueError(f"{wrong}; postgresql://USER:PASSWORD@HOST:PORT/DATABASE is expected")
        return url


class Rule(Section):
    """Who may ask, who may approve, and how: user ids (U...) or user groups (S...)."""

    requesters: Ids = ()
    approvers: Ids = ()
    approvals: Approvals = 1
    expiry_minutes: Minutes = 15


class Override(Section):
    """What one scenario has differently from the rest."""

    requesters: Ids | None = None
    approvers: Ids | None = Field(default=None, min_length=1)
    approvals: Approvals | None = None
    expiry_minutes: Minutes | None = None


class Authority(Rule):
    """The rule for all scenarios, overrides per scenario, and the scenarios that need no approval if nobody attends."""

    approvers: Ids = Field(min_length=1)
    unattended: tuple[Name, ...] = ()
    scenario: dict[str, Override] = Field(default_factory=dict)

    def rule(self, scenario: str) -> Rule:
        """The rule that applies to a scenario."""
        base = self.model_dump(exclude={"scenario", "unattended"})
        override = self.scenario.get(scenario)
        return Rule(**{**base, **(override.model_dump(exclude_none=True) if override else {})})


class Backups(Section):
    """When backups are verified (a cron expression in UTC; "": only by hand), and who is mentioned if that goes wrong.

    `databases` are those whose backups are verified then, by their names in dr.toml; the first one if none is named.
    """

    verify: str = ""
    databases: tuple[Label, ...] = ()
    alert: Ids = ()

    @field_validator("verify")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        if cron and not is_cron(cron):
            raise ValueError("it is not a cron expression; five fields such as 0 4 * * 1 (Mondays at 04:00 UTC) are expected")
        return cron


class Settings(Site):
    """All of dr.toml. The tokens come from the environment and are never in the file."""

    slack: Slack
    state: State = State()
    authority: Authority
    backups: Backups = Backups()

    @model_validator(mode="after")
    def _verified_are_known(self) -> Settings:
        for name in self.backups.databases:
            if name not in self.databases:
                raise ValueError(f"[backups] databases has {name!r}; one of {', '.join(self.databases)} is expected")
        return self

    @property
    def bot_token(self) -> SecretStr:
        """SLACK_BOT_TOKEN (xoxb-...). Raises `BadSettings` if it is missing or can't be one."""
        return _token("SLACK_BOT_TOKEN", "xoxb-")

    @property
    def app_token(self) -> SecretStr:
        """SLACK_APP_TOKEN (xapp-...), for Socket Mode. Raises `BadSettings` if it is missing or can't be one."""
        return _token("SLACK_APP_TOKEN", "xapp-")

    @property
    def signing_secret(self) -> SecretStr:
        """SLACK_SIGNING_SECRET, for HTTP mode. Raises `BadSettings` if it is missing or can't be one."""
        secret = os.environ.get("SLACK_SIGNING_SECRET", "")
        if not re.fullmatch(r"[A-Za-z0-9_-]{16,}", secret):
            wrong = "is not set" if not secret else "can't be one: it is too short, or has a character in it that none has"
            where = "the app's signing secret (Basic Information, App Credentials) is expected"
            raise BadSettings(f'environment: SLACK_SIGNING_SECRET {wrong}; with [slack] mode = "http" {where}.')
        return SecretStr(secret)


def load(path: Path) -> Settings:
    """Read and check dr.toml, and learn which values are secrets. Raises `BadSettings` with a line per mistake."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror}); give another file with --config.") from error
    except RecursionError as error:
        raise BadSettings(f"{path}: is not TOML: its brackets are nested too deeply.") from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise BadSettings(f"{path}: is not TOML: {scrub.plain(error)}.") from error
    settings = from_mapping(raw, str(path))
    scrub.learn_environment({database.dsn_env for database in settings.databases.values()})
    if settings.state.url.startswith("postgresql:"):
        scrub.learn_dsn(settings.state.url)
    scrub.spare(texts({key: value for key, value in raw.items() if key != "state"}))
    return settings


def from_mapping(raw: Mapping[str, Any], name: str = "dr.toml") -> Settings:
    """Settings from parsed TOML. Raises `BadSettings` with a line per mistake."""
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise BadSettings("\n".join(f"{name}: {_one_line(line)}" for line in _lines(error))) from error
    if mistakes := [*_unknown_scenarios(settings), *_unstartable_schedule(settings)]:
        raise BadSettings("\n".join(f"{name}: {mistake}" for mistake in mistakes))
    return settings


def _unknown_scenarios(settings: Settings) -> Iterator[str]:
    named = [("[authority.scenario]", one) for one in settings.authority.scenario]
    named += [("[authority] unattended:", one) for one in settings.authority.unattended]
    for where, one in named:
        if one not in _scenario_names():
            yield f"{where} {one!r} is not a scenario.{_near(one, _scenario_names())}"


def _unstartable_schedule(settings: Settings) -> Iterator[str]:
    if settings.backups.verify and VERIFICATION not in settings.authority.unattended:
        yield f'[backups] verify would never start anything: [authority] unattended = ["{VERIFICATION}"] is expected with it.'


def _scenario_names() -> list[str]:
    from commands.scenario import SCENARIOS

    return list(SCENARIOS)


def _lines(error: ValidationError) -> Iterator[str]:
    for e in error.errors(include_url=False):
        *sections, key = [str(part) for part in e["loc"]] or [""]
        where = f"[{'.'.join(sections)}] {key}" if sections else f"[{key}]"
        if e["type"] == "extra_forbidden":
            yield f"{where} is not a known key.{_near(key, _keys(sections))}"
        elif e["type"] == "missing":
            yield f"{where} is missing, and it is needed."
        else:
            wrong = e["msg"].removeprefix("Value error, ")
            given = scrub.scrub(repr(e["input"]))
            shown = f"is {given if len(given) <= 100 else given[:99] + '…'}: " if where != "[state] url" else "cannot be used: "
            yield f"{where} {shown}{wrong}."


def _one_line(text: str) -> str:
    """The text without line breaks, without secrets, and not longer than a person reads."""
    line = scrub.scrub(" ".join(text.split()))
    return line if len(line) <= 500 else line[:499] + "…"


def _keys(sections: list[str]) -> list[str]:
    """The keys that a section of dr.toml may have: none that is known for the NAME of [services.NAME]."""
    model: type[BaseModel] | None = Settings
    for section in sections:
        info = model.model_fields.get(section) if model else None
        if info is not None:
            model = next((t for t in (info.annotation, *get_args(info.annotation)) if _is_model(t)), None)
    return [*model.model_fields] if model else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}." if known else ""


def _token(name: str, prefix: str) -> SecretStr:
    value = os.environ.get(name, "")
    if wrong := _wrong_token(value, prefix):
        raise BadSettings(f"environment: {name} {wrong}; Slack's token of that kind is expected.")
    return SecretStr(value)


def _wrong_token(value: str, prefix: str) -> str:
    if not value:
        return "is not set"
    if value != value.strip():
        return "has a blank or a line break around it"
    if not value.startswith(prefix):
        return f"does not begin with {prefix}"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value) or value == prefix:
        return "has characters that no token has, or too few of them"
    return ""
