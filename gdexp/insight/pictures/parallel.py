"""Parallel coordinates: a line for each run, through its settings to its final loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures.axes import Axis, Row
from gdexp.insight.pictures.colours import colour_of, loss_bar, lowest, norm_of
from gdexp.insight.pictures.marks import key, legend_below
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.state import (
    DIVERGED,
    LOSS,
    UNFINISHED,
    best_of,
    is_drawn,
    loss_of,
    rank,
    sampled,
    scaled,
    state_of,
    summary,
)
from gdexp.insight.pictures.style import FAINT, INK, PAPER, canvas, evenly, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

DRAWN = 200  # lines at most
AXES = 7  # settings at most


def parallel_of(rows: Sequence[Row], axes: Sequence[Axis]) -> Picture:
    """Draw each run as a line through its settings, coloured by the final loss.

    Runs that diverged are grey and dashed, and end at the top.

    Args:
        rows: the runs.
        axes: the settings that differ; of more than seven, the first.
    """
    shown_axes = axes[:AXES]
    ranked = sorted(rows, key=rank)  # the best are drawn last, on top
    shown = [ranked[i] for i in evenly(len(ranked), DRAWN)][::-1]
    norm = norm_of(scaled(shown))
    figure, place = canvas((2.2 + 1.25 * (len(shown_axes) + 1), 4.4))
    for row in shown:
        _line(place, row, shown_axes, norm, is_best=row is best_of(shown))
    _frame(place, shown_axes, norm, any(not is_drawn(row) for row in shown))
    if norm is not None:
        losses = [loss_of(row) for row in shown if is_drawn(row)]
        loss_bar(figure, place, norm, losses)
    keys = []
    if any(not is_drawn(row) for row in shown):
        keys.append(key("diverged or not finished", ls="--", color=FAINT))
    if best_of(shown):
        keys.append(key("smallest final loss", lw=3))
    legend_below(figure, keys)
    words = (
        f"A line for each run, through {', '.join(a.key for a in shown_axes)} to its final loss."
    )
    if len(shown) < len(rows):
        words = f"{len(shown)} of {len(rows)} runs, evenly sampled by final loss. {words}"
    table = _table(shown[::-1], shown_axes)
    return Picture("parallel", "Settings and final loss", f"{words} {summary(rows)}", table, figure)


def _line(
    place: Axes, row: Row, axes: Sequence[Axis], norm: Normalize | None, *, is_best: bool
) -> None:
    heights = [_share(axis, axis.of(row)) for axis in axes]
    if state_of(row) in (DIVERGED, UNFINISHED) or norm is None:
        look: dict[str, Any] = {"color": FAINT, "ls": "--", "lw": 0.6, "zorder": 1}
        heights.append(1.08)
    else:
        colour = colour_of(loss_of(row), norm)
        look = {"color": colour, "lw": 3 if is_best else 0.8, "zorder": 3 if is_best else 2}
        heights.append(min(1.0, max(0.0, float(norm(max(loss_of(row), lowest(norm)))))))
    place.plot(range(len(heights)), heights, **look)


def _share(axis: Axis, value: Any) -> float:
    """The height of a value: from 0 at the axis's first to 1 at its last."""
    if len(axis) == 1:
        return 0.5
    if not axis.is_numeric:
        return axis.index[value] / (len(axis) - 1)
    low, high = float(axis.values[0]), float(axis.values[-1])
    if axis.scale == "log":
        return math.log(float(value) / low) / math.log(high / low)
    return (float(value) - low) / (high - low)


def _frame(place: Axes, axes: Sequence[Axis], norm: Normalize | None, lost: bool) -> None:
    """Draw the vertical axes, with the values at their ticks."""
    for which, axis in enumerate(axes):
        place.axvline(which, color=INK, lw=0.8, zorder=4)
        for value in _ticks(axis):
            _name(place, which, _share(axis, value), axis.label(value))
    last = len(axes)
    place.axvline(last, color=INK, lw=0.8, zorder=4)
    if norm is not None:
        for share in (0.0, 0.5, 1.0):
            _name(place, last, share, number(_loss_at(share, norm), 2))
    if lost:
        _name(place, last, 1.08, "diverged")
    labels = [*(axis.key for axis in axes), "final loss"]
    labels = [label.replace(".", ".\n") for label in labels]
    place.set_xticks(range(len(labels)), labels)
    place.set_yticks([])
    place.grid(False)
    place.set_xlim(-0.1, last + 0.45)
    for side in ("top", "left", "right", "bottom"):
        place.spines[side].set_visible(False)


def _loss_at(share: float, norm: Normalize) -> float:
    """The loss at this share of the scale of the colours."""
    return float(norm.inverse(np.array([share]))[0])


def _name(place: Axes, x: float, y: float, text: str) -> None:
    box = {"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
    place.text(x + 0.04, y, text, fontsize="small", va="center", zorder=5, bbox=box)


def _ticks(axis: Axis) -> list[Any]:
    """The values that are named: at most six."""
    return [axis.values[i] for i in evenly(len(axis), 6)]


def _table(rows: Sequence[Row], axes: Sequence[Axis]) -> dict[str, list[Any]]:
    """The runs by final loss, evenly sampled if they are many."""
    shown, columns = sampled(rows, axes)
    columns[LOSS] = [row.get(LOSS) for row in shown]
    columns["outcome"] = [row["outcome"] for row in shown]
    return columns
