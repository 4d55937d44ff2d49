"""Faults of regions, links between them, names, and terraform; there are none in a rehearsal of one region."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from rehearsal.aws.rds.api import Rds
from rehearsal.data_faults import Row
from rehearsal.two_regions import TwoRegions


def region_rows(regions: TwoRegions | None, rds: Rds) -> list[Row]:
    """Every such fault, for the panel."""
    if regions is None:
        return []
    stack, names = regions.stack, regions.names
    return [
        ("region-down", "The first region is gone", "Packets to and from us-west-2 vanish.", "region", regions.lose_first),
        (
            "second-region-down",
            "The second region is gone",
            "Packets to and from us-east-1 vanish.",
            "region",
            regions.lose_second,
        ),
        ("replication-link-cut", "The replication link is cut", "Nothing reaches the replica.", "region", regions.cut_links),
        (
            "replication-link-slow",
            "The replication link is slow",
            "The replica is 2 s behind.",
            "region",
            _now(regions.slow_links),
        ),
        ("replica-backing-up", "The replica's backup begins", "RDS refuses to promote it.", "region", _now(rds.back_up_replica)),
        ("route53-late", "DNS changes take long", "A quarter of an hour on AWS.", "region", _now(regions.change_names_late)),
        ("dns-server-stale", "A DNS server is stale", "One of two keeps the old value.", "region", _now(names.keep_stale)),
        ("terraform-locked", "The state is locked", "Somebody else applies in the workspace dr.", "region", _now(stack.lock)),
        ("terraform-destroys", "A plan destroys", "The state has what no file has.", "region", stack.add_what_is_gone),
        ("terraform-fails", "A provisioner fails", "What terraform does to AWS fails.", "region", _now(stack.break_provisioner)),
    ]


def _now(cause: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    async def put() -> None:
        cause()

    return put
