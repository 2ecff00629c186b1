"""How all pictures look: sizes, colours, axes. No fact is told by colour alone.

The colours are those of Okabe and Ito, "Color Universal Design", 2008, that stand out from white
and from black; every curve of a picture also has a line style of its own.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.numbers import short
from gdexp.descent.thinning import thin
from gdexp.insight.dynamics.curvature import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER, GRID, FAINT = "#24292f", "#fefefe", "#d9dde2", "#8b949e"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK)
STYLES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
SIZE = (6.4, 3.8)  # inches
FEW = 8  # curves that a legend can name
LOGARITHMIC = 10.0  # the ratio of largest to smallest from which an axis is logarithmic
GROWTH = 1e4  # from which a linear axis would show nothing but the largest values
LARGEST = 1e280  # what is drawn; beyond, Matplotlib's own arithmetic overflows

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.edgecolor": PAPER,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "legend.handlelength": 3.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
}
_LOCK = threading.RLock()  # Matplotlib's settings are those of the process


@contextmanager
def style(**settings: Any) -> Iterator[None]:
    """Draw and save within this, whatever matplotlibrc says; nothing is printed or changed."""
    import matplotlib

    logger = logging.getLogger("matplotlib")
    with _LOCK, matplotlib.rc_context(), warnings.catch_warnings(), np.errstate(all="ignore"):
        level = logger.level
        logger.setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # it is in the SVG's text
        try:
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC | settings)
            yield
        finally:
            logger.setLevel(level)


def canvas(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """A figure without a window, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.subplots()


def look(which: int) -> dict[str, Any]:
    """The colour and the line style of a curve: different for each of the first 20."""
    turn, colour = divmod(which, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": STYLES[(colour + turn) % len(STYLES)]}


def curves(axes: Axes, lines: Mapping[str, Floats], *, linear: bool = False) -> dict[str, Any]:
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
        log_axis(axes)
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


def label(name: str, longest: int = 40) -> str:
    """A name as a label: cut to a length, on one line, never hidden by its underscore."""
    text = " ".join(name.split())
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return f" {text}" if text.startswith("_") else text


def logarithmic(lines: Sequence[Floats]) -> bool:
    """Whether an axis for these values should be logarithmic."""
    values = np.concatenate([np.empty(0), *lines])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    return bool(
        len(positive) and not (values < 0).any() and positive.max() / LOGARITHMIC >= positive.min()
    )


def log_axis(axes: Axes) -> None:
    """Make the vertical axis logarithmic, its numbers like 1e-5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = np.log10(axes.dataLim.minposy), np.log10(axes.dataLim.ymax)
    pad = 0.05 * max(high - low, 1)
    ends = 10 ** (low - pad), 10 ** (high + pad)
    axes.set_ylim(*ends)  # before the scale, which would compute its own
    axes.set_yscale("log")
    if high - low < 2:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.yaxis.set_minor_formatter(NullFormatter())


def symmetric_axis(axes: Axes, lines: Sequence[Floats]) -> None:
    """Make the vertical axis logarithmic on both sides of 0, if its values grow enormously."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

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


def number(value: float, digits: int = 3) -> str:
    """A number as axes and sentences print it.

    >>> number(0.25), number(1e-6), number(28860.4)
    ('0.25', '1e-6', '2.89e4')
    """
    return short(value, digits).replace("e-0", "e-")


def epoch_axis(axes: Axes, epochs: int) -> None:
    """Label the horizontal axis with whole epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", "\u202f"))
    if epochs == 1:
        axes.set_xlim(0, 2)


def rows(epochs: int, *important: int, most: int = 50) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The epochs of a table: the first, the last, the important, and others evenly between.

    >>> rows(5, 2)
    array([1, 2, 3, 4, 5])
    >>> len(rows(100_000, 61_803)) <= 50
    True
    """
    if epochs <= most:
        return np.arange(1, epochs + 1)
    known = np.array([1, epochs, *important])
    even = np.linspace(1, epochs, most - len(important)).astype(np.int64)
    return np.unique(np.concatenate([even, known]))
