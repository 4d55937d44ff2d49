"""The site: what is recovered, by its own names. These are the sections of dr.toml that actions and scenarios read."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

from actions.scrub import scrub

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # else True would be 1, and "inf" a speed
Whole = Annotated[int, Field(strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]  # the NAME of [services.NAME] and [databases.NAME]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
UnitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@_.-]{0,99}$")]  # of systemd or docker; needs no quotes
UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=3600)]
TABLE_NAME = r"[a-z_][a-z0-9_]{0,62}(?:\.[a-z_][a-z0-9_]{0,62})?"  # one that needs no quotes


class Section(BaseModel):
    """A section of dr.toml: frozen, an unknown key is an error, and no text has blanks around it or holds control characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        for text in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []:
            if isinstance(text, str) and (text != text.strip() or not text.isprintable()):
                raise ValueError("blanks around a text, line breaks and control characters are not allowed")
        return value


class Aws(Section):
    """Where AWS is. `endpoints` and `speed` belong to a rehearsal and are refused unless every address is loopback."""

    region: Name
    dr_region: str = ""
    endpoints: dict[str, str] = Field(default_factory=dict)
    role_arn: str = ""
    speed: Number = Field(default=1.0, ge=1.0, le=100_000)

    @field_validator("endpoints")
    @classmethod
    def _loopback_only(cls, endpoints: dict[str, str]) -> dict[str, str]:
        for region, url in endpoints.items():
            web_address(url)
            if not is_loopback(url):
                raise ValueError(f"the endpoint of {region} is {url}, and only a loopback address (127.0.0.1) is allowed")
        return endpoints

    @model_validator(mode="after")
    def _rehearsal_is_whole(self) -> Aws:
        if self.speed != 1.0 and not self.endpoints:
            raise ValueError("speed is for a rehearsal only; remove it, or give [aws.endpoints] on loopback")
        missing = {self.region, self.dr_region or self.region} - set(self.endpoints)
        if self.endpoints and missing:
            raise ValueError(f"endpoints are given, but none for {', '.join(sorted(missing))}")
        return self


class ServiceSection(Section):
    """A service that is restarted and rolled back, the addresses that prove it, and the database it uses ("": the first)."""

    cluster: Name
    service: Name
    log_group: Name
    health_url: str
    region_health_url: str = ""
    database: str = ""
    database_secret: str = ""

    @field_validator("health_url", "region_health_url")
    @classmethod
    def _is_http(cls, url: str, info: ValidationInfo) -> str:
        if url or info.field_name == "health_url":
            web_address(url)
        return url


class DatabaseSection(Section):
    """A database that is recovered. `dsn_env` names the variable that holds its DSN; `region` is that of [aws] if it is "".

    `verify_percent` is by how much the rows of a table in a verified backup may differ, `verify_tables` of which (none: of all).
    """

    instance: Name
    region: str = ""
    dsn_env: Variable = "DATABASE_URL"
    alarm: str = ""
    replica: str = ""
    restore_prefix: str = ""
    verify_prefix: str = ""
    verify_percent: Whole = Field(default=20, gt=0, le=100)
    verify_tables: tuple[str, ...] = ()
    heartbeat_table: str = ""

    @field_validator("verify_tables")
    @classmethod
    def _are_tables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if "." not in name or not re.fullmatch(TABLE_NAME, name):
                raise ValueError(f"{name!r} is no table's name; SCHEMA.NAME in small letters, digits and _ is expected")
        return names

    @field_validator("heartbeat_table")
    @classmethod
    def _is_table(cls, name: str) -> str:
        if name and not re.fullmatch(TABLE_NAME, name):
            raise ValueError("it is no table's name; NAME or SCHEMA.NAME in small letters, digits and _ is expected")
        return name


@dataclass(frozen=True, kw_only=True)
class DatabaseRef:
    """Which database a step means: what [databases.NAME] said when the plan was made."""

    name: str
    instance: str
    region: str
    dsn_env: str

    @property
    def dsn(self) -> SecretStr:
        """The DSN from the environment; empty if it is not set."""
        return SecretStr(os.environ.get(self.dsn_env, ""))

    def __str__(self) -> str:
        return f"database {self.instance}"


class Migrations(Section):
    """How pending migrations are run after a restore."""

    dir: str = ""
    command: str = "npx drizzle-kit migrate"


