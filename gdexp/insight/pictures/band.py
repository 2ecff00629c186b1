"""Mean and standard deviation of the loss over the seeds of a sweep, as bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdexp.descent.numbers import plus_minus
from gdexp.errors import counted
from gdexp.insight.pictures.axes import SEED, Axis, Row
from gdexp.insight.pictures.cells import facets
from gdexp.insight.pictures.curves import Curve, Losses
from gdexp.insight.pictures.ends import name_ends
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scales import epoch_axis, log_axis, span
from gdexp.insight.pictures.state import is_drawn
from gdexp.insight.pictures.style import LARGE, canvas, evenly, look
from gdexp.insight.repetitions import moments

BANDS = 6  # drawn at most, if there are more groups
SEEDS = 50  # of a group that are read at most
POINTS = 200  # of a band


def bands_of(rows: Sequence[Row], axes: Sequence[Axis], losses: Losses) -> Picture | None:
    """Draw the mean of the loss over the seeds, and one standard deviation above and below it.

    Runs that diverged or did not finish are left out and counted. A run that stopped early keeps
    its last loss. Groups of a single run have no band.

    Args:
        rows: the runs.
        axes: the settings that differ besides the seed: a band for each combination.
        losses: reads the curves.

    Returns:
        None if the seed does not vary, or no two runs of a group have completed.
    """
    if len({row.get(SEED) for row in rows}) < 2:
        return None
    runs = facets(rows, axes)
    groups = {
        title: kept
        for title, members in runs.items()
        if len(kept := [row for row in members if is_drawn(row)]) > 1
    }
    if not groups:
        return None
    titles = [[*groups][i] for i in evenly(len(groups), BANDS)]
    ids = {title: [row["run_id"] for row in groups[title][:SEEDS]] for title in titles}
    curves = losses([run_id for each in ids.values() for run_id in each])
    drawn = {
        title: own
        for title in titles
        if len(own := [curves[run_id] for run_id in ids[title] if run_id in curves]) > 1
    }
    if not drawn:
        return None
    figure, place = canvas(LARGE)
    table: dict[str, list[Any]] = {}
    lines, everything = [], []
    for which, (title, own) in enumerate(drawn.items()):
        epochs, mean, deviation = mean_and_deviation(own)
        lowest = np.min([values.min() for _, values in own])
        lower = np.maximum(mean - deviation, lowest)
        colour = look(which)["color"]
        place.fill_between(epochs, lower, mean + deviation, color=colour, alpha=0.22, lw=0)
        lines += place.plot(epochs, mean, **look(which))
        everything += [lower, mean + deviation]
        row = _row(title, len(own), len(runs[title]) - len(groups[title]), mean[-1], deviation[-1])
        for key, value in row.items():
            table.setdefault(key, []).append(value)
    if ends := span(np.concatenate(everything)):
        log_axis(place.yaxis, *ends)
    epoch_axis(place, int(max(epochs[-1] for own in drawn.values() for epochs, _ in own)))
    place.set_ylabel("loss, mean ± standard deviation")
    name_ends(place, lines, [title or "mean" for title in drawn])
    description = _description(table, len(groups))
    return Picture("repetitions", "Loss over the seeds", description, table, figure)


def mean_and_deviation(curves: Sequence[Curve]) -> tuple[Any, Any, Any]:
    """Epochs, mean and standard deviation of curves, over the epochs of the longest."""
    epochs = max((epochs for epochs, _ in curves), key=lambda each: each[-1])
    epochs = epochs[evenly(len(epochs), POINTS)]
    table = np.array([np.interp(epochs, own, values) for own, values in curves])
    mean, deviation = np.array([moments(column) for column in table.T.tolist()]).T
    return epochs, mean, deviation


def _row(title: str, count: int, left_out: int, mean: float, deviation: float) -> dict[str, Any]:
    return {
        "setting": title or "all",
        "runs": count,
        "left out": left_out,
        "last mean": float(mean),
        "last standard deviation": float(deviation),
    }


def _description(table: dict[str, list[Any]], groups: int) -> str:
    """What the bands are, and how the best of them ends."""
    best = int(np.argmin(table["last mean"]))
    counts = sorted({*table["runs"]})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    words = f"The mean of the loss over {many} seeds, and one standard deviation above and below."
    if groups > len(table["runs"]):
        words += f" {len(table['runs'])} of {groups} settings are drawn."
    mean, deviation = table["last mean"][best], table["last standard deviation"][best]
    words += f" The smallest mean ends at {plus_minus(mean, deviation)}"
    words += f", with {table['setting'][best]}." if table["setting"][best] != "all" else "."
    if lost := sum(table["left out"]):
        is_one = lost == 1
        words += f" {counted(lost, 'run')} that diverged or did not finish "
        words += f"{'is' if is_one else 'are'} left out."
    return words
