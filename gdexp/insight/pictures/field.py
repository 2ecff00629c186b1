"""The cells of a map: their colours as one small image, numbers, marks and the bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures import sweep_style as style
from gdexp.insight.pictures.axes import Axis, Floats
from gdexp.insight.pictures.cells import Panel
from gdexp.insight.pictures.state import (
    BOUND,
    DIVERGED,
    GROWING,
    OSCILLATING,
    UNFINISHED,
    contradicts,
    is_lr,
    state_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

WRITTEN = 10  # cells along an axis up to which each has its number
MARKED = 16  # cells along an axis of which each has its mark; of more, so many
SHOWN = (OSCILLATING, GROWING, DIVERGED, UNFINISHED)  # states with a mark; others have none


def draw_field(axes: Axes, each: Panel, across: Axis, up: Axis, norm: Normalize | None) -> None:
    """Draw every cell as a coloured rectangle, all of them as one small image."""
    from matplotlib.colors import ListedColormap

    shape = len(up), len(across)
    losses = each.losses(shape)
    how: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "none"}
    for state in (DIVERGED, UNFINISHED):
        there = each.where(state, shape)
        if not np.isnan(there).all():
            axes.imshow(there, cmap=ListedColormap([style.GREY]), label=state, **how)
    if norm is not None:
        clipped = np.maximum(losses, style.lowest(norm))  # NaN stays
        axes.imshow(clipped, cmap=style.COLOURS, norm=norm, **how)
    axes.fmt_xdata, axes.fmt_ydata = across.at, up.at  # what a report shows at its cursor
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(-0.5, len(up) - 0.5)
    for axis, ticks in ((axes.xaxis, across.ticks()), (axes.yaxis, up.ticks())):
        axis.set_ticks([at for at, _ in ticks], [label for _, label in ticks], **style.NAME)
    style.fit_labels(axes, [label for _, label in across.ticks()])
    is_written = max(shape) <= WRITTEN
    _mark(axes, each, losses, norm, 0.28 if is_written else 0.0)
    if is_written and norm is not None:
        _write(axes, losses, norm)
    _draw_bound(axes, each, across, up)


def _mark(axes: Axes, each: Panel, losses: Floats, norm: Normalize | None, lift: float) -> None:
    """Mark the behaviour of the runs, in every so many cells if they are many."""
    up, across = losses.shape
    step = math.ceil(across / MARKED), math.ceil(up / MARKED)
    size = 6 if max(up, across) <= WRITTEN else 4
    odd = [place for place, row in each.cells.items() if contradicts(row)]
    for state in SHOWN:
        marker, _ = style.MARKS[state]
        places = [
            (i, j)
            for (i, j), row in each.cells.items()
            if state_of(row) == state
            and i % step[0] == step[0] // 2
            and j % step[1] == step[1] // 2
        ]
        for dark in (False, True):
            there = [(i, j) for i, j in places if _is_dark(losses[j, i], norm) == dark]
            if there:
                x, y = np.array(there, float).T
                lifted = y + (lift if state not in (DIVERGED, UNFINISHED) else 0)
                colour = "white" if dark else style.INK
                axes.plot(x, lifted, ls="", marker=marker, color=colour, ms=size, label=state)
    if odd:
        x, y = np.array(odd, float).T
        ringed = min(18.0, max(8.0, 200 / max(up, across)))
        ring: dict[str, Any] = {"mfc": "none", "mec": style.ACCENT, "mew": 1.5}
        axes.plot(x, y, ls="", marker="o", ms=ringed, label="odd", **ring)


def _is_dark(loss: float, norm: Normalize | None) -> bool:
    return norm is not None and not math.isnan(loss) and style.is_dark(loss, norm)


def _write(axes: Axes, losses: Floats, norm: Normalize) -> None:
    """Write the loss into each cell."""
    size = 8 if losses.shape[1] <= 6 else 6
    for (j, i), loss in np.ndenumerate(losses):
        if not math.isnan(loss):
            colour = "white" if style.is_dark(loss, norm) else style.INK
            text = style.compact(loss)
            axes.text(i, j - 0.1, text, color=colour, ha="center", va="center", fontsize=size)


def _draw_bound(axes: Axes, each: Panel, across: Axis, up: Axis) -> None:
    """Draw the bound: a line where it is constant along the other axis, a stair where it is not."""
    how: dict[str, Any] = {"color": style.ACCENT, "ls": "--", "lw": 1.8, "label": BOUND}
    for along, axis in enumerate((across, up)):
        if not is_lr(axis.key, each.rows):
            continue
        bounds = each.bounds(along, len(up if along == 0 else across))
        at = [math.nan if math.isnan(b) else axis.position(b) for b in bounds]
        points = [(p, edge) for j, p in enumerate(at) for edge in (j - 0.5, j + 0.5)]
        positions, edges = np.array(points, float).T
        if not np.isnan(positions).all():
            axes.plot(*((positions, edges) if along == 0 else (edges, positions)), **how)
        return
    for x, y in each.edges():
        axes.plot(x, y, **how)
