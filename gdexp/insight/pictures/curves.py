"""The curves of the loss of a sweep's runs, coloured by a setting, and their mean over seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gdexp.insight.pictures import sweep_style as style
from gdexp.insight.pictures.axes import Axis, Floats, Row
from gdexp.insight.pictures.cells import facets
from gdexp.insight.pictures.ends import name_ends
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.state import DIVERGED, best_of, loss_of, state_of, summary

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
TABLE = 50  # rows of the table


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
    figure, places = _figure(len(groups))
    for place, (title, members) in zip(places, groups.items(), strict=True):
        lines = _draw(place, members, curves, axis, scale)
        place.set_title(title, fontsize=10, **style.NAME)
        _limit(place, shown, curves)
        if is_named and axis is not None:
            name_ends(place, lines, [axis.label(axis.of(row)) for row in members], axis.key)
    if scale is not None and axis is not None:
        _add_scale(figure, places, scale, axis)
    if any(state_of(row) == DIVERGED for row in shown):
        style.add_legend(figure, [style.line("--", "diverged"), style.line("-", "did not diverge")])
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
    shown = [ordered[i] for i in style.thinned(len(ordered), DRAWN)]
    best = best_of(rows)
    if best is not None and best not in shown:
        nearest = min(range(len(shown)), key=lambda i: abs(loss_of(shown[i]) - loss_of(best)))
        shown[nearest] = best
    return shown


def _figure(count: int) -> tuple[Any, list[Axes]]:
    columns = 1 if count == 1 else 2
    lines = math.ceil(count / columns)
    figure = style.figure_of(7.0 if count == 1 else 9.4, 1.0 + 3.4 * lines)
    places = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for spare in places[count:]:
        spare.remove()
    for number, place in enumerate(places[:count]):
        place.set_xlabel("epoch")
        if number % columns == 0:
            place.set_ylabel("loss")
    return figure, list(places[:count])


def _norm(axis: Axis) -> Normalize:
    """The scale of the colours of an axis."""
    from matplotlib.colors import LogNorm, Normalize

    if not axis.is_numeric:
        return Normalize(0, len(axis) - 1)
    low, high = float(axis.values[0]), float(axis.values[-1])
    return LogNorm(low, high) if axis.scale == "log" else Normalize(low, high)


def _add_scale(figure: Any, places: Sequence[Axes], scale: Normalize, axis: Axis) -> None:
    """Add the scale of the colours of an axis: its numbers, or its words."""
    bar = style.colorbar(figure, places, scale, axis.key)
    if not axis.is_numeric:
        ticks = axis.ticks()
        bar.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks], **style.NAME)


def _draw(
    place: Axes,
    rows: Sequence[Row],
    curves: Mapping[str, Curve],
    axis: Axis | None,
    scale: Normalize | None,
) -> list[Line2D]:
    """Draw the curves of one panel; each has a marker of its own if they are to be named."""
    import matplotlib

    points = max(24, POINTS // len(rows))
    lines = []
    for number, row in enumerate(rows):
        epochs, values = curves[row["run_id"]]
        keep = _kept(values, points)
        look: dict[str, Any] = {"lw": 0.8, "marker": "o" if len(keep) == 1 else "", "ms": 4}
        if scale is None:
            share = number / max(1, len(rows) - 1)
            look |= {"lw": 1.4, "marker": style.POINTS[number % len(style.POINTS)]}
            look["markevery"] = max(1, len(keep) // 8)
        else:
            share = float(scale(axis.place(row))) if axis is not None else 0.0
        look["color"] = matplotlib.colormaps[style.COLOURS](style.BRIGHTEST * share)
        dashes = "--" if state_of(row) == DIVERGED else "-"
        lines += place.plot(epochs[keep], values[keep], dashes, label=row["run_id"], **look)
    return lines


def _kept(values: Floats, points: int) -> list[int]:
    """Indices of so many points of a curve, among them the extremes of each stretch."""
    if len(values) <= points:
        return list(range(len(values)))
    edges = np.linspace(0, len(values), points // 2 + 1).astype(int)
    kept = {0, len(values) - 1}
    for a, b in itertools.pairwise(edges):
        part = np.where(np.isfinite(values[a:b]), values[a:b], -math.inf)
        kept |= {int(a + part.argmin()), int(a + part.argmax())}
    return sorted(kept)


def _limit(place: Axes, rows: Sequence[Row], curves: Mapping[str, Curve]) -> None:
    """Limit the axis: curves that diverge leave it 3 decades above the start."""
    everything = np.concatenate([values for _, values in curves.values()])
    everything = everything[np.isfinite(everything)]
    kept = [curves[row["run_id"]][1] for row in rows if state_of(row) != DIVERGED]
    if len(kept) < len(rows) and len(everything):
        usual = np.concatenate([*kept, *(values[:1] for _, values in curves.values())])
        ceiling = float(np.max(usual, where=np.isfinite(usual), initial=0.0)) * 1e3
        if ceiling > 0:
            everything = np.append(
                everything[everything <= ceiling], min(ceiling, everything.max())
            )
    style.limit_logarithmic(place, everything)


def _table(
    rows: Sequence[Row], axes: Sequence[Axis], curves: Mapping[str, Curve]
) -> dict[str, list[Any]]:
    """First, smallest and last loss of the curves, evenly sampled if they are many."""
    shown = [rows[i] for i in style.thinned(len(rows), TABLE)]
    columns: dict[str, list[Any]] = {axis.key: [axis.of(row) for row in shown] for axis in axes}
    own = [curves[row["run_id"]] for row in shown]
    columns["epochs"] = [int(epochs[-1]) for epochs, _ in own]
    columns["first loss"] = [float(values[0]) for _, values in own]
    columns["smallest loss"] = [float(np.fmin.reduce(values)) for _, values in own]
    columns["last loss"] = [float(values[-1]) for _, values in own]
    columns["outcome"] = [row["outcome"] for row in shown]
    return columns
