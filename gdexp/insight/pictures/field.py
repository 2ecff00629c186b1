"""The cells of a map: their colours as one small image, numbers, marks and the bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures.axes import Axis, Floats
from gdexp.insight.pictures.cells import Panel
from gdexp.insight.pictures.colours import BRIGHT, DARK, ink_on, lowest
from gdexp.insight.pictures.marks import ACCENT, DASHED, GREY, marker
from gdexp.insight.pictures.scales import label_words
from gdexp.insight.pictures.state import (
    DIVERGED,
    GROWING,
    OSCILLATING,
    UNFINISHED,
    contradicts,
    is_lr,
    state_of,
)
from gdexp.insight.pictures.style import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

WRITTEN = 10  # cells along an axis up to which each has its number
READABLE, LARGEST, LETTER = 6.0, 9.0, 0.62  # points of its font, and the width of a digit in them
MARKED = 25  # cells along an axis of which each has its mark; of more, so many
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
            axes.imshow(there, cmap=ListedColormap([GREY]), label=state, **how)
    if norm is not None:
        clipped = np.maximum(losses, lowest(norm))  # NaN stays
        axes.imshow(clipped, norm=norm, **how)
    axes.fmt_xdata, axes.fmt_ydata = across.at, up.at  # what a report shows at its cursor
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(-0.5, len(up) - 0.5)
    axes.grid(False)
    label_words(axes, "x", across.ticks())
    label_words(axes, "y", up.ticks())
    texts, size = _texts(axes, losses)
    for (j, i), text in texts.items():
        ink = ink_on(losses[j, i], norm)
        axes.text(i, j - 0.12, text, color=ink, ha="center", va="center", fontsize=size)
    _mark(axes, each, losses, norm, 0.3 if texts else 0.0)
    _draw_bound(axes, each, across, up)


def _mark(axes: Axes, each: Panel, losses: Floats, norm: Normalize | None, lift: float) -> None:
    """Mark the behaviour of the runs, in every so many cells if they are many."""
    up, across = losses.shape
    step = math.ceil(across / MARKED), math.ceil(up / MARKED)
    size = 6 if max(up, across) <= WRITTEN / 2 else 4
    odd = [place for place, row in each.cells.items() if contradicts(row)]
    for state in SHOWN:
        places = [
            (i, j)
            for (i, j), row in each.cells.items()
            if state_of(row) == state
            and i % step[0] == step[0] // 2
            and j % step[1] == step[1] // 2
        ]
        for ink in (DARK, BRIGHT):
            there = [(i, j) for i, j in places if ink_on(losses[j, i], norm) == ink]
            if there:
                x, y = np.array(there, float).T
                y += lift if state not in (DIVERGED, UNFINISHED) else 0
                axes.plot(x, y, ls="", marker=marker(state), color=ink, ms=size, label=state)
    if odd:
        x, y = np.array(odd, float).T
        ringed = min(30.0, max(8.0, 150 / max(up, across)))
        ring: dict[str, Any] = {"mfc": "none", "mec": ACCENT, "mew": 1.5}
        axes.plot(x, y, ls="", marker="o", ms=ringed, label="odd", **ring)


def _texts(axes: Axes, losses: Floats) -> tuple[dict[tuple[int, int], str], float]:
    """What is written into the cells, by (up, across), and in which size; nothing if too small."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = 72 * figure.get_figwidth() * axes.get_position().width / losses.shape[1]
    for digits in (2, 1) if max(losses.shape) <= WRITTEN else ():
        texts = {
            place: number(loss, digits)
            for place, loss in np.ndenumerate(losses)
            if not math.isnan(loss)
        }
        longest = max(map(len, texts.values()), default=1)
        if (size := min(LARGEST, width / (LETTER * longest + 1))) >= READABLE:
            return texts, size
    return {}, 0.0


def _draw_bound(axes: Axes, each: Panel, across: Axis, up: Axis) -> None:
    """Draw the bound: a line where it is constant along the other axis, a stair where it is not."""
    for along, axis in enumerate((across, up)):
        if not is_lr(axis.key, each.rows):
            continue
        bounds = each.bounds(along, len(up if along == 0 else across))
        at = [math.nan if math.isnan(b) else axis.position(b) for b in bounds]
        points = [(p, edge) for j, p in enumerate(at) for edge in (j - 0.5, j + 0.5)]
        positions, edges = np.array(points, float).T
        if not np.isnan(positions).all():
            axes.plot(*((positions, edges) if along == 0 else (edges, positions)), **DASHED)
        return
    for x, y in each.edges():
        axes.plot(x, y, **DASHED)
