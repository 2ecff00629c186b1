"""The losses of several runs on one picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gdexp.descent.result import Result
from gdexp.errors import counted
from gdexp.insight.dynamics.curvature import Floats
from gdexp.insight.pictures.lines import draw_lines, legend
from gdexp.insight.pictures.loss import unit
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scales import epoch_axis
from gdexp.insight.pictures.style import canvas, label, number, rows, style


def of_runs(results: Mapping[str, Result]) -> Picture | None:
    """Draw the loss of each run by epoch; None if none has an epoch.

    Args:
        results: the results by what distinguishes each from the others, such as ``lr=0.1``.
    """
    lines = {name: r.trajectory.loss for name, r in results.items() if r.trajectory.length}
    if not lines:
        return None
    units = {unit(result, None) for result in results.values()}
    longest = max(map(len, lines.values()))
    with style():
        figure, axes = canvas((6.4, 4.2))
        legend(axes, draw_lines(axes, lines))
        epoch_axis(axes, longest)
        axes.set_ylabel(label(units.pop() if len(units) == 1 else "loss", 60))
    ends = sorted((float(values[-1]), name) for name, values in lines.items())
    words = f"The losses of {counted(len(lines), 'run')}. The last loss is smallest, "
    words += f"{number(ends[0][0], 4)}, of {ends[0][1]}"
    words += f", and largest, {number(ends[-1][0], 4)}, of {ends[-1][1]}." if ends[1:] else "."
    if missing := len(results) - len(lines):
        words += f" {counted(missing, 'run')} without an epoch cannot be drawn."
    shown = rows(longest)
    table = {"epoch": shown} | {name: _at(values, shown) for name, values in lines.items()}
    return Picture("losses", "Losses", words, table, figure)


def _at(values: Floats, epochs: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    """The values in these epochs, NaN after the last."""
    padded = np.append(values, np.nan)
    chosen: Floats = padded[np.minimum(epochs - 1, len(values))]
    return chosen
