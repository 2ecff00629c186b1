"""Names of curves beside their ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

GAP = 0.055  # between two names, as a share of the height


def name_ends(axes: Axes, lines: Sequence[Line2D], names: Sequence[str], key: str = "") -> None:
    """Name curves beside their ends, one below the other, each with a sample of its line.

    Args:
        axes: where; its limits are set.
        lines: the curves.
        names: their names.
        key: what the names are values of, named by the uppermost.
    """
    ends = [np.append(np.nan, np.asarray(line.get_ydata(), float))[-1] for line in lines]
    heights = [_height(axes, float(end)) for end in ends]
    order = np.argsort(heights, kind="stable")
    at = -GAP
    places = [at := max(heights[i], at + GAP) for i in order]
    at = 1.0 + GAP
    places = [at := min(place, at - GAP) for place in places[::-1]][::-1]
    for number, (i, y) in enumerate(zip(order.tolist(), places, strict=True)):
        line = lines[i]
        look: dict[str, Any] = {
            "color": line.get_color(),
            "ls": line.get_linestyle(),
            "marker": line.get_marker(),
        }
        sample: dict[str, Any] = {
            "transform": axes.transAxes,
            "clip_on": False,
            "ms": 4,
            "markevery": [1],
        }
        axes.plot([1.01, 1.03, 1.05], [y, y, y], lw=1.4, **look, **sample)
        name = f"{key}={names[i]}" if key and number == len(lines) - 1 else names[i]
        axes.text(1.06, y, name, transform=axes.transAxes, fontsize="small", va="center")


def _height(axes: Axes, value: float) -> float:
    """Where a value lies on the vertical axis, from 0 at its lower to 1 at its upper end."""
    if math.isnan(value):
        return 1.0
    low, high = axes.get_ylim()
    if axes.get_yscale() != "log":
        return min(1.0, max(0.0, (value - low) / (high - low)))
    if value <= low or value >= high:
        return float(value >= high)
    return math.log(value / low) / math.log(high / low)
