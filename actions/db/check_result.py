"""What one check of the integrity suite found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CheckVerdict(StrEnum):
    """How one check ended. Skipped is not ok: it was not checked, and `says` tells why."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check of one object: "foreign key" of "public.users (users_org_fk)". `rows` is how many rows were read in full.

    `damage`: something wrong was seen. A check that failed without it could not be made. `table` is the one that it is about.
    """

    name: str
    object: str
    verdict: CheckVerdict
    says: str = ""
    rows: int = field(default=0)
    damage: bool = field(default=False)
    table: str = field(default="")
