"""The secret that leads a service to its database: a new version with another address, and the stage that makes it current.

They are two actions, because each has one effect. The new version changes nothing for anybody until AWSCURRENT is on it, and
AWSCURRENT is moved only from the version that the plan saw: who moved it in the meantime is not overwritten.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SecretStr

from actions.aws.call import AwsUnreachable, Call
from actions.aws.follow import follow
from actions.aws.instances import find_instance
from actions.aws.secret_value import UnknownForm, address_of, dsn_of, pointed_back, pointed_to
from actions.errors import Refused, Unreachable
from actions.step import Action
from actions.values import FOUND, Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

CURRENT = "AWSCURRENT"
STAGED = "dr-staged"  # a version without any stage counts as deprecated, and AWS may remove it
Versions = Mapping[str, tuple[str, ...]]  # each version's stages, by its id


@dataclass(frozen=True, kw_only=True)
class Leads:
    """Where a version of a secret leads: its id, and host and port of the database. Never the secret itself."""

    version: str
    host: str
    port: int


async def versions_of(world: World, secret: str, region: str) -> Versions:
    """All versions of the secret with their stages."""
    call = _call("ListSecretVersionIds", region, SecretId=secret, IncludeDeprecated=True)
    found = await world.aws.read_all(call, "Versions", token="NextToken")
    return {one["VersionId"]: tuple(one.get("VersionStages", [])) for one in found}


async def leads_to(world: World, secret: str, region: str) -> Leads:
    """Where the current version leads. Raises `UnknownForm` if its value is neither a DSN nor a JSON object."""
    answer = await world.aws.read(_call("GetSecretValue", region, SecretId=secret, VersionStage=CURRENT))
    host, port = address_of(answer.get("SecretString", ""))
    return Leads(version=answer["VersionId"], host=host, port=port)


async def dsn_in_version(world: World, secret: str, version: str, region: str) -> str:
    """The DSN in a version; keep it in memory only. Raises `AwsUnreachable`, or `UnknownForm`."""
    return dsn_of(await _text(world, secret, version, region))


async def _text(world: World, secret: str, version: str, region: str) -> str:
    """The text of a version. It is kept in memory only."""
    answer = await world.aws.read(_call("GetSecretValue", region, SecretId=secret, VersionId=version))
    if not isinstance(answer.get("SecretString"), str):
        raise AwsUnreachable(f"Version {version} of {secret} has no text.", final=True)
    return str(answer["SecretString"])


@dataclass(frozen=True, kw_only=True)
class _Secret(Action):
    """What both actions share: the secret, the new version's id, and the id of the version that the plan saw as current."""

    secret_id: str
    region: str
    version: str
    current: str

    timeout: ClassVar[float] = 120.0
    settle: ClassVar[float] = 30.0
    plane: ClassVar[str] = "control"

    @property
    def target(self) -> str:
        return f"secret {self.secret_id}"

    async def versions(self, world: World) -> Versions:
        """All versions of the secret with their stages."""
        return await versions_of(world, self.secret_id, self.region)

    def moved(self, facts: Facts) -> Finding:
        """Why nothing is done if another version has become current."""
        now = facts["current"] or "no version"
        return stop(f"{CURRENT} of {self.secret_id} is on {now}, and this plan saw it on {self.current}. Plan again.")


