"""The curves of the loss of a sweep's runs, coloured by a setting, and their mean over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gdexp.descent.thinning import thin
from gdexp.insight.pictures.axes import Axis, Floats, Row
from gdexp.insight.pictures.cells import facets
from gdexp.insight.pictures.colours import setting_bar, shade
from gdexp.insight.pictures.ends import name_ends
from gdexp.insight.pictures.marks import key, legend_below
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scales import epoch_axis, log_axis, span
from gdexp.insight.pictures.state import (
    DIVERGED,
    GROWING,
    best_of,
    loss_of,
    sampled,
    state_of,
    summary,
)
from gdexp.insight.pictures.style import evenly, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.lines import Line2D

Curve: TypeAlias = tuple[Floats, Floats]
Losses: TypeAlias = Callable[[Sequence[str]], Mapping[str, Curve]]
"""From ids of runs to their recorded (epochs, losses)."""

DRAWN = 100  # curves at most
POINTS = 2400  # of all curves together, about; each has 24 at least
NAMED = 10  # curves that are named at their ends
PANELS = 4
WIDTH = 3.6  # inches of each of several panels
MARKERS = "os^Dv<>pP*"
GROWN = (DIVERGED, GROWING)  # states whose curves leave the axis


def curves_of(rows: Sequence[Row], axes: Sequence[Axis], losses: Losses) -> Picture | None:
    """Draw the loss by epoch, a curve for each run; None if no run has a curve.

    Of runs that differ only in ``iters``, the longest is drawn, since the others are its beginning.

    Args:
        rows: the runs.
        axes: the settings that differ; the first besides ``iters`` colours the curves.
        losses: reads the curves.
    """
    longest = _longest(rows, axes)
    kept = [axis for axis in axes if axis.key != "iters"]
    sample = _sample(longest, kept[:1])
    read = losses([row["run_id"] for row in sample])
    curves = {run_id: curve for run_id, curve in read.items() if len(curve[0])}
    shown = [row for row in sample if row["run_id"] in curves]
    if not shown:
        return None
    groups = facets(shown, kept[1:])
    groups = groups if len(groups) <= PANELS else {"": shown}
    axis = kept[0] if kept else None
    is_named = max(map(len, groups.values())) <= NAMED
    scale = None if axis is None or is_named else _norm(axis)
    figure, places = panels(len(groups), WIDTH, "epoch", "loss")
    for place, (title, members) in zip(places, groups.items(), strict=True):
        lines = _draw(place, members, curves, axis, scale)
        place.set_title(title)
        epoch_axis(place, int(max(curves[row["run_id"]][0][-1] for row in shown)))
        _limit(place, shown, curves)
        if is_named and axis is not None:
            name_ends(place, lines, [axis.label(axis.of(row)) for row in members], axis.key)
    if scale is not None and axis is not None:
        _add_scale(figure, places, scale, axis)
    if any(state_of(row) == DIVERGED for row in shown):
        legend_below(figure, [key("diverged", ls="--"), key("did not diverge")])
    words = [_words(len(shown), len(longest), len(rows), axis), summary(rows)]
    title = "Loss" if axis is None else f"Loss by {axis.key}"
    return Picture("curves", title, " ".join(words), _table(shown, kept, curves), figure)


def _words(shown: int, longest: int, runs: int, axis: Axis | None) -> str:
    """Which curves are drawn."""
    colours = "" if axis is None else f", coloured by {axis.key}"
    words = f"The loss by epoch{colours}."
    if shown < longest:
        words = f"The loss by epoch of {shown} of {longest} runs, evenly sampled{colours}."
    return words + (" Of runs that differ only in iters, the longest is drawn." * (longest < runs))


def _longest(rows: Sequence[Row], axes: Sequence[Axis]) -> list[Row]:
    """Of runs that differ only in iters, the longest."""
    keys = [axis.key for axis in axes if axis.key != "iters"]
    if len(keys) == len(axes):
        return list(rows)
    longest: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (*(row.get(k) for k in keys), row.get("seed"))
        if key not in longest or _iters(row) > _iters(longest[key]):
            longest[key] = row
    return list(longest.values())


def _iters(row: Row) -> float:
    try:
        return float(row.get("iters", 0))
    except ValueError:
        return 0.0


def _sample(rows: Sequence[Row], axes: Sequence[Axis]) -> list[Row]:
    """At most DRAWN runs, evenly along the axis, and the best one among them."""
    ordered = sorted(rows, key=axes[0].place) if axes else list(rows)
    shown = [ordered[i] for i in evenly(len(ordered), DRAWN)]
    best = best_of(rows)
    if best is not None and best not in shown:
        nearest = min(range(len(shown)), key=lambda i: abs(loss_of(shown[i]) - loss_of(best)))
        shown[nearest] = best
    return shown


def _norm(axis: Axis) -> Normalize:
    """The scale of the colours of an axis."""
    from matplotlib.colors import LogNorm, Normalize

    if not axis.is_numeric:
        return Normalize(0, len(axis) - 1)
    low, high = float(axis.values[0]), float(axis.values[-1])
    return LogNorm(low, high) if axis.scale == "log" else Normalize(low, high)


def _add_scale(figure: Any, places: Sequence[Axes], scale: Normalize, axis: Axis) -> None:
    """Add the scale of the colours of an axis: its numbers, or its words."""
    bar = setting_bar(figure, places, scale, axis.key)
    if not axis.is_numeric:
        ticks = axis.ticks()
        bar.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks])


def _draw(
    place: Axes,
    rows: Sequence[Row],
    curves: Mapping[str, Curve],
    axis: Axis | None,
    scale: Normalize | None,
) -> list[Line2D]:
    """Draw the curves of one panel; each has a marker of its own if they are to be named."""
    points = max(24, POINTS // len(rows))
    lines = []
    for which, row in enumerate(rows):
        epochs, values = curves[row["run_id"]]
        keep = thin(values, points // 2)
        look: dict[str, Any] = {"lw": 0.8, "marker": "o" if len(keep) == 1 else "", "ms": 4}
        if scale is None:
            share = which / max(1, len(rows) - 1)
            look |= {"lw": 1.4, "marker": MARKERS[which % len(MARKERS)]}
            look["markevery"] = max(1, len(keep) // 8)
        else:
            share = float(scale(axis.place(row))) if axis is not None else 0.0
        look["color"] = shade(share)
        dashes = "--" if state_of(row) == DIVERGED else "-"
        lines += place.plot(epochs[keep], values[keep], dashes, label=row["run_id"], **look)
    return lines


def _limit(place: Axes, rows: Sequence[Row], curves: Mapping[str, Curve]) -> None:
    """Limit the axis: curves that grow or diverge leave it 3 decades above the start."""
    everything = np.concatenate([values for _, values in curves.values()])
    everything = everything[np.isfinite(everything)]
    kept = [curves[row["run_id"]][1] for row in rows if state_of(row) not in GROWN]
    if len(kept) < len(rows) and len(everything):
        usual = np.concatenate([*kept, *(values[:1] for _, values in curves.values())])
        ceiling = float(np.max(usual, where=np.isfinite(usual), initial=0.0)) * 1e3
        if ceiling > 0:
            everything = np.append(
                everything[everything <= ceiling], min(ceiling, everything.max())
            )
    if ends := span(everything):
        log_axis(place.yaxis, *ends)


def _table(
    rows: Sequence[Row], axes: Sequence[Axis], curves: Mapping[str, Curve]
) -> dict[str, list[Any]]:
    """First, smallest and last loss of the curves, evenly sampled if they are many."""
    shown, columns = sampled(rows, axes)
    own = [curves[row["run_id"]] for row in shown]
    columns["epochs"] = [int(epochs[-1]) for epochs, _ in own]
    columns["first loss"] = [float(values[0]) for _, values in own]
    columns["smallest loss"] = [float(np.fmin.reduce(values)) for _, values in own]
    columns["last loss"] = [float(values[-1]) for _, values in own]
    columns["outcome"] = [row["outcome"] for row in shown]
    return columns
