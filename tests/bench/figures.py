"""Figures and their table: what was measured, what was aimed at, and how it compares with the bare program."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEAD = ("Figure", "Measured", "Aim", "", "Bare", "Ratio")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. None of an aim: it is only told.

    `aim` is the most that is well, `ratio_aim` the most times `bare`, and `ratio_least` the fewest.
    """

    name: str
    value: float
    unit: str
    aim: float | None = None
    bare: float | None = None
    ratio_aim: float | None = None
    ratio_least: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the bare program's figure this is."""
        return self.value / self.bare if self.bare else None

    @property
    def met(self) -> bool | None:
        """Whether every aim is met; None if there is none."""
        aims = [(self.value, self.aim), (self.ratio, self.ratio_aim)]
        judged = [seen <= aim for seen, aim in aims if aim is not None and seen is not None]
        if self.ratio_least is not None and self.ratio is not None:
            judged.append(self.ratio >= self.ratio_least)
        return all(judged) if judged else None

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        verdict = {True: "met", False: "missed", None: ""}[self.met]
        aims = [f"{_number(self.aim)} {self.unit}"] if self.aim is not None else []
        aims += [f"{self.ratio_aim:g} x bare"] if self.ratio_aim is not None else []
        aims += [f"at least {self.ratio_least:g} x bare"] if self.ratio_least is not None else []
        bare = f"{_number(self.bare)} {self.unit}" if self.bare is not None else ""
        ratio = f"{self.ratio:.2f} x" if self.ratio and self.ratio < 1000 else ""
        return (self.name, f"{_number(self.value)} {self.unit}", ", ".join(aims), verdict, bare, ratio)


def table(figures: Iterable[Figure]) -> str:
    """The figures as a table in Markdown, with their notes below."""
    figures = list(figures)
    rows = [HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, "", *notes])


def machine() -> str:
    """What it was measured on, and when."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {gib:.0f} GiB, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"load {load:.1f} at the start, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `make bench`"
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed: 0.5 is the median, 0.99 the p99."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def memory_mb(pid: int) -> float:
    """The resident memory of a process in MB, that is 10^6 bytes (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmRSS:"))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
