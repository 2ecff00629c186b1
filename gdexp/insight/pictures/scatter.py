"""Runs as points: where a sweep has too few runs to fill a map, or only one setting varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures import sweep_style as style
from gdexp.insight.pictures.axes import Axis, Floats, Row
from gdexp.insight.pictures.cells import Panel
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
        line(float(pairs[0, 1]), color=style.ACCENT, ls="--", lw=1.8, label=BOUND)
    elif is_line:
        axes.plot(x, y, color=style.ACCENT, ls="--", lw=1.8, label=BOUND)
    else:
        axes.plot(x, y, "|" if along == 0 else "_", color=style.ACCENT, ms=9, mew=1.4, label=BOUND)


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
    for state, (marker, _) in style.MARKS.items():
        these = [i for i, each in enumerate(states) if each == state]
        if not these:
            continue
        colour: dict[str, Any] = {"color": style.INK}
        if norm is not None and state not in (DIVERGED, UNFINISHED):
            losses = [max(loss_of(rows[i]), style.lowest(norm)) for i in these]
            colour = {"c": losses, "cmap": style.COLOURS, "norm": norm}
            if "$" not in marker:
                colour["edgecolors"] = style.INK
        there = places[these]
        size = 60 if "$" in marker else 26
        axes.scatter(
            there[:, 0], there[:, 1], size, marker=marker, lw=0.6, label=state, **colour, **how
        )
    odd = [i for i, row in enumerate(rows) if contradicts(row)]
    if odd:
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": style.ACCENT, "lw": 1.5}
        axes.scatter(places[odd, 0], places[odd, 1], 130, label="odd", **ring, **how)


def set_scale(axes: Axes, side: str, axis: Axis) -> None:
    """Give an axis its scale: its own, or its words as ticks."""
    if axis.is_numeric:
        getattr(axes, f"set_{side}scale")(axis.scale)
        if axis.scale == "log":
            ends = float(axis.values[0]), float(axis.values[-1])
            style.label_decades(getattr(axes, f"{side}axis"), *ends)
        return
    ticks = axis.ticks()
    labels = [label for _, label in ticks]
    getattr(axes, f"set_{side}ticks")([at for at, _ in ticks], labels, **style.NAME)
    getattr(axes, f"set_{side}lim")(-0.5, len(axis) - 0.5)
    if side == "x":
        style.fit_labels(axes, labels)
