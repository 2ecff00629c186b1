"""How all pictures look: fonts, sizes, colours, names and numbers.

No fact is told by colour alone. The colours of curves are those of Okabe and Ito, "Color Universal
Design", 2008, that stand out from white and from black; every curve of a picture also has a line
style of its own.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.numbers import short
from gdexp.errors import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER, GRID, FAINT = "#24292f", "#fefefe", "#d9dde2", "#8b949e"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK)
STYLES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
SIZE = (6.4, 3.8)  # inches, of axes with a legend inside
LARGE = (7.2, 4.4)  # inches, of axes with something beside or below them
LARGEST = 1e280  # what is drawn; beyond, Matplotlib's own arithmetic overflows

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.h_pad": 0.08,  # inches
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.edgecolor": PAPER,
    "figure.facecolor": PAPER,
    "font.sans-serif": ["DejaVu Sans"],
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "image.cmap": "viridis",  # which every kind of colour vision orders alike
    "legend.fontsize": "small",
    "legend.frameon": False,
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


def panels(count: int, width: float, xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes of this width in inches, labelled at its left and lower edge."""
    from matplotlib.figure import Figure

    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    lines = -(-count // columns)
    size = LARGE if count == 1 else (1.5 + width * columns, 1.0 + 3.2 * lines)
    figure = Figure(figsize=size)
    places = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for spare in places[count:]:
        spare.remove()
    for which, axes in enumerate(places[:count]):
        if which + columns >= count:
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        if which % columns == 0:
            axes.set_ylabel(ylabel)
    return figure, list(places[:count])


def look(which: int) -> dict[str, Any]:
    """The colour and the line style of a curve: different for each of the first 20."""
    turn, colour = divmod(which, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": STYLES[(colour + turn) % len(STYLES)]}


def label(name: str, longest: int = 40) -> str:
    """A name as a label: cut to a length, on one line, never hidden by its underscore."""
    text = cut(" ".join(name.split()), longest)
    return f" {text}" if text.startswith("_") else text


def number(value: float, digits: int = 3) -> str:
    """A number as axes and sentences print it.

    >>> number(0.25), number(1e-6), number(28860.4), number(1234.5)
    ('0.25', '1e-6', '2.89e4', '1230')
    """
    if 1 <= abs(value) < 1e4:
        value, digits = float(f"{value:.{digits}g}"), max(digits, 4)
    return short(value, digits).replace("e-0", "e-")


def evenly(count: int, most: int) -> list[int]:
    """Indices of at most so many of so many things, evenly spaced, with the first and the last.

    >>> evenly(3, 50), evenly(100, 3)
    ([0, 1, 2], [0, 50, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(i) for i in np.linspace(0, count - 1, most).tolist()]


def rows(epochs: int, *important: int, most: int = 50) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The epochs of a table: the first, the last, the important, and others evenly between.

    >>> rows(5, 2)
    array([1, 2, 3, 4, 5])
    >>> len(rows(100_000, 61_803)) <= 50
    True
    """
    kept = evenly(epochs, most if epochs <= most else most - len(important))
    return np.unique(np.array([*(i + 1 for i in kept), *important], np.int64))
