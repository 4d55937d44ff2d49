"""The site: what is recovered, by its own names. These are the sections of dr.toml that actions and scenarios read."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A section of dr.toml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Aws(Section):
    """Where AWS is. `endpoints` and `speed` belong to a rehearsal and are refused unless every address is loopback."""

    region: str = Field(min_length=1)
    dr_region: str = ""
    endpoints: dict[str, str] = Field(default_factory=dict)
    role_arn: str = ""
    speed: float = Field(default=1.0, ge=1.0)

    @field_validator("endpoints")
    @classmethod
    def _loopback_only(cls, endpoints: dict[str, str]) -> dict[str, str]:
        for region, url in endpoints.items():
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


class ControlPlane(Section):
    """The service that is restarted and rolled back, and the addresses that prove it."""

    cluster: str = Field(min_length=1)
    service: str = Field(min_length=1)
    log_group: str = Field(min_length=1)
    health_url: str
    heartbeat_url: str = ""
    dr_health_url: str = ""
    region_health_url: str = ""
    database_secret: str = ""
    terraform_dir: str = ""
    terraform_workspace: str = "dr"

    @field_validator("health_url", "heartbeat_url", "dr_health_url", "region_health_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"{url!r} is not an http or https address")
        return url


class Database(Section):
    """The database that is failed over. `dsn_env` names the environment variable that holds its DSN."""

    instance: str = Field(min_length=1)
    replica: str = ""
    alarm: str = ""
    dsn_env: str = "DATABASE_URL"
    dr_dsn_env: str = "DR_DATABASE_URL"
    restore_prefix: str = ""

    @property
    def dsn(self) -> str:
        """The DSN from the environment; "" where it is not set."""
        return os.environ.get(self.dsn_env, "")


class Dns(Section):
    """The public name and its two values."""

    zone: str = ""
    name: str = ""
    record_type: str = "CNAME"
    primary: str = ""
    dr: str = ""
    resolvers: tuple[str, ...] = ()


class Agents(Section):
    """The agent fleet and how its hosts are reached."""

    inventory: str = ""
    user: str = ""
    key: str = ""
    known_hosts: str = ""
    unit: str = "shielda-agent"
    container: str = "shielda-agent"
    runtime: str = "systemd"


class Migrations(Section):
    """How pending migrations are run after a restore."""

    dir: str = ""
    command: str = "npx drizzle-kit migrate"


class Targets(Section):
    """What was promised: minutes to recover, minutes of data that may be lost."""

    rto_minutes: int = Field(default=30, gt=0)
    rpo_minutes: int = Field(default=5, gt=0)
    retention_days: int = Field(default=35, gt=0)
    snapshot_hours: int = Field(default=26, gt=0)


class Site(Section):
    """All that actions and scenarios know about the place they work in."""

    aws: Aws
    control_plane: ControlPlane
    database: Database
    dns: Dns = Dns()
    agents: Agents = Agents()
    migrations: Migrations = Migrations()
    targets: Targets = Targets()


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: 127.0.0.0/8, [::1] or localhost."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
