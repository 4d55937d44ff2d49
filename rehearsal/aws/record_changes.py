"""A batch of changes of record sets: taken as a whole, or refused in Route 53's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rehearsal.aws.wire import AwsError
from rehearsal.names.zone import PRIMARY, SECONDARY, Key, RecordSet, Zone, backwards

__all__ = ["Batch", "backwards", "dotted"]

OFFERED = {"Name", "Type", "TTL", "ResourceRecords", "SetIdentifier", "Failover", "HealthCheckId"}
TYPES = ("A", "AAAA", "CNAME", "TXT", "MX", "NS", "SOA")
LONGEST_TTL = 2_147_483_647
Params = dict[str, Any]


class Batch:
    """What a batch adds to a zone, and which record sets it removes; nothing is changed here."""

    def __init__(self, zone: Zone, health_checks: Mapping[str, Any]) -> None:
        self.added: dict[Key, RecordSet] = {}
        self.gone: list[Key] = []
        self._zone = zone
        self._checks = health_checks

    def take(self, changes: Sequence[Params]) -> None:
        """Take all changes; InvalidChangeBatch or InvalidInput if one of them can't be."""
        for change in changes:
            wanted = self._record(change["ResourceRecordSet"])
            match change["Action"]:
                case "DELETE":
                    self._delete(wanted)
                case "CREATE" if self._there(wanted.key):
                    _refuse(
                        f"Tried to create resource record set [name='{wanted.name}', type='{wanted.type}'] but it already exists"
                    )
                case _:
                    self._conflicts(wanted)
                    self.added[wanted.key] = wanted

    def _there(self, key: Key) -> RecordSet | None:
        return self.added.get(key) or (None if key in self.gone else self._zone.get(key))

    def _delete(self, wanted: RecordSet) -> None:
        """Only who knows the present value may delete."""
        there = self._there(wanted.key)
        which = f"Tried to delete resource record set [name='{wanted.name}', type='{wanted.type}']"
        if wanted.type in ("NS", "SOA") and wanted.name == self._zone.name:
            _refuse(f"A HostedZone must contain at least one NS record and exactly one SOA record for the zone itself. {which}")
        if there is None:
            _refuse(f"{which} but it was not found")
        if there != wanted:
            _refuse(f"{which} but the values provided do not match the current values")
        self.added.pop(wanted.key, None)
        if self._zone.get(wanted.key):
            self.gone.append(wanted.key)

    def _conflicts(self, wanted: RecordSet) -> None:
        """A CNAME is alone at its name, and simple record sets have no others of their type beside them."""
        records = {one.key: one for one in self._zone.records if one.key not in self.gone} | self.added
        beside = [one for key, one in records.items() if one.name == wanted.name and key != wanted.key]
        place = f"DNS name {wanted.name}"
        if wanted.type == "CNAME" and wanted.name == self._zone.name:
            _refuse(f"RRSet of type CNAME with {place} is not permitted at apex in zone {self._zone.name}")
        if any("CNAME" in (one.type, wanted.type) and one.type != wanted.type for one in beside):
            reason = "as it conflicts with other records with the same DNS name"
            _refuse(f"RRSet of type {wanted.type} with {place} is not permitted {reason} in zone {self._zone.name}")
        same = [one for one in beside if one.type == wanted.type]
        if any(bool(one.failover) != bool(wanted.failover) for one in same):
            _refuse(
                f"RRSet with {place}, type {wanted.type} and SetIdentifier {wanted.set_id or 'none'} cannot be created "
                "as a non-simple and a simple record set exist with the same name and type"
            )
        if any(one.failover == wanted.failover for one in same if wanted.failover):
            _refuse(f"Failover record set with {place}: there is a {wanted.failover} already")

    def _record(self, given: Params) -> RecordSet:
        if missing := sorted(set(given) - OFFERED):
            raise AwsError("InvalidInput", f"The rehearsal does not offer {', '.join(missing)} of a resource record set.")
        name, kind, failover = dotted(given["Name"]), given["Type"], given.get("Failover", "")
        if name != self._zone.name and not name.endswith(f".{self._zone.name}"):
            _refuse(f"RRSet with DNS name {name} is not permitted in zone {self._zone.name}")
        if kind not in TYPES:
            raise AwsError("InvalidInput", f"The rehearsal does not offer records of the type {kind}.")
        if "TTL" not in given or not given.get("ResourceRecords"):
            raise AwsError(
                "InvalidInput", "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]]."
            )
        if not 0 <= given["TTL"] <= LONGEST_TTL:
            raise AwsError("InvalidInput", f"The TTL {given['TTL']} is not between 0 and {LONGEST_TTL}.")
        if failover not in ("", PRIMARY, SECONDARY) or bool(failover) != bool(given.get("SetIdentifier")):
            raise AwsError("InvalidInput", "Failover and SetIdentifier must be given together.")
        if (check := given.get("HealthCheckId", "")) and check not in self._checks:
            raise AwsError("InvalidInput", f"The health check {check} does not exist.")
        values = tuple(one["Value"] for one in given["ResourceRecords"])
        if kind == "CNAME" and len(values) != 1:
            _refuse(f"RRSet of type CNAME with DNS name {name} must have exactly one value")
        return RecordSet(
            name=name, type=kind, ttl=given["TTL"], values=values, set_id=given.get("SetIdentifier", ""),
            failover=failover, health_check=check,
        )  # fmt: skip


def dotted(name: str) -> str:
    """A name as Route 53 keeps it: in small letters, with the dot at the end."""
    return name.lower().rstrip(".") + "."


def _refuse(sentence: str) -> NoReturn:
    raise AwsError("InvalidChangeBatch", f"[{sentence}]")
