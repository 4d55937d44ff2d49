"""The picture of a run's timeline: a bar for each step, the outage, the RTO, and approvals and decisions as marks.

It reads without colour: what went well is filled, what did not is hatched, and every mark has its word.
"""

from __future__ import annotations

import io
import time
from typing import Any

from bot.state.story import Story

GOOD = ("done", "already done")
MOST_BARS = 30  # of a longer run the first and the last ones
MOST_TITLE = 46
WIDTH, BAR = 10.0, 0.34  # inches


def picture(story: Story, rto_minutes: float) -> bytes:
    """A PNG. The plotting library is loaded only here, for it takes half a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(story)
    zero = _first_moment(story)
    figure = Figure(figsize=(WIDTH, 1.9 + BAR * (len(rows) + 2)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _outage(axes, story, zero, len(rows))
    for place, (title, began, ended, state) in enumerate(rows):
        _bar(axes, place, began - zero, ended - zero, state)
        axes.text(-0.01, place, _short(title), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    _marks(axes, story, zero, len(rows))
    begins = story.outage.began if story.outage else story.offer.requested_at
    _frame(axes, story, begins - zero, rto_minutes, len(rows))
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _first_moment(story: Story) -> float:
    """The earliest moment that is drawn: by the clock of another machine, an end may be before what led to it."""
    moments = [story.offer.requested_at, *(line.at for line in story.timeline), *(state.began for state in story.steps)]
    moments += [story.outage.began] if story.outage else []
    moments += [story.run.ended] if story.run and story.run.ended else []
    return min(moments)


def _rows(story: Story) -> list[tuple[str, float, float, str]]:
    """Title, begin, end and state of each step that began."""
    states, now = {state.step: state for state in story.steps}, time.time()
    found = [(step_id, step, states[step_id]) for step_id, step in story.offer.plan.steps() if step_id in states]
    rows = [(f"{step_id} {step.title}", state.began, state.ended or now, state.state) for step_id, step, state in found]
    return rows if len(rows) <= MOST_BARS else [*rows[: MOST_BARS // 2], *rows[-MOST_BARS // 2 :]]


def _bar(axes: Any, place: int, began: float, ended: float, state: str) -> None:
    good = state in GOOD
    width = max(ended - began, 0.0)
    axes.barh(
        place,
        width,
        left=began,
        height=0.62,
        color="#2b6cb0" if good else "white",
        edgecolor="black",
        hatch="" if good else "////",
    )
    axes.text(ended, place, f"  {width:.0f} s" + ("" if good else f", {state}"), va="center", ha="left", fontsize=8)


def _outage(axes: Any, story: Story, zero: float, rows: int) -> None:
    """The outage as a hatched band in a row of its own, below the steps."""
    outage = story.outage
    if outage is None:
        return
    ended = outage.ended or time.time()
    axes.barh(rows, ended - outage.began, left=outage.began - zero, height=0.62, color="#f6ad55", edgecolor="black", hatch="xx")
    still = "" if outage.ended else ", not over"
    axes.text(ended - zero, rows, f"  {ended - outage.began:.0f} s{still}", va="center", ha="left", fontsize=8)
    label = _short(f"Outage of {outage.service}")
    axes.text(-0.01, rows, label, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8, weight="bold")


def _marks(axes: Any, story: Story, zero: float, rows: int) -> None:
    """Approvals, decisions and the end as lines with their word."""
    words = {"begin": "approved", "ask": "decision", "end": "end"}
    marks = [(story.offer.requested_at, "asked"), *((line.at, words[line.mark]) for line in story.timeline if line.mark in words)]
    if story.run and story.run.ended:
        marks.append((story.run.ended, story.run.state))
    for at, word in marks:
        axes.axvline(at - zero, color="black", linewidth=0.8, linestyle=":")
        axes.text(at - zero, -0.75, word, rotation=35, ha="left", va="bottom", fontsize=8)


def _frame(axes: Any, story: Story, begins: float, rto_minutes: float, rows: int) -> None:
    rto, shown = begins + rto_minutes * 60, axes.get_xlim()[1]
    if rto < shown * 3:  # else the run would be a line at the left edge
        axes.axvline(rto, color="black", linewidth=2)
        axes.text(rto, rows + 0.7, f"RTO {rto_minutes:g} min ", ha="right", va="bottom", fontsize=8, weight="bold")
    else:
        axes.text(
            1.0,
            1.03,
            f"RTO {rto_minutes:g} min, far to the right ",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=8,
        )
    axes.set_ylim(rows + 0.9, -2.2)
    axes.set_xlim(left=0, right=axes.get_xlim()[1] * 1.08)
    axes.set_yticks([])
    axes.set_xlabel("seconds; the RTO counts from the beginning of the outage, or from when it was asked for")
    axes.set_title(_short(f"{story.offer.plan.heading} ({story.offer.id})", 90), fontsize=10, loc="left")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _short(text: str, most: int = MOST_TITLE) -> str:
    """A title as it fits beside its bar; a dollar sign would begin a formula."""
    text = " ".join(text.split()).replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"