class Targets(Section):
    """What was promised: minutes to recover, minutes of data that may be lost."""

    rto_minutes: Whole = Field(default=30, gt=0, le=100_000)
    rpo_minutes: Whole = Field(default=5, gt=0, le=100_000)
    retention_days: Whole = Field(default=35, gt=0, le=100_000)
    snapshot_hours: Whole = Field(default=26, gt=0, le=100_000)


class Agents(Section):
    """The fleet of agents: where its hosts are listed, how the bot signs in to them, and how careful a rolling restart is.

    An agent is healthy if its newest row in `heartbeat_table` (agent, at) is no older than `fresh_seconds`. After a restart it
    has `heartbeat_seconds` to be seen again, and to still be seen `healthy_seconds` later.
    """

    inventory: Name
    user: UserName
    key: Name
    known_hosts: Name
    heartbeat_url: str
    heartbeat_table: Annotated[str, Field(pattern=f"^{TABLE_NAME}$")]
    database: str = ""
    unit: UnitName = "agent"
    container: UnitName | Literal[""] = ""  # the unit's name if it is ""
    runtime: Literal["systemd", "docker"] = "systemd"
    canaries: Annotated[Whole, Field(ge=1, le=100)] = 1
    growth: Annotated[Whole, Field(ge=1, le=10)] = 3
    largest_batch_percent: Annotated[Percent, Field(ge=1)] = 25
    budget_percent: Percent = 5
    batch_budget_percent: Percent = 20
    at_once: Annotated[Whole, Field(ge=1, le=200)] = 50
    fresh_seconds: Seconds = 60
    restart_seconds: Seconds = 30
    healthy_seconds: Seconds = 20
    heartbeat_seconds: Seconds = 120

    @field_validator("heartbeat_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        web_address(url)
        return url


class NoSuchName(ValueError):
    """dr.toml has no service or database of this name. The message says which there are."""


class Site(Section):
    """All that actions and scenarios know about the place they work in. The first service and database are the default."""

    aws: Aws
    services: dict[Label, ServiceSection] = Field(min_length=1)
    databases: dict[Label, DatabaseSection] = Field(min_length=1)
    migrations: Migrations = Migrations()
    targets: Targets = Targets()
    agents: Agents | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Site:
        for name, service in self.services.items():
            if service.database and service.database not in self.databases:
                raise ValueError(
                    f"[services.{name}] database is {service.database!r}; one of {', '.join(self.databases)} is expected"
                )
        for name, database in self.databases.items():
            if database.replica and database.replica not in self.databases:
                raise ValueError(
                    f"[databases.{name}] replica is {database.replica!r}; one of {', '.join(self.databases)} is expected"
                )
        if self.agents and self.agents.database and self.agents.database not in self.databases:
            raise ValueError(f"[agents] database is {self.agents.database!r}; one of {', '.join(self.databases)} is expected")
        return self

    def service(self, name: str = "") -> ServiceSection:
        """The service of this name in dr.toml, the first one for "". Raises `NoSuchName`."""
        return self.services[_chosen(name, self.services, "services")]

    def database(self, name: str = "") -> DatabaseRef:
        """The database of this name in dr.toml, the first one for "". Raises `NoSuchName`."""
        name = _chosen(name, self.databases, "databases")
        known = self.databases[name]
        return DatabaseRef(name=name, instance=known.instance, region=known.region or self.aws.region, dsn_env=known.dsn_env)

    def users_of(self, database: DatabaseRef) -> list[ServiceSection]:
        """The services that use this database."""
        return [service for service in self.services.values() if self.database(service.database) == database]


def _chosen(name: str, known: Mapping[str, Any], section: str) -> str:
    if name and name not in known:
        raise NoSuchName(f"dr.toml has no [{section}.{name}]; one of {', '.join(known)} is expected.")
    return name or next(iter(known))


def web_address(url: str) -> SplitResult:
    """The parts of an http or https address. Raises ValueError, saying what is wrong and quoting no secret."""
    if scrub(url) != url:
        raise ValueError(
            "there is a secret in it, which the channel would see; an address without user, password or token is expected"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(
            "its host or port cannot be read; http://HOST:PORT/PATH with a port from 1 to 65535 is expected"
        ) from error
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\^`{|}<>\"]", url):
        raise ValueError("it is not an http or https address; https://HOST/PATH is expected")
    if parts.username is not None or port == 0:
        raise ValueError("a user or the port 0 stands in it; http://HOST:PORT/PATH with a port from 1 to 65535 is expected")
    return parts


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: 127.0.0.0/8, [::1] or localhost."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def texts(value: Any) -> Iterable[str]:
    """All texts in a value of dr.toml, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        yield from texts([*value.keys(), *value.values()])
