"""Every step declares what people must know, comes back from its stored arguments, and sends what boto3 takes."""

from __future__ import annotations

import inspect
import shlex
from dataclasses import fields
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from actions.aws.call import Call
from actions.site import DatabaseRef
from actions.step import Action, Step, step_from
from tests import catalogue

assert catalogue  # importing it registers every step
PROD = DatabaseRef(name="primary", instance="shielda-prod", region="us-west-2", dsn_env="DATABASE_URL")
EXAMPLES: dict[str, Any] = {
    "cluster": "shielda",
    "service": "control-plane",
    "region": "us-west-2",
    "task_definition": "control-plane:41",
    "instance": "shielda-prod",
    "database": PROD,
    "replaces": PROD,
    "replica": PROD,
    "retention": 35,
    "silent_since": "2026-01-15T10:25:00+00:00",
    "known_as": "primary",
    "source_arn": "arn:aws:rds:us-west-2:123456789012:db:shielda-prod",
    "zone_id": "Z0123456789ABC",
    "name": "app.example",
    "type": "CNAME",
    "value": "east.example",
    "was": "west.example",
    "folder": "/srv/infra/control-plane",
    "workspace": "dr",
    "old": "shielda-prod",
    "old_region": "us-west-2",
    "fenced": True,
    "original": PROD,
    "percent": 20,
    "rpo_minutes": 5,
    "seed": "shielda-verify-20260115-1/rds:shielda-prod-2026-01-15-04-10",
    "copy": PROD,
    "case": "shielda-prod-repair-20260115-102500",
    "tables": ("public.orders", "customers"),
    "touched": "updated_at",
    "index": "public.orders_pkey",
    "table": "public.orders",
    "owner": "shielda",
    "revert": "all",
    "count": 0,
    "snapshot": "shielda-prod-before-restore-20260115-1030",
    "source": "shielda-prod",
    "at": "2026-01-15T10:25:00+00:00",
    "settings": {"MultiAZ": True, "VpcSecurityGroupIds": ["sg-1", "sg-2"], "DBParameterGroupName": "ours"},
    "tags": {"Service": "shielda"},
    "tag": "dr-run=20260115-1030",
    "run": "npx drizzle-kit migrate",
    "known": "c0ffee",
    "secret_id": "shielda/database-url",
    "version": "8a1b2c3d-1111-4222-8333-444455556666",
    "current": "9b1b2c3d-1111-4222-8333-444455556666",
    "url": "https://app.example/health",
    "systemd": ("agent-0001", "agent-0002"),
    "docker": ("agent-0004",),
    "systemd_line": "timeout -k 2 30 sudo -n systemctl restart agent",
    "docker_line": "timeout -k 2 30 sudo -n docker restart agent",
    "batch": 1,
    "of": 3,
    "budget": 2,
    "batch_budget": 0,
    "healthy_too": False,
    "hosts": ("agent-0001", "agent-0002"),
    "applications": ("web",),
    "idle_for_seconds": 60,
    "at_most": 10,
}
KINDS = sorted(kind for kind, cls in Step.registry.items() if cls.__module__.startswith("actions."))


def example(kind: str) -> Step:
    cls: Any = Step.registry[kind]
    return cls(**{f.name: EXAMPLES[f.name] for f in fields(cls) if f.name in EXAMPLES})  # type: ignore[no-any-return]


# --- the catalogue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_declares_what_people_must_know(kind: str) -> None:
    step = example(kind)
    assert step.permissions
    assert all(":" in permission for permission in step.permissions)
    assert isinstance(step.region, str)
    assert step.plane in ("control", "data")
    assert step.timeout > 0
    assert not isinstance(step, Action) or step.settle > 0
    assert (inspect.getdoc(type(step)) or "").split("\n")[0].endswith(".")
    assert step.title
    assert step.target
    assert shlex.split(step.command())
    assert bool(step.region) == (step.permissions[0].split(":")[0] not in ("postgresql", "http", "ssh", "dns"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_comes_back_from_its_stored_arguments(kind: str) -> None:
    assert step_from(kind, example(kind).arguments) == example(kind)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(Step.registry[kind], "call")])
def test_what_is_sent_is_what_boto3_accepts(kind: str) -> None:
    call: Call = example(kind).call  # type: ignore[attr-defined]
    shape = botocore.session.Session().get_service_model(call.service).operation_model(call.operation).input_shape
    assert not ParamValidator().validate(call.arguments, shape).has_errors()
    assert example(kind).permissions[0] == call.permission
