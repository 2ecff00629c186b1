"""The map of a sweep: the final loss over two of its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.numbers import short
from gdexp.insight.pictures import sweep_style as style
from gdexp.insight.pictures.axes import Axis, Floats, Row
from gdexp.insight.pictures.cells import PANELS, Panel, facets, panel
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scatter import scattered
from gdexp.insight.pictures.state import (
    BOUND,
    DIVERGED,
    GROWING,
    LOSS,
    OSCILLATING,
    UNFINISHED,
    bound_of,
    contradicts,
    is_lr,
    state_of,
    summary,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

FULL = 0.5  # share of the cells that have a run, below which runs are drawn as points
WRITTEN = 10  # cells along an axis up to which each has its number
MARKED = 16  # cells along an axis of which each has its mark; of more, so many
TABLE = 50  # rows of the table
SHOWN = (OSCILLATING, GROWING, DIVERGED, UNFINISHED)  # states with a mark; others have none


def map_of(rows: Sequence[Row], across: Axis, up: Axis, others: Sequence[Axis] = ()) -> Picture:
    """Draw the final loss over two settings.

    Args:
        rows: the runs.
        across: the setting of the horizontal axis.
        up: the setting of the vertical axis.
        others: the other settings that differ: a panel for each combination of them, or, if these
            are too many, one panel with the best run of each cell.
    """
    groups = facets(rows, others) if others else {"": list(rows)}
    is_best = len(groups) > PANELS
    if is_best:
        groups = {"": list(rows)}
    panels = [panel(members, across, up, title, is_best) for title, members in groups.items()]
    size = len(across) * len(up)
    is_field = max(len(each.cells) for each in panels) >= FULL * size
    norm = style.norm_of(v for each in panels for v in each.losses((len(up), len(across))).flat)
    figure, places = _figure(len(panels), across, up)
    for axes, each in zip(places, panels, strict=True):
        if is_field:
            _field(axes, each, across, up, norm)
        else:
            scattered(axes, each, across, up, norm)
        axes.set_title(each.title, fontsize=10, **style.NAME)
    losses = [v for each in panels for v in each.losses((len(up), len(across))).flat]
    if norm is not None:
        style.add_colorbar(figure, places, norm, "final loss", losses)
    cells = [row for each in panels for row in each.cells.values()]
    has_bound = any(math.isfinite(v) for each in panels for v in _bounds(each, across, up))
    odd = any(map(contradicts, cells))
    marks = SHOWN if is_field else tuple(style.MARKS)
    states = map(state_of, cells)
    keys = style.keys_of(states, odd=odd, bound=has_bound, shown=marks)
    style.add_legend(figure, keys)
    title = f"Final loss by {across.key} and {up.key}"
    description = _description(rows, panels, title, others if is_best else (), norm, has_bound)
    return Picture("map", title, description, _table(cells, [across, up, *others]), figure)


def _figure(count: int, across: Axis, up: Axis) -> tuple[Any, list[Axes]]:
    """A figure with so many panels, and room for the numbers in their cells."""
    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    lines = math.ceil(count / columns)
    figure = style.figure_of(2.2 + (4.6 if count == 1 else 3.6) * columns, 0.9 + 3.4 * lines)
    places = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for spare in places[count:]:
        spare.remove()
    for number, axes in enumerate(places[:count]):
        if number + columns >= count:
            axes.set_xlabel(across.key, **style.NAME)
            axes.tick_params(labelbottom=True)
        if number % columns == 0:
            axes.set_ylabel(up.key, **style.NAME)
    return figure, list(places[:count])


def _field(axes: Axes, each: Panel, across: Axis, up: Axis, norm: Normalize | None) -> None:
    """Draw every cell as a coloured rectangle, all of them as one small image."""
    from matplotlib.colors import ListedColormap

    shape = len(up), len(across)
    losses = each.losses(shape)
    how: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "none"}
    for state in (DIVERGED, UNFINISHED):
        there = each.where(state, shape)
        if not np.isnan(there).all():
            axes.imshow(there, cmap=ListedColormap([style.GREY]), **how)
    if norm is not None:
        clipped = np.where(losses < (norm.vmin or -math.inf), norm.vmin, losses)
        axes.imshow(clipped, cmap=style.COLOURS, norm=norm, **how)
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(-0.5, len(up) - 0.5)
    for axis, ticks in ((axes.xaxis, across.ticks()), (axes.yaxis, up.ticks())):
        axis.set_ticks([at for at, _ in ticks], [label for _, label in ticks], **style.NAME)
    if max(len(label) for _, label in across.ticks()) * len(across.ticks()) > 60:
        axes.tick_params(axis="x", rotation=45)
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
        ring = {"mfc": "none", "mec": style.ACCENT, "mew": 1.5}
        axes.plot(x, y, ls="", marker="o", ms=min(18, 200 / max(up, across)), label="odd", **ring)


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


def _bounds(each: Panel, across: Axis, up: Axis) -> list[float]:
    """The bounds that are drawn as a line, if an axis is that of the learning rate."""
    for along, axis in enumerate((across, up)):
        if is_lr(axis.key, each.rows):
            return each.bounds(along, len(up if along == 0 else across))
    return [1.0] if each.edges() else []


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


def _description(
    rows: Sequence[Row],
    panels: Sequence[Panel],
    title: str,
    others: Sequence[Axis],
    norm: Normalize | None,
    has_bound: bool,
) -> str:
    """What can be seen, in a few sentences."""
    text = title
    if norm is not None:
        text += f", coloured from {short(float(norm.vmin), 3)} to {short(float(norm.vmax), 3)}"
    if len(panels) > 1:
        text += f", in {len(panels)} panels"
    parts = [f"{text}."]
    if others:
        parts.append(f"Each cell shows its best run over {', '.join(a.key for a in others)}.")
    elif (most := max(each.repeated for each in panels)) > 1:
        parts.append(f"Each cell shows the median of its runs, up to {most}.")
    parts.append(summary(rows))
    if has_bound:
        known = {b for each in panels for row in each.rows if math.isfinite(b := bound_of(row))}
        parts.append(_bound_words(sorted(known)))
    return " ".join(filter(None, parts))


def _bound_words(bounds: Sequence[float]) -> str:
    words = short(bounds[0], 3)
    if len({short(b, 3) for b in bounds}) > 1:
        words = f"{words} to {short(bounds[-1], 3)}"
    return f"The dashed line is the largest lr that converges, as forecast: {words}."


def _table(cells: Sequence[Row], axes: Sequence[Axis]) -> dict[str, list[Any]]:
    """The numbers of the cells, evenly sampled if they are many."""
    rows = [cells[i] for i in style.thinned(len(cells), TABLE)]
    columns: dict[str, list[Any]] = {axis.key: [axis.of(row) for row in rows] for axis in axes}
    columns[LOSS] = [row.get(LOSS) for row in rows]
    columns["behaviour"] = [state_of(row) for row in rows]
    if any(BOUND in row for row in rows):
        columns["largest lr"] = [row.get(BOUND) for row in rows]
        columns["contradicts the forecast"] = ["yes" if contradicts(row) else "" for row in rows]
    return columns
