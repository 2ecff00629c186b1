"""The axes of pictures: logarithmic, symmetric, of epochs and of words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.numbers import DECADES
from gdexp.insight.dynamics.curvature import Floats
from gdexp.insight.pictures.style import LARGEST, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOGARITHMIC = 10.0  # the ratio of largest to smallest from which an axis is logarithmic
GROWTH = 1e4  # from which a linear axis would show nothing but the largest values
PER_INCH = 11.0  # characters of labels that stand side by side


def logarithmic(lines: Sequence[Floats]) -> bool:
    """Whether an axis for these values should be logarithmic."""
    values = np.concatenate([np.empty(0), *lines])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    return bool(
        len(positive) and not (values < 0).any() and positive.max() / LOGARITHMIC >= positive.min()
    )


def log_axis(axis: Any, low: float, high: float) -> None:
    """Make an axis logarithmic, from the lowest number to the highest and a little beyond."""
    first, last = math.log10(low), math.log10(high)
    pad = 0.05 * max(last - first, 1)
    limits = 10 ** max(first - pad, -320), 10 ** min(last + pad, 305)
    which = axis.axis_name
    axis.axes.set(**{f"{which}lim": limits})  # before the scale, which would compute its own
    axis.axes.set(**{f"{which}scale": "log"})
    label_decades(axis, last - first)


def label_decades(axis: Any, decades: float) -> None:
    """Label a logarithmic axis with numbers like 1e-5, and between decades if they are few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if decades < 2:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_formatter(NullFormatter())


def span(losses: Floats) -> tuple[float, float] | None:
    """The ends of a logarithmic scale for losses: 16 decades at most, above any zeros.

    Returns:
        None if there is no loss, or one is negative, or all are 0.
    """
    known = losses[np.isfinite(losses)]
    if not len(known) or known.min() < 0 or known.max() <= 0:
        return None
    high = float(known.max())
    return max(float(known[known > 0].min()), high * 10.0**-DECADES), high


def symmetric_axis(axes: Axes, lines: Sequence[Floats]) -> None:
    """Make the vertical axis logarithmic on both sides of 0, if its values grow enormously."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    lines = [finite for values in lines if len(finite := values[np.isfinite(values)])]
    if not lines:  # in a damaged record
        return
    largest = min(max(float(np.abs(values).max()) for values in lines), LARGEST)
    typical = max(float(np.median(np.abs(v[: max(1, len(v) // 4)]))) for v in lines)
    typical = max(typical, 1e-12)
    if largest <= GROWTH * typical:
        return
    first, last = int(np.ceil(np.log10(typical))), int(np.ceil(np.log10(largest)))
    powers = 10.0 ** np.arange(last, first, -max(1, -(-(last - first) // 3)))
    low, high = axes.dataLim.intervaly
    axes.set_ylim(3 * min(low, -typical), 3 * max(high, typical))
    axes.set_yscale("symlog", linthresh=10.0**first)
    axes.yaxis.set_major_locator(FixedLocator([*-powers, 0.0, *powers]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.yaxis.set_minor_formatter(NullFormatter())


def epoch_axis(axes: Axes, epochs: int) -> None:
    """Label the horizontal axis with whole epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", "\u202f"))
    if epochs == 1:
        axes.set_xlim(0, 2)


def label_words(axes: Axes, side: str, ticks: Sequence[tuple[float, str]]) -> None:
    """Label an axis at these places, in a smaller font or turned if the labels would overlap."""
    labels = [label for _, label in ticks]
    axes.set(**{f"{side}ticks": [at for at, _ in ticks], f"{side}ticklabels": labels})
    figure = axes.get_figure(root=True)
    if side == "y" or figure is None:
        return
    inches = axes.get_position().width * figure.get_figwidth()
    room = PER_INCH * inches / max(1, max(map(len, labels), default=0) * len(labels))
    if room < 1:
        axes.tick_params(axis="x", labelsize="small")
    if room < 0.8:
        axes.tick_params(axis="x", rotation=45)
