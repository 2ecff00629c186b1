"""The map of a sweep: the final loss over two of its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gdexp.descent.numbers import short
from gdexp.insight.pictures import sweep_style as style
from gdexp.insight.pictures.axes import Axis, Row
from gdexp.insight.pictures.cells import PANELS, Panel, facets, panel
from gdexp.insight.pictures.field import SHOWN, draw_field
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scatter import draw_points
from gdexp.insight.pictures.state import (
    BOUND,
    LOSS,
    bound_of,
    contradicts,
    is_drawn,
    loss_of,
    scaled,
    state_of,
    summary,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FULL = 0.5  # share of the cells that have a run, below which runs are drawn as points
TABLE = 50  # rows of the table


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
    norm = style.norm_of(scaled(shown))
    figure, places = _figure(len(panels), across, up)
    draw = draw_field if is_field else draw_points
    for axes, each in zip(places, panels, strict=True):
        draw(axes, each, across, up, norm)
        axes.set_title(each.title, fontsize=10, **style.NAME)
    if norm is not None:
        losses = [loss_of(row) for row in shown if is_drawn(row)]
        style.add_colorbar(figure, places, norm, "final loss", losses)
    bounds = _bounds(panels, across, up)
    keys = style.keys_of(
        map(state_of, shown),
        odd=any(map(contradicts, shown)),
        bound=bool(bounds),
        shown=SHOWN if is_field else tuple(style.MARKS),
    )
    style.add_legend(figure, keys)
    words = [_first_words(panels, across, up, norm)]
    if is_field and is_best:
        words.append(f"Each cell shows its best run over {', '.join(a.key for a in others)}.")
    elif is_field and (most := max(each.repeated for each in panels)) > 1:
        words.append(f"Each cell shows the median of its runs, up to {most}.")
    words += [summary(rows), _bound_words(bounds)]
    title = f"Final loss by {across.key} and {up.key}"
    table = _table(shown, [across, up, *others])
    return Picture("map", title, " ".join(filter(None, words)), table, figure)


def _figure(count: int, across: Axis, up: Axis) -> tuple[Figure, list[Axes]]:
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


def _bounds(panels: Sequence[Panel], across: Axis, up: Axis) -> list[float]:
    """The bounds that are drawn, in ascending order."""
    if not any(each.has_bound(across, up) for each in panels):
        return []
    return sorted({b for each in panels for row in each.rows if math.isfinite(b := bound_of(row))})


def _first_words(panels: Sequence[Panel], across: Axis, up: Axis, norm: Any) -> str:
    words = f"Final loss by {across.key} and {up.key}"
    if norm is not None:
        words += f", coloured from {short(norm.vmin, 3)} to {short(norm.vmax, 3)}"
    return f"{words}, in {len(panels)} panels." if len(panels) > 1 else f"{words}."


def _bound_words(bounds: Sequence[float]) -> str:
    if not bounds:
        return ""
    words, last = short(bounds[0], 3), short(bounds[-1], 3)
    words += f" to {last}" if last != words else ""
    return f"The dashed line is the {style.BOUND_LABEL}: {words}."


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
