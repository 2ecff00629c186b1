"""The map of a sweep: the final loss over two of its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gdexp.insight.pictures.axes import Axis, Row
from gdexp.insight.pictures.cells import PANELS, Panel, facets, panel
from gdexp.insight.pictures.colours import loss_bar, norm_of
from gdexp.insight.pictures.field import SHOWN, draw_field
from gdexp.insight.pictures.marks import BOUND_LABEL, MARKS, keys_of, legend_below
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scatter import draw_points
from gdexp.insight.pictures.state import (
    bound_of,
    contradicts,
    is_drawn,
    loss_of,
    scaled,
    state_of,
    summary,
    table_of,
)
from gdexp.insight.pictures.style import number
from gdexp.insight.pictures.style import panels as panels_of

FULL = 0.5  # share of the cells that have a run, below which runs are drawn as points
WIDTH = 3.4  # inches of each of several panels


def map_of(rows: Sequence[Row], across: Axis, up: Axis, others: Sequence[Axis] = ()) -> Picture:
    """Draw the final loss over two settings.

    Where most cells have a run, cells are coloured; else each run is a point.

    Args:
        rows: the runs.
        across: the setting of the horizontal axis.
        up: the setting of the vertical axis.
        others: the other settings that differ: a panel for each combination of them, or, if these
            are too many, one panel with the best run of each cell.
    """
    groups = facets(rows, others)
    is_best = len(groups) > PANELS
    groups = {"": list(rows)} if is_best else groups
    panels = [panel(members, across, up, title, is_best) for title, members in groups.items()]
    is_field = max(len(each.cells) for each in panels) >= FULL * len(across) * len(up)
    shown = [row for each in panels for row in (each.cells.values() if is_field else each.rows)]
    norm = norm_of(scaled(shown))
    figure, places = panels_of(len(panels), WIDTH, across.key, up.key)
    draw = draw_field if is_field else draw_points
    for axes, each in zip(places, panels, strict=True):
        draw(axes, each, across, up, norm)
        axes.set_title(each.title)
    if norm is not None:
        losses = [loss_of(row) for row in shown if is_drawn(row)]
        loss_bar(figure, places, norm, losses)
    bounds = _bounds(panels, across, up)
    keys = keys_of(
        map(state_of, shown),
        odd=any(map(contradicts, shown)),
        bound=bool(bounds),
        shown=SHOWN if is_field else tuple(MARKS),
    )
    legend_below(figure, keys)
    words = [_first_words(panels, across, up, norm)]
    if is_field and is_best:
        words.append(f"Each cell shows its best run over {', '.join(a.key for a in others)}.")
    elif is_field and (most := max(each.repeated for each in panels)) > 1:
        words.append(f"Each cell shows the median of its runs, up to {most}.")
    words += [summary(rows), _bound_words(bounds)]
    title = f"Final loss by {across.key} and {up.key}"
    table = table_of(shown, [across, up, *others])
    return Picture("map", title, " ".join(filter(None, words)), table, figure)


def _bounds(panels: Sequence[Panel], across: Axis, up: Axis) -> list[float]:
    """The bounds that are drawn, in ascending order."""
    if not any(each.has_bound(across, up) for each in panels):
        return []
    return sorted({b for each in panels for row in each.rows if math.isfinite(b := bound_of(row))})


def _first_words(panels: Sequence[Panel], across: Axis, up: Axis, norm: Any) -> str:
    words = f"Final loss by {across.key} and {up.key}"
    if norm is not None:
        words += f", coloured from {number(norm.vmin, 3)} to {number(norm.vmax, 3)}"
    return f"{words}, in {len(panels)} panels." if len(panels) > 1 else f"{words}."


def _bound_words(bounds: Sequence[float]) -> str:
    if not bounds:
        return ""
    words, last = number(bounds[0], 3), number(bounds[-1], 3)
    words += f" to {last}" if last != words else ""
    return f"The dashed line is the {BOUND_LABEL}: {words}."
