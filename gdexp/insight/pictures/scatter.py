"""Runs as points: where a sweep has too few runs to fill a map, or only one setting varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures.axes import Axis, Floats, Row
from gdexp.insight.pictures.cells import Panel
from gdexp.insight.pictures.colours import lowest
from gdexp.insight.pictures.marks import ACCENT, DASHED, MARKS, WRITTEN, marker
from gdexp.insight.pictures.scales import label_decades, label_words
from gdexp.insight.pictures.state import (
    BOUND,
    DIVERGED,
    UNFINISHED,
    bound_of,
    contradicts,
    is_lr,
    loss_of,
    state_of,
)
from gdexp.insight.pictures.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

MANY = 600  # points above which they become one image


def draw_points(axes: Axes, each: Panel, across: Axis, up: Axis, norm: Normalize | None) -> None:
    """Draw each run of a panel as a point, coloured by its final loss."""
    for side, axis in (("x", across), ("y", up)):
        set_scale(axes, side, axis)
    rows = each.rows
    points(axes, rows, [across.place(row) for row in rows], [up.place(row) for row in rows], norm)
    for along, axis in enumerate((across, up)):
        if is_lr(axis.key, rows):
            other = up if along == 0 else across
            pairs = {(other.place(row), b) for row in rows if math.isfinite(b := bound_of(row))}
            if pairs:
                _draw_bound(axes, along, np.array(sorted(pairs)))
            return


def _draw_bound(axes: Axes, along: int, pairs: Floats) -> None:
    """Draw the bound over the other setting: a line, or a tick for each run if it depends on more.

    Args:
        axes: where.
        along: the axis of the learning rate: 0 across, 1 up.
        pairs: places on the other axis, in ascending order, and their bounds, shape (n, 2).
    """
    x, y = pairs[:, ::-1].T if along == 0 else pairs.T
    is_line = len(np.unique(pairs[:, 0])) == len(pairs) and len(pairs) > 1
    if len(np.unique(pairs[:, 1])) == 1:
        line = axes.axvline if along == 0 else axes.axhline
        line(float(pairs[0, 1]), **DASHED)
    elif is_line:
        axes.plot(x, y, **DASHED)
    else:
        axes.plot(x, y, "|" if along == 0 else "_", color=ACCENT, ms=9, mew=1.4, label=BOUND)


def points(
    axes: Axes, rows: Sequence[Row], x: Sequence[float], y: Sequence[float], norm: Normalize | None
) -> None:
    """Draw runs as points, marked by behaviour and ringed if they contradict the forecast.

    Args:
        axes: where.
        rows: the runs.
        x: their horizontal places.
        y: their vertical places.
        norm: the scale of the colours; None: all points have one colour.
    """
    places = np.array([x, y], float).T.reshape(-1, 2)
    states = [state_of(row) for row in rows]
    how: dict[str, Any] = {"rasterized": len(rows) > MANY}
    for state in MARKS:
        these = [i for i, each in enumerate(states) if each == state]
        if not these:
            continue
        colour: dict[str, Any] = {"color": INK}
        if norm is not None and state not in (DIVERGED, UNFINISHED):
            losses = [max(loss_of(rows[i]), lowest(norm)) for i in these]
            colour = {"c": losses, "norm": norm}
            if MARKS[state][0] not in WRITTEN:
                colour["edgecolors"] = INK
        there = places[these]
        size = 60 if MARKS[state][0] in WRITTEN else 26
        axes.scatter(
            there[:, 0],
            there[:, 1],
            size,
            marker=marker(state),
            lw=0.6,
            label=state,
            **colour,
            **how,
        )
    odd = [i for i, row in enumerate(rows) if contradicts(row)]
    if odd:
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": ACCENT, "lw": 1.5}
        axes.scatter(places[odd, 0], places[odd, 1], 130, label="odd", **ring, **how)


def set_scale(axes: Axes, side: str, axis: Axis) -> None:
    """Give an axis its scale: its own, or its words as ticks."""
    if axis.is_numeric:
        if axis.scale == "log":
            axes.set(**{f"{side}scale": "log"})
            decades = math.log10(float(axis.values[-1]) / float(axis.values[0]))
            label_decades(getattr(axes, f"{side}axis"), decades)
        return
    axes.set(**{f"{side}lim": (-0.5, len(axis) - 0.5)})
    label_words(axes, side, axis.ticks())
