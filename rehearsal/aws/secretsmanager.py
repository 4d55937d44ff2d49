"""Secrets Manager: secrets of one region with their versions and stages, moved only by who knows where they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import Handler
from rehearsal.aws.sts import ACCOUNT
from rehearsal.aws.wire import AwsError

CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
Params = dict[str, Any]


@dataclass(kw_only=True)
class Version:
    """One version of a secret; without a stage it is deprecated, and can still be read by its id."""

    id: str
    text: str
    created_at: datetime
    stages: list[str] = field(default_factory=list)
    read_at: datetime | None = None


@dataclass(kw_only=True)
class Secret:
    """A secret and all its versions, oldest first."""

    name: str
    arn: str
    created_at: datetime
    description: str = ""
    changed_at: datetime | None = None
    versions: dict[str, Version] = field(default_factory=dict)

    def holder(self, stage: str) -> Version | None:
        """The version that carries a stage."""
        return next((one for one in self.versions.values() if stage in one.stages), None)

    def move(self, stage: str, to: Version | None) -> None:
        """The stage is on this version and no other; AWSCURRENT leaves AWSPREVIOUS where it was."""
        before = self.holder(stage)
        if before is to:
            return
        if before is not None:
            before.stages.remove(stage)
        if to is not None:
            to.stages.append(stage)
            if stage == CURRENT and before is not None:
                if PREVIOUS in to.stages:
                    to.stages.remove(PREVIOUS)
                self.move(PREVIOUS, before)


class SecretsManager:
    """The secrets of one region; the others have none."""

    def __init__(self, clock: Clock, region: str = "us-west-2") -> None:
        self._clock = clock
        self._region = region
        self._secrets: dict[str, Secret] = {}

    def arn(self, name: str) -> str:
        """The ARN of a secret, whether it exists already or not."""
        return f"arn:aws:secretsmanager:{self._region}:{ACCOUNT}:secret:{name}-Kq7xZp"

    def create(self, name: str, text: str, description: str = "") -> Secret:
        """A secret whose first version is current; made by the rehearsal itself."""
        now = self._clock.now()
        secret = Secret(name=name, arn=self.arn(name), created_at=now, description=description)
        first = Version(id=str(uuid.uuid4()), text=text, created_at=now, stages=[CURRENT])
        secret.versions[first.id] = first
        self._secrets[name] = secret
        return secret

    def current(self, name: str) -> str:
        """The current value of a secret by its name or ARN, as a starting task gets it; raises AwsError without one."""
        found = self._secret(self._region, {"SecretId": name}).holder(CURRENT)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"The secret {name} has no current version.")
        return found.text

    def address(self, name: str) -> tuple[str, int]:
        """Host and port of the URL that a secret holds now."""
        url = urlsplit(self.current(name))
        return url.hostname or "", url.port or 5432

    def handlers(self) -> dict[str, Handler]:
        """For `Front.add("secretsmanager", ...)`."""
        return {
            "DescribeSecret": self._describe,
            "ListSecretVersionIds": self._list_versions,
            "GetSecretValue": self._get,
            "PutSecretValue": self._put,
            "UpdateSecretVersionStage": self._update_stage,
        }

    def _secret(self, region: str, params: Params) -> Secret:
        wanted = params["SecretId"]
        for one in self._secrets.values() if region == self._region else ():
            if wanted in (one.name, one.arn, one.arn.rpartition("-")[0]):
                return one
        raise AwsError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")

    def _describe(self, region: str, params: Params) -> Params:
        secret = self._secret(region, params)
        return {
            "ARN": secret.arn,
            "Name": secret.name,
            "Description": secret.description or None,
            "RotationEnabled": False,
            "CreatedDate": secret.created_at,
            "LastChangedDate": secret.changed_at or secret.created_at,
            "VersionIdsToStages": {one.id: list(one.stages) for one in secret.versions.values() if one.stages},
        }

    def _list_versions(self, region: str, params: Params) -> Params:
        secret = self._secret(region, params)
        known = [one for one in secret.versions.values() if one.stages or params.get("IncludeDeprecated")]
        most, first = params.get("MaxResults", 100), params.get("NextToken", "0")
        if not first.isdigit() or int(first) > len(known):
            raise AwsError("InvalidNextTokenException", "The NextToken value is invalid.")
        start = int(first)
        versions = [
            {
                "VersionId": one.id,
                "VersionStages": list(one.stages) or None,
                "CreatedDate": one.created_at,
                "LastAccessedDate": one.read_at,
            }
            for one in known[start : start + most]
        ]
        following = str(start + most) if start + most < len(known) else None
        return {"ARN": secret.arn, "Name": secret.name, "Versions": versions, "NextToken": following}

    def _get(self, region: str, params: Params) -> Params:
        secret = self._secret(region, params)
        version = self._wanted(secret, params)
        version.read_at = self._clock.now()
        return {
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": version.id,
            "SecretString": version.text,
            "VersionStages": list(version.stages) or None,
            "CreatedDate": version.created_at,
        }

    def _wanted(self, secret: Secret, params: Params) -> Version:
        by_id, stage = params.get("VersionId"), params.get("VersionStage")
        if by_id is None:
            label = stage or CURRENT
            if (found := secret.holder(label)) is None:
                message = f"Secrets Manager can't find the specified secret value for staging label: {label}"
                raise AwsError("ResourceNotFoundException", message)
            return found
        found = secret.versions.get(by_id)
        if found is None:
            message = f"Secrets Manager can't find the specified secret value for VersionId: {by_id}"
            raise AwsError("ResourceNotFoundException", message)
        if stage is not None and stage not in found.stages:
            message = "You provided a VersionStage that is not associated to the provided VersionId."
            raise AwsError("InvalidRequestException", message)
        return found

    def _put(self, region: str, params: Params) -> Params:
        """A new version; the same token with the same value is the same version, with another value it is refused."""
        secret = self._secret(region, params)
        if "SecretString" not in params or "SecretBinary" in params:
            raise AwsError("InvalidParameterException", "You must provide SecretString; the rehearsal keeps no SecretBinary.")
        number, text = params.get("ClientRequestToken") or str(uuid.uuid4()), params["SecretString"]
        version = secret.versions.get(number)
        if version is None:
            version = Version(id=number, text=text, created_at=self._clock.now())
            secret.versions[number] = version
            for stage in params.get("VersionStages") or [CURRENT]:
                secret.move(stage, version)
            secret.changed_at = version.created_at
        elif version.text != text:
            message = f"The operation failed because a version with the id {number} and another value already exists."
            raise AwsError("ResourceExistsException", message)
        return {"ARN": secret.arn, "Name": secret.name, "VersionId": version.id, "VersionStages": list(version.stages) or None}

    def _update_stage(self, region: str, params: Params) -> Params:
        """Moves a stage; who moves it must say which version carries it now."""
        secret = self._secret(region, params)
        stage, source, target = params["VersionStage"], params.get("RemoveFromVersionId"), params.get("MoveToVersionId")
        for number in (source, target):
            if number is not None and number not in secret.versions:
                message = f"Secrets Manager can't find the specified secret value for VersionId: {number}"
                raise AwsError("ResourceNotFoundException", message)
        holder = secret.holder(stage)
        if source is None and target is None:
            raise AwsError("InvalidParameterException", "You must provide MoveToVersionId or RemoveFromVersionId.")
        if holder is not None and holder.id != target and source != holder.id:
            message = (
                f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version "
                f"{holder.id}, so you must explicitly reference that version in RemoveFromVersionId."
            )
            raise AwsError("InvalidParameterException", message)
        if holder is None and source is not None:
            message = f"The staging label {stage} is not attached to the version {source} of RemoveFromVersionId."
            raise AwsError("InvalidParameterException", message)
        if stage == CURRENT and target is None:
            raise AwsError("InvalidParameterException", "You can't remove the staging label AWSCURRENT without moving it.")
        secret.move(stage, secret.versions[target] if target else None)
        secret.changed_at = self._clock.now()
        return {"ARN": secret.arn, "Name": secret.name}
