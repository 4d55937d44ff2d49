"""What a region failover is about, by dr.toml: a database, its replica in the DR region, the services, and the public name."""

from __future__ import annotations

from dataclasses import dataclass

from actions.site import DatabaseRef, Dns, ServiceSection, Site
from commands.control_plane.seen import target
from commands.scenario import BadCommand


@dataclass(frozen=True, kw_only=True)
class Meant:
    """The database and its replica, each with its region, the services that use it, and the name that customers use."""

    primary: DatabaseRef
    replica: DatabaseRef
    services: tuple[ServiceSection, ...]
    dns: Dns | None

    @classmethod
    def of(cls, site: Site, primary: DatabaseRef) -> Meant:
        """As dr.toml has them. Raises `BadCommand` if it names no replica in another region."""
        section = site.databases[primary.name]
        if not section.replica:
            raise BadCommand(f"[databases.{primary.name}] of dr.toml names no replica, so there is nothing to fail over to.")
        replica = site.database(section.replica)
        if replica.region == primary.region:
            raise BadCommand(f"{replica.instance} is in {primary.region} like {primary.instance}: it dies with the region.")
        return cls(primary=primary, replica=replica, services=tuple(site.users_of(primary)), dns=site.dns)

    @property
    def locks(self) -> tuple[str, ...]:
        """Everything besides the primary that no other run may touch meanwhile."""
        named = [str(self.replica), *(target(service) for service in self.services)]
        return (*named, *([f"record {self.dns.name}"] if self.dns else []))
