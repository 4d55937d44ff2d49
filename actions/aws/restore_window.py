"""RDS: between which moments an instance can be restored. A question only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from actions.aws.instances import rds

if TYPE_CHECKING:
    from actions.world import World

PERMISSIONS = ("rds:DescribeDBInstanceAutomatedBackups",)


@dataclass(frozen=True, kw_only=True)
class RestoreWindow:
    """The earliest and the latest moment that RDS can restore to; None if it names none."""

    earliest: datetime | None
    latest: datetime | None


async def restore_window(world: World, instance: str, region: str) -> RestoreWindow:
    """The window of the instance's automated backups. Raises `AwsUnreachable`.

    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBInstanceAutomatedBackups.html
    """
    answer = await world.aws.read(rds("DescribeDBInstanceAutomatedBackups", region, DBInstanceIdentifier=instance))
    windows = [found.get("RestoreWindow") or {} for found in answer.get("DBInstanceAutomatedBackups", [])]
    found = next((window for window in windows if window.get("LatestTime")), {})
    return RestoreWindow(earliest=found.get("EarliestTime"), latest=found.get("LatestTime"))
