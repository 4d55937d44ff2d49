"""A DNS zone as Route 53 keeps it: its record sets, their order, and what an answer to a question consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

PRIMARY, SECONDARY = "PRIMARY", "SECONDARY"
Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class RecordSet:
    """One record set. `name` ends with a dot; `failover` is PRIMARY, SECONDARY or "" for a simple one."""

    name: str
    type: str
    ttl: int
    values: tuple[str, ...]
    set_id: str = ""
    failover: str = ""
    health_check: str = ""

    @property
    def key(self) -> Key:
        """What there can be only one of."""
        return self.name, self.type, self.set_id

    @property
    def order(self) -> tuple[list[str], str, str]:
        """How Route 53 sorts: by the labels of the name from the right, then by type."""
        return backwards(self.name), self.type, self.set_id


def backwards(name: str) -> list[str]:
    """The labels of a name from the right: "app.shielda.dev." -> ["dev", "shielda", "app"]."""
    return name.rstrip(".").split(".")[::-1]


class Zone:
    """The record sets of a zone; each change gives it a new serial number."""

    def __init__(self, name: str, servers: Iterable[str]) -> None:
        self.name = name
        self.servers = tuple(servers)
        self.serial = 1
        soa = f"{self.servers[0]} awsdns-hostmaster.amazon.com. {{}} 7200 900 1209600 86400"
        self._soa = soa
        self._records: dict[Key, RecordSet] = {}
        self.replace(
            [
                RecordSet(name=name, type="NS", ttl=172_800, values=self.servers),
                RecordSet(name=name, type="SOA", ttl=900, values=(soa.format(self.serial),)),
            ]
        )

    @property
    def records(self) -> list[RecordSet]:
        """All record sets, as Route 53 sorts them."""
        return sorted(self._records.values(), key=lambda one: one.order)

    def get(self, key: Key) -> RecordSet | None:
        """The record set of this name, type and identifier."""
        return self._records.get(key)

    def replace(self, added: Iterable[RecordSet], gone: Iterable[Key] = ()) -> None:
        """Add or replace record sets, and remove others."""
        for key in gone:
            del self._records[key]
        self._records |= {one.key: one for one in added}

    def change(self, added: Iterable[RecordSet], gone: Iterable[Key]) -> Snapshot:
        """The same under a new serial number; returns what servers serve then."""
        self.serial += 1
        soa = RecordSet(name=self.name, type="SOA", ttl=900, values=(self._soa.format(self.serial),))
        self.replace([*added, soa], gone)
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """What servers serve now."""
        return Snapshot(name=self.name, serial=self.serial, records=tuple(self.records))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A zone as one server serves it."""

    name: str
    serial: int
    records: tuple[RecordSet, ...]

    def holds(self, name: str) -> bool:
        """Whether a name belongs to the zone."""
        return name == self.name or name.endswith(f".{self.name}")

    def exists(self, name: str) -> bool:
        """Whether there is anything at or below a name."""
        return any(one.name == name or one.name.endswith(f".{name}") for one in self.records)

    def answer(self, name: str, kind: str, healthy: Callable[[str], bool]) -> RecordSet | None:
        """The record set that answers: of the type asked for, or the name's CNAME. Of a failover pair, the one that's healthy."""
        found = [one for one in self.records if one.name == name and one.type in (kind, "CNAME")]
        chosen = {one.failover: one for one in found}
        if PRIMARY not in chosen:
            return found[0] if found else None
        first, second = chosen[PRIMARY], chosen.get(SECONDARY)
        if second is None or not first.health_check or healthy(first.health_check):
            return first
        is_well = not second.health_check or healthy(second.health_check)
        return second if is_well else first  # if nothing is healthy, Route 53 answers with the primary
