"""Settings: dr.toml and the environment become one frozen value, or one clear line per mistake."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator

from actions.site import Section, Site, is_loopback
from bot.log import hide


class BadSettings(ValueError):
    """dr.toml or the environment cannot be used. The message names, line by line, file, key, mistake and expectation."""


class Secret(str):
    """A secret of the environment; it shows itself as *** in logs, messages and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def reveal(self) -> str:
        """The secret itself, for the one client that needs it."""
        return str.__str__(self)


class Slack(Section):
    """Where the bot speaks. `posts_per_second` is Slack's own limit per channel; a rehearsal may set it higher."""

    channel: str = Field(min_length=1)
    api_url: str = "https://slack.com/api/"
    mode: Literal["socket"] = "socket"
    posts_per_second: float = Field(default=1.0, gt=0)

    @field_validator("api_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        if not url.startswith("https://") and not is_loopback(url):
            raise ValueError(f"{url!r} is neither https nor a loopback address, and tokens would travel in clear")
        return url if url.endswith("/") else url + "/"


class State(Section):
    """Where runs are kept: this must not be the database that is being recovered."""

    url: str = "sqlite:///state.sqlite"

    @field_validator("url")
    @classmethod
    def _known_kind(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql://")):
            raise ValueError(f"{url.split(':')[0]!r} is no kind of state; sqlite:///... or postgresql://... is expected")
        return url


class Rule(Section):
    """Who may ask, who may approve, and how: user ids (U...) or user groups (S...)."""

    requesters: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    approvals: int = Field(default=1, ge=1, le=5)
    expiry_minutes: float = Field(default=15, gt=0, le=240)


class Override(Section):
    """What one scenario has otherwise than the rest."""

    requesters: tuple[str, ...] | None = None
    approvers: tuple[str, ...] | None = None
    approvals: int | None = Field(default=None, ge=1, le=5)
    expiry_minutes: float | None = Field(default=None, gt=0, le=240)


class Authority(Rule):
    """The rule for all scenarios, and overrides per scenario."""

    approvers: tuple[str, ...] = Field(min_length=1)
    scenario: dict[str, Override] = Field(default_factory=dict)

    def rule(self, scenario: str) -> Rule:
        """The rule that holds for a scenario."""
        base = self.model_dump(exclude={"scenario"})
        override = self.scenario.get(scenario)
        return Rule(**{**base, **(override.model_dump(exclude_none=True) if override else {})})


class Settings(Site):
    """All of dr.toml. `tokens` come from the environment and are never in the file."""

    slack: Slack
    state: State = State()
    authority: Authority

    @property
    def bot_token(self) -> Secret:
        """SLACK_BOT_TOKEN (xoxb-...). Raises `BadSettings` where it is missing."""
        return _secret("SLACK_BOT_TOKEN", "xoxb-")

    @property
    def app_token(self) -> Secret:
        """SLACK_APP_TOKEN (xapp-...), for Socket Mode. Raises `BadSettings` where it is missing."""
        return _secret("SLACK_APP_TOKEN", "xapp-")


def load(path: Path) -> Settings:
    """Read and check dr.toml. Raises `BadSettings` with a line per mistake."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror}); give another file with --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path}: is not TOML: {error}.") from error
    return from_mapping(raw, str(path))


def from_mapping(raw: Mapping[str, Any], name: str = "dr.toml") -> Settings:
    """Settings from parsed TOML. Raises `BadSettings` with a line per mistake."""
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise BadSettings("\n".join(f"{name}: {_one_line(line)}" for line in _lines(error))) from error
    unknown = [s for s in settings.authority.scenario if s not in _scenario_names()]
    if unknown:
        raise BadSettings(
            "\n".join(f"{name}: [authority.scenario] {s!r} is no scenario.{_near(s, _scenario_names())}" for s in unknown)
        )
    return settings


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
            given = repr(e["input"])
            yield hide(
                f"{where} is {given if len(given) <= 100 else given[:99] + '…'}: {e['msg'].removeprefix('Value error, ')}."
            )


def _one_line(text: str) -> str:
    """The text without line breaks, without secrets, and not longer than a person reads."""
    line = hide(" ".join(text.split()))
    return line if len(line) <= 500 else line[:499] + "…"


def _keys(sections: list[str]) -> list[str]:
    """The keys that a section of dr.toml may have."""
    model: type[BaseModel] | None = Settings
    for section in sections:
        info = model.model_fields.get(section) if model else None
        if info is None:
            return [*Override.model_fields]
        model = next((t for t in (info.annotation, *get_args(info.annotation)) if _is_model(t)), None)
    return [*model.model_fields] if model else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}." if known else ""


def _secret(name: str, prefix: str) -> Secret:
    value = os.environ.get(name, "")
    if not value.startswith(prefix):
        state = "is not set" if not value else f"does not begin with {prefix}"
        raise BadSettings(f"environment: {name} {state}; Slack's token of that kind is expected.")
    return Secret(value)
