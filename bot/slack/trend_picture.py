"""The trend of the verifications of a database's backups: how long each restore took, against the RTO, and how each one ended.

It reads without colour: what went well is filled, what did not is hatched, and every bar has its words.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from commands.memory import PastRun

FEWEST = 2  # a single verification shows no trend
MOST_LEVEL = 8  # names that fit side by side
WIDTH, HEIGHT = 10.0, 4.2  # inches


def trend_picture(past: Sequence[PastRun], rto_minutes: float) -> bytes:
    """A PNG of these verifications, oldest first. The plotting library is loaded only here, for it takes half a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    tallest = max((minutes_of(run) or 0.0 for run in past), default=0.0)
    for place, run in enumerate(past):
        _bar(axes, place, run)
    _rto(axes, rto_minutes, max(tallest, 0.1))
    many = len(past) > MOST_LEVEL
    names = [f"{run.ended:%d %b}" if many else f"{run.ended:%d %b %Y}\n{run.id}" for run in past]
    axes.set_xticks(range(len(past)), names, fontsize=7, rotation=60 if many else 0)
    axes.set_ylabel("minutes of restore until the copy had recovered", fontsize=8)
    axes.set_title(trend_title(past), fontsize=10, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def trend_title(past: Sequence[PastRun]) -> str:
    """What the picture shows, in one line."""
    good = sum(run.state == "done" for run in past)
    about = past[-1].target.replace("$", r"\$")  # a dollar sign would begin a formula
    return f"Verifications of {about} (UTC): {good} of the last {len(past)} went well"


def minutes_of(run: PastRun) -> float | None:
    """How long the restore took; None if it didn't come so far."""
    return None if run.restore_seconds is None else run.restore_seconds / 60


def _bar(axes: Any, place: int, run: PastRun) -> None:
    good, minutes = run.state == "done", minutes_of(run)
    fill = {"color": "#2b6cb0"} if good else {"color": "white", "hatch": "////"}
    axes.bar(place, minutes or 0.0, width=0.62, edgecolor="black", **fill)
    words = [] if good else [run.state]
    words.append("no restore" if minutes is None else f"{minutes:.1f} min")
    axes.text(place, minutes or 0.0, "\n".join(words), ha="center", va="bottom", fontsize=8)


def _rto(axes: Any, rto_minutes: float, tallest: float) -> None:
    """The RTO as a line, or in words if it's so far up that the bars would be flat."""
    shown = rto_minutes < tallest * 4
    axes.set_ylim(0, (max(tallest, rto_minutes) if shown else tallest) * 1.25)
    if shown:
        axes.axhline(rto_minutes, color="black", linewidth=2)
    height = rto_minutes if shown else tallest * 1.25
    axes.text(
        1.0,
        height,
        f"RTO {rto_minutes:g} min" + ("" if shown else ", far above"),
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom" if shown else "top",
        fontsize=8,
        weight="bold",
    )
