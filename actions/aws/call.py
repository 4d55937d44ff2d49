"""A call to AWS as a pure value: from it come the request, the command line that is shown, and the permission it needs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore import xform_name
from pydantic import SecretStr

from actions.errors import Refused, Unreachable
from actions.values import Json


class AwsUnreachable(Unreachable):
    """AWS did not answer a question, or refused to. `code` is its error code, "" if no answer of AWS's arrived at all."""

    def __init__(self, says: str, *, code: str = "", final: bool = False) -> None:
        super().__init__(says)
        self.code = code
        self.final = final


class AwsRefused(Refused):
    """A change that provably did not happen. `code` is AWS's error code, "" if the request was not sent."""

    def __init__(self, says: str, *, code: str = "") -> None:
        super().__init__(says)
        self.code = code


PROVIDERS = {
    "cloudwatch": "CloudWatch",
    "logs": "CloudWatch Logs",
    "route53": "Route 53",
    "secretsmanager": "Secrets Manager",
}  # those whose name isn't just upper case


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation of one service in one region. `service` and `operation` are AWS's names: "ecs", "UpdateService".

    `parameters` are JSON with AWS's own names; times are ISO strings. Values that are None are left out. `secret` has the
    parameters that are sent and never shown; a person sees what stands in `parameters` in their place.
    """

    service: str
    operation: str
    region: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    secret: Mapping[str, SecretStr] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The operation as boto3 and the AWS command line call it: "update_service"."""
        return str(xform_name(self.operation))

    @property
    def provider(self) -> str:
        """The service as a person calls it: "RDS"."""
        return PROVIDERS.get(self.service, self.service.upper())

    @property
    def permission(self) -> str:
        """The IAM action the call needs: "ecs:UpdateService"."""
        return f"{self.service}:{self.operation}"

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters that are sent."""
        return {**self._shown, **{name: value.get_secret_value() for name, value in self.secret.items()}}

    def command(self) -> str:
        """The AWS command line that does the same."""
        words = ["aws", self.service, str(xform_name(self.operation, "-"))]
        for name, value in self._shown.items():
            words += _option(str(xform_name(name, "-")), value)
        return shlex.join([*words, "--region", self.region])

    @property
    def _shown(self) -> dict[str, Json]:
        return {name: value for name, value in self.parameters.items() if value is not None}

    def __str__(self) -> str:
        return f"{self.operation} in {self.region}"


def _option(name: str, value: Json) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
        return
    yield f"--{name}"
    if isinstance(value, dict) or (isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value)):
        yield json.dumps(value)
    elif isinstance(value, list | tuple):
        yield from (str(item) for item in value)
    else:
        yield str(value)