@dataclass(frozen=True, kw_only=True)
class PutVersion(_Secret, kind="secrets.put_version"):
    """Write a new version of a secret, with the address of another database and all else as it is; nobody reads it yet."""

    instance: str

    permissions: ClassVar[tuple[str, ...]] = (
        "secretsmanager:PutSecretValue",
        "secretsmanager:ListSecretVersionIds",
        "secretsmanager:GetSecretValue",
        "rds:DescribeDBInstances",
    )

    @property
    def title(self) -> str:
        return f"Write a version of secret {self.secret_id} that leads to {self.instance}"

    @property
    def call(self) -> Call:
        """The one request; in place of the value it has the words that a person sees."""
        value = f"<the value of version {self.current} with host and port of {self.instance}>"
        names = {"SecretId": self.secret_id, "ClientRequestToken": self.version}
        return _call("PutSecretValue", self.region, **names, SecretString=value, VersionStages=[STAGED])

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        versions, found, text = await asyncio.gather(
            self.versions(world), find_instance(world, self.instance, self.region), self._read(world, self.current)
        )
        return {
            "found": self.version in versions,
            "current": _holder(versions),
            "status": found.status if found else "",
            "host": found.host if found else "",
            "port": found.port if found else 0,
            "unusable": _mistake(text),
        }

    def precheck(self, facts: Facts) -> Finding:
        if facts["found"]:
            return ok(f"Version {self.version} of {self.secret_id} is there already.")
        if facts["current"] != self.current:
            return self.moved(facts)
        if facts["status"] != "available" or not facts["host"]:
            return stop(
                f"{self.instance} is {facts['status'] or 'missing'}, so there is no address to write. Retry once it runs."
            )
        return ok(f"{CURRENT} is on {self.current}; {self.instance} listens on {facts['host']}:{facts['port']}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        if facts["found"]:
            return FOUND
        try:
            value = pointed_to(await self._read(world, self.current), facts["host"], facts["port"])
        except (Unreachable, UnknownForm) as error:
            raise Refused(f"The new value can't be made. {error}") from error
        answer = await world.aws.change(replace(self.call, secret={"SecretString": SecretStr(value)}))
        return {"request_id": answer.request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            versions = await self.versions(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if self.version in versions:
            receipt = FOUND if facts["found"] else {}
            return Proof(verdict=Verdict.DONE, says=f"Version {self.version} of {self.secret_id} exists.", receipt=receipt)
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {self.secret_id} has no version {self.version}.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(_: float) -> Outcome | str:
            new, old = await asyncio.gather(self._read(world, self.version), self._read(world, self.current))
            found = await find_instance(world, self.instance, self.region)
            return self._judge(new, old, (found.host, found.port) if found else ("", 0), receipt)

        gave_up = f"Version {self.version} of {self.secret_id} can't be read"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=10.0)

    def _judge(self, new: str, old: str, wanted: tuple[str, int], receipt: Facts) -> Outcome:
        """Whether the new version leads to the instance, and differs from the old one in nothing else."""
        try:
            leads, same = address_of(new), pointed_back(new, ("x", 1)) == pointed_back(old, ("x", 1))
        except UnknownForm as error:
            return failed(f"Version {self.version} of {self.secret_id} is not what was written. {error}")
        if leads != wanted:
            listens = f"listens on {wanted[0]}:{wanted[1]}" if wanted[0] else "has no address"
            return failed(f"Version {self.version} leads to {leads[0]}:{leads[1]}, and {self.instance} {listens}. Plan again.")
        if not same:
            return failed(f"Version {self.version} differs from {self.current} in more than host and port. Plan again.")
        says = f"Version {self.version} leads to {leads[0]}:{leads[1]} and differs from {self.current} in nothing else"
        if receipt.get("found"):
            return already_done(f"{says}; it was there already.")
        return done(f"{says}.")

    async def _read(self, world: World, version: str) -> str:
        return await _text(world, self.secret_id, version, self.region)


@dataclass(frozen=True, kw_only=True)
class MoveStage(_Secret, kind="secrets.move_stage"):
    """Make another version of a secret current, only if the one that the plan saw still is; tasks that start read the new one."""

    permissions: ClassVar[tuple[str, ...]] = (
        "secretsmanager:UpdateSecretVersionStage",
        "secretsmanager:ListSecretVersionIds",
    )

    @property
    def title(self) -> str:
        return f"Make version {self.version} of secret {self.secret_id} current"

    @property
    def call(self) -> Call:
        """The one request."""
        move = {"MoveToVersionId": self.version, "RemoveFromVersionId": self.current}
        return _call("UpdateSecretVersionStage", self.region, SecretId=self.secret_id, VersionStage=CURRENT, **move)

    def command(self) -> str:
        return self.call.command()

    @property
    def undo(self) -> MoveStage:
        """The action that takes it back."""
        return replace(self, version=self.current, current=self.version)

    async def observe(self, world: World) -> Facts:
        versions = await self.versions(world)
        return {"current": _holder(versions), "known": self.version in versions}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["current"] == self.version:
            return already_done(self._with_undo())
        if facts["current"] != self.current:
            return self.moved(facts)
        if not facts["known"]:
            return stop(f"{self.secret_id} has no version {self.version}, so it can't become current.")
        return ok(f"{CURRENT} of {self.secret_id} is on {self.current}, as when this was planned.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        return {"request_id": (await world.aws.change(self.call)).request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            versions = await self.versions(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_move(self.version, self.current, _holder(versions))

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(_: float) -> Outcome | str:
            holder = _holder(await self.versions(world))
            if holder == self.version:
                return done(self._with_undo())
            if holder not in ("", self.current):
                return failed(f"{CURRENT} of {self.secret_id} is on {holder}: somebody else moved it. Plan again.")
            return f"{CURRENT} is on {holder or 'no version'}."

        gave_up = f"{CURRENT} of {self.secret_id} is not on {self.version}"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=10.0)

    def _with_undo(self) -> str:
        return f"{CURRENT} of {self.secret_id} is on {self.version}. Undo: {self.undo.command()}"


def judge_move(wanted: str, before: str, holder: str) -> Proof:
    """Whether the stage was moved to the wanted version. Not done only if it is where it was."""
    if holder == wanted:
        return Proof(verdict=Verdict.DONE, says=f"{CURRENT} is on version {wanted}.")
    if holder == before:
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {CURRENT} is still on version {before}.")
    says = f"{CURRENT} is on {holder or 'no version'}: somebody else moved it, perhaps from where we had put it."
    return Proof(verdict=Verdict.UNKNOWN, says=says)


def _mistake(text: str) -> str:
    """Why the address in a secret's text can't be replaced; "" if it can."""
    try:
        address_of(text)
    except UnknownForm as error:
        return str(error)
    return ""


def _holder(versions: Versions) -> str:
    """The version that is current; "" if none is."""
    return next((version for version, stages in versions.items() if CURRENT in stages), "")


def _call(operation: str, region: str, **parameters: Any) -> Call:
    return Call(service="secretsmanager", operation=operation, region=region, parameters=parameters)
