"""RebootDBInstance: plain, or with a failover, which also comes by itself when a primary dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.checks import Params
from rehearsal.aws.rds.instances import Behind, Instance
from rehearsal.aws.rds.registry import Registry
from rehearsal.aws.wire import AwsError

FAILOVER_SECONDS = (60.0, 90.0)  # What AWS calls typical is 60 to 120; the real failover here takes a fraction of a second.
REBOOT_SECONDS = (20.0, 40.0)


class Reboots:
    """Reboots of instances, with or without a failover."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {"RebootDBInstance": self._reboot}

    async def _reboot(self, region: str, params: Params) -> Params:
        instance = self._registry.instance(region, params["DBInstanceIdentifier"])
        instance.require("available")
        force = params.get("ForceFailover", False)
        if force and not instance.settings["MultiAZ"]:
            message = "ForceFailover cannot be specified since the instance is not configured for MultiAZ."
            raise AwsError("InvalidParameterCombination", message)
        if force:
            self.fail_over(instance)
        else:
            self._begin(instance, self._restart)
        return {"DBInstance": instance.view()}

    def fail_over(self, instance: Instance) -> None:
        """The standby takes over, whoever asked for it; returns at once."""
        instance.require("available")
        self._begin(instance, self._fail_over)

    def _begin(self, instance: Instance, work: Callable[[Instance, Behind], Awaitable[None]]) -> None:
        behind = instance.behind
        assert behind is not None
        instance.publish("rebooting", instance.state)
        instance.begin(lambda: self._carry_out(instance, work(instance, behind)))

    async def _carry_out(self, instance: Instance, work: Awaitable[None]) -> None:
        await work
        for group in instance.settings["DBParameterGroups"]:
            group["ParameterApplyStatus"] = "in-sync"
        instance.publish("available")

    async def _fail_over(self, instance: Instance, behind: Behind) -> None:
        events = self._registry.events
        events.add(instance.source, "Multi-AZ instance failover started.", "failover")
        await asyncio.gather(self._with_restart_event(instance, behind.fail_over), self._registry.minimum(FAILOVER_SECONDS))
        events.add(instance.source, "Multi-AZ instance failover completed", "failover", "notification")

    async def _restart(self, instance: Instance, behind: Behind) -> None:
        await asyncio.gather(self._with_restart_event(instance, behind.restart), self._registry.minimum(REBOOT_SECONDS))

    async def _with_restart_event(self, instance: Instance, effect: Callable[[], Awaitable[None]]) -> None:
        await effect()
        self._registry.events.add(instance.source, "DB instance restarted", "availability")
