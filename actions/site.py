"""The site: what is recovered, by its own names. These are the sections of dr.toml that actions and scenarios read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from actions.section import TABLE_NAME as TABLE_NAME
from actions.section import Host, Label, Percent, Seconds, UnitName, UserName, Variable, is_ip
from actions.section import Name as Name
from actions.section import Number as Number
from actions.section import Section as Section
from actions.section import Whole as Whole
from actions.section import is_loopback as is_loopback
from actions.section import texts as texts
from actions.section import web_address as web_address


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
    """A service that is restarted and rolled back, the addresses that prove it, and the database it uses ("": the first).

    `region_health_url` and `dr_health_url` are the addresses of the primary's and of the DR region's own balancer.
    `terraform_dir` is where the stack of the service is that a region failover applies in `terraform_workspace`.
    """

    cluster: Name
    service: Name
    log_group: Name
    health_url: str
    region_health_url: str = ""
    dr_health_url: str = ""
    database: str = ""
    database_secret: str = ""
    terraform_dir: str = ""
    terraform_workspace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,89}$")] = "dr"

    @field_validator("health_url", "region_health_url", "dr_health_url")
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
                raise ValueError(f"{name!r} is not a table name; SCHEMA.NAME in small letters, digits and _ is expected")
        return names

    @field_validator("heartbeat_table")
    @classmethod
    def _is_table(cls, name: str) -> str:
        if name and not re.fullmatch(TABLE_NAME, name):
            raise ValueError("it is not a table name; NAME or SCHEMA.NAME in small letters, digits and _ is expected")
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


class Dns(Section):
    """The public name of the service, and the values that it has in either region.

    `nameservers` are the zone's authoritative servers by address; without them they are looked up through the resolvers.
    """

    zone: Host
    name: Host
    type: Literal["A", "AAAA", "CNAME"] = "CNAME"
    primary: Name
    dr: Name
    resolvers: tuple[str, ...] = ("1.1.1.1:53", "8.8.8.8:53")
    nameservers: tuple[str, ...] = ()

    @field_validator("resolvers", "nameservers")
    @classmethod
    def _are_addresses(cls, servers: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for server in servers:
            host, _, port = server.rpartition(":")
            if not is_ip(host.strip("[]")) or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{server!r} is not a server; ADDRESS:PORT is expected, such as 1.1.1.1:53")
        if not servers and info.field_name == "resolvers":
            raise ValueError("at least one resolver is expected, such as 1.1.1.1:53")
        return servers

    @model_validator(mode="after")
    def _name_is_in_zone(self) -> Dns:
        if self.name != self.zone and not self.name.endswith(f".{self.zone}"):
            raise ValueError(f"name {self.name} is not in zone {self.zone}")
        if self.primary == self.dr:
            raise ValueError("primary and dr are the same value, so a failover would change nothing")
        return self


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
    dns: Dns | None = None

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
