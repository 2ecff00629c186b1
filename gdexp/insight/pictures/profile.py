"""The final loss over one setting, where a sweep has no two axes for a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdexp.insight.pictures.axes import NONE, SEED, Axis, Row, axis_of
from gdexp.insight.pictures.marks import BOUND_LABEL, DASHED, MARKS, keys_of, legend_below
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scales import log_axis, span
from gdexp.insight.pictures.scatter import points, set_scale
from gdexp.insight.pictures.state import (
    bound_of,
    contradicts,
    is_drawn,
    is_lr,
    loss_of,
    state_of,
    summary,
    table_of,
)
from gdexp.insight.pictures.style import INK, LARGE, canvas, number


def profile_of(rows: Sequence[Row], axis: Axis | None) -> Picture:
    """Draw the final loss of each run over one setting; in the place of the map, with its name.

    Args:
        rows: the runs.
        axis: the setting; None: the runs differ in nothing but their seed.
    """
    has_seeds = len({row.get(SEED) for row in rows}) > 1
    differing = [axis.key] if axis is not None else []
    differing += [SEED] if has_seeds else []
    axis = axis or (axis_of(rows, SEED) if has_seeds else _numbered(rows))
    figure, axes = canvas(LARGE)
    losses = np.array([loss_of(row) if is_drawn(row) else math.nan for row in rows])
    set_scale(axes, "x", axis)
    if ends := span(losses):
        log_axis(axes.yaxis, *ends)
    low, high = axes.get_ylim()
    x = np.array([axis.place(row) for row in rows])
    is_log = axes.get_yscale() == "log"

    def height(share: float) -> float:
        return float(low * (high / low) ** share if is_log else low + share * (high - low))

    y = np.where(np.isnan(losses), height(0.97), losses)
    y = np.maximum(y, height(0.03)) if is_log else y
    points(axes, rows, x.tolist(), y.tolist(), None)
    _join(axes, axis, x, losses)
    bounds = sorted({b for row in rows if math.isfinite(b := bound_of(row))})
    bounds = bounds if is_lr(axis.key, rows) else []
    for bound in bounds:
        axes.axvline(bound, **DASHED)
    axes.set_xlabel(axis.key)
    axes.set_ylabel("final loss")
    keys = keys_of(
        map(state_of, rows),
        odd=any(map(contradicts, rows)),
        bound=bool(bounds),
        shown=tuple(MARKS),
    )
    legend_below(figure, keys)
    title = f"Final loss by {axis.key}"
    why, over = "The runs do not differ", "of each run"
    if differing:
        why, over = f"The runs differ only in {' and '.join(differing)}", f"over {axis.key}"
    words = f"{why}, so there are no two axes for a map: this draws the final loss {over}"
    above = "" if not np.isnan(losses).any() else " Runs without a final loss stand at the top."
    line = (
        ""
        if not bounds
        else f" The dashed line is at {axis.key}={number(bounds[0], 4)}, the {BOUND_LABEL}."
    )
    description = f"{words}. {summary(rows)}{above}{line}"
    return Picture(
        "map", title, description, table_of(sorted(rows, key=axis.place), [axis]), figure
    )


def _numbered(rows: Sequence[Row]) -> Axis:
    """An axis on which each run has a place of its own."""
    return Axis("job", tuple(dict.fromkeys(str(row.get("job", NONE)) for row in rows)), "category")


def _join(axes: Any, axis: Axis, x: Any, losses: Any) -> None:
    """A thin line through the median loss of each value of a numeric setting."""
    if not axis.is_numeric or axis.key in (SEED, "job"):
        return
    ends = [(v, np.median(own)) for v in axis.values if len(own := _finite(losses[x == v]))]
    if len(ends) > 1:
        across, up = np.array(ends, float).T
        axes.plot(across, up, color=INK, lw=0.8, alpha=0.6, zorder=0.5, label="median")


def _finite(values: Any) -> Any:
    return values[np.isfinite(values)]
