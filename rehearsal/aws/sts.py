"""Who is calling, and what are they allowed to do? STS's caller identity and IAM's policy simulator."""

from __future__ import annotations

from typing import Any

from rehearsal.aws.faults import Faults
from rehearsal.aws.front import AwsError, Handler

ACCOUNT = "123456789012"
ROLE = "drbot"


def sts_handlers() -> dict[str, Handler]:
    """For `Front.add("sts", ...)`: the one identity of the rehearsal."""

    def get_caller_identity(region: str, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "UserId": "AROAIOSFODNN7EXAMPLE:rehearsal",
            "Account": ACCOUNT,
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/rehearsal",
        }

    return {"GetCallerIdentity": get_caller_identity}


def iam_handlers(faults: Faults) -> dict[str, Handler]:
    """For `Front.add("iam", ...)`: everything is allowed except what an access_denied fault covers."""

    def simulate(region: str, params: dict[str, Any]) -> dict[str, Any]:
        source = params["PolicySourceArn"]
        if ":assumed-role/" in source:
            raise AwsError("InvalidInput", f"Invalid Entity Arn: {source} does not clearly define entity type and name.")
        if not source.endswith(f":role/{ROLE}"):
            raise AwsError("NoSuchEntity", f"The role of {source} cannot be found.")
        results = [
            _decision(faults, action, resource)
            for action in params["ActionNames"]
            for resource in params.get("ResourceArns", ["*"])
        ]
        return {"EvaluationResults": results, "IsTruncated": False}

    return {"SimulatePrincipalPolicy": simulate}


def _decision(faults: Faults, action: str, resource: str) -> dict[str, Any]:
    decision = "implicitDeny" if faults.denies(action) else "allowed"
    return {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": decision,
        "MatchedStatements": [],
        "MissingContextValues": [],
    }
