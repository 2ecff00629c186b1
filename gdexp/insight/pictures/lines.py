"""Curves by epoch, thinned, and the legends that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.thinning import thin
from gdexp.insight.dynamics.curvature import Floats
from gdexp.insight.pictures.scales import log_axis, logarithmic
from gdexp.insight.pictures.style import LARGEST, label, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 8  # curves that a legend can name


def draw_lines(axes: Axes, lines: Mapping[str, Floats], *, linear: bool = False) -> dict[str, Any]:
    """Draw curves by epoch, thinned.

    The axis is logarithmic if their values are positive, or zero, and differ by a factor of ten or
    more. Zeros are then marked at its lower end.

    Args:
        axes: where.
        lines: the values by name, shape (epochs,) each; the first is drawn on top.
        linear: whether the axis is never logarithmic.

    Returns:
        What a legend names, by name.
    """
    is_log = not linear and logarithmic([*lines.values()])
    handles: dict[str, Any] = {}
    for which, (name, values) in enumerate(lines.items()):
        values = np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), np.nan)
        kept = thin(np.where(values > 1 / LARGEST, values, np.nan) if is_log else values)
        marker = "o" if len(kept) == 1 else None
        given = look(which) | {"label": label(name), "zorder": 2.9 - which / 100}
        (handles[name],) = axes.plot(kept + 1, values[kept], marker=marker, **given)
    if is_log:
        log_axis(axes.yaxis, axes.dataLim.minposy, axes.dataLim.ymax)
        for which, (name, values) in enumerate(lines.items()):
            if len(zeros := np.flatnonzero((values >= 0) & (values <= 1 / LARGEST))):
                shown = zeros[:: max(1, len(zeros) // 20)] + 1
                at, colour = axes.get_xaxis_transform(), look(which)["color"]
                zero = "exactly 0" if len(lines) == 1 else f"{name}: exactly 0"
                (handles[zero],) = axes.plot(
                    shown, np.full(len(shown), 0.02), "v", color=colour, transform=at
                )
    return handles


def legend(axes: Axes, handles: Mapping[str, Any]) -> None:
    """A legend, if it is worth its room: of several curves, but not of many."""
    if not 1 < len(handles) <= FEW:
        return
    labels = [label(name) for name in handles]
    axes.legend([*handles.values()], labels, loc="best")
