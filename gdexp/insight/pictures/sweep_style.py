"""How the pictures of a sweep look: colours of losses, marks of behaviour, and what they mean.

Colours are those of viridis, which every kind of colour vision orders alike, and nothing is told by
colour alone: behaviour has marks, curves have labels or dashes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures.axes import Floats
from gdexp.insight.pictures.state import DIVERGED, GROWING, MONOTONE, OSCILLATING, PLAIN, UNFINISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

DECADES = 16  # that the colours of losses span at most
COLOURS = "viridis"
GREY, FAINT, ACCENT, INK = "#c8c8c8", "#8b949e", "#d1105a", "#222222"
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#222222", "#56b4e9")
BRIGHTEST = 0.92  # of the colours, for lines on white
PER_INCH = 10.0  # characters of labels that stand side by side
WIDE_RATIO = 10.0  # of the ends of an axis, above which only decades are labelled
WIDE = 8.0  # inches, above which a legend has five columns
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
POINTS = "os^Dv<>pP*"  # markers of curves
MARKS = {  # marker, size and whether it is filled
    MONOTONE: ("o", "monotone"),
    OSCILLATING: (r"$\sim$", "oscillating"),
    GROWING: ("^", "growing"),
    DIVERGED: ("x", "diverged"),
    UNFINISHED: (r"$?$", "not finished"),
    PLAIN: ("o", "completed"),
}
BOUND_LABEL = "largest lr that converges, as forecast"
ODD_LABEL = "contradicts the forecast"
NAME: dict[str, Any] = {
    "parse_math": False
}  # of a text that a user has chosen: a dollar sign begins no formula


@contextmanager
def defaults() -> Iterator[None]:
    """Draw within this with Matplotlib's own settings, whatever matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def norm_of(losses: Iterable[float]) -> Normalize | None:
    """The scale of the colours: logarithmic unless a loss is negative; None without losses."""
    from matplotlib.colors import LogNorm, Normalize

    known = np.array([loss for loss in losses if math.isfinite(loss)])
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    if low < 0 or high <= 0:
        return Normalize(low, high if high > low else low + 1)
    low = max(float(known[known > 0].min()), high * 10.0**-DECADES)
    return LogNorm(low, high) if high > low else LogNorm(low / 10, high * 10)


def colour_of(loss: float, norm: Normalize) -> Any:
    """The colour of a loss; a loss below the scale, such as 0, has that of its lower end."""
    import matplotlib

    return matplotlib.colormaps[COLOURS](norm(max(loss, lowest(norm))))


def lowest(norm: Normalize) -> float:
    """The lower end of the scale of the colours."""
    assert norm.vmin is not None
    return float(norm.vmin)


def is_dark(loss: float, norm: Normalize) -> bool:
    """Whether the colour of a loss is so dark that white is read on it."""
    red, green, blue, _ = colour_of(loss, norm)
    return bool(0.299 * red + 0.587 * green + 0.114 * blue < 0.5)


def add_colorbar(
    figure: Figure, axes: Any, norm: Normalize, label: str, losses: Iterable[float]
) -> None:
    """Add the scale of the colours; arrows at its ends say that losses lie beyond them."""
    from matplotlib.cm import ScalarMappable

    known = [loss for loss in losses if math.isfinite(loss)]
    below, above = min(known) < lowest(norm), max(known) > (norm.vmax or math.inf)
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=axes, label=label, extend=extend)
    _label(bar, norm)


def _label(bar: Any, norm: Normalize) -> None:
    """Label a scale of colours with plain numbers."""
    from matplotlib.colors import LogNorm

    if isinstance(norm, LogNorm):
        label_decades(bar.ax.yaxis, lowest(norm), float(norm.vmax or 0))


def limit_logarithmic(axes: Axes, losses: Floats) -> None:
    """A logarithmic loss axis, unless a loss is negative: 16 decades at most, with zeros below."""
    known = losses[np.isfinite(losses)]
    if not len(known) or known.min() < 0 or known.max() <= 0:
        return
    axes.set_yscale("log")
    high = float(known.max())
    low = max(float(known[known > 0].min()), high * 10.0**-DECADES)
    margin = (high / low) ** 0.05 if high > low else 2.0
    axes.set_ylim(low / margin, high * margin)
    label_decades(axes.yaxis, low, high)


def label_decades(axis: Any, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers, between decades only if it is short."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def between(number: float, _: object) -> str:
        return compact(number) if high < 3 * low or f"{number:e}"[0] in "25" else ""

    axis.set_major_formatter(FuncFormatter(lambda number, _: compact(number)))
    axis.set_minor_formatter(between if high < WIDE_RATIO * low else NullFormatter())


def fit_labels(axes: Axes, labels: Sequence[str]) -> None:
    """Make the labels of the horizontal axis smaller, or turn them, if they would overlap."""
    figure = axes.get_figure(root=True)
    inches = axes.get_position().width * figure.get_figwidth() if figure is not None else 1.0
    characters = max(map(len, labels), default=0) * len(labels)
    if characters > PER_INCH * inches:
        axes.tick_params(axis="x", labelsize=8)
    if characters > 1.2 * PER_INCH * inches:
        axes.tick_params(axis="x", rotation=45)


def keys_of(states: Iterable[str], *, odd: bool, bound: bool, shown: Sequence[str]) -> list[Any]:
    """The handles of a legend.

    Args:
        states: the states that occur.
        odd: whether a run contradicts the forecast.
        bound: whether a bound is drawn.
        shown: the states that have a mark.
    """
    from matplotlib.lines import Line2D

    def dot(marker: str, label: str, **style: Any) -> Line2D:
        return Line2D([], [], ls="", marker=marker, color=INK, label=label, **style)

    present = set(states)
    keys = []
    for state, (marker, label) in MARKS.items():
        if state in present:
            is_marked = state in shown
            text = label if is_marked else f"no mark: {label}"
            keys.append(dot(marker if is_marked else "", text, ms=8 if "$" in marker else 6))
    if odd:
        keys.append(dot("o", ODD_LABEL, mfc="none", mec=ACCENT, ms=11, mew=1.5))
    if bound:
        keys.append(Line2D([], [], color=ACCENT, ls="--", lw=1.8, label=BOUND_LABEL))
    return keys


def add_legend(figure: Figure, keys: Sequence[Any]) -> None:
    """A legend below the axes; none without keys."""
    columns = 5 if figure.get_figwidth() > WIDE else 2
    if keys:
        figure.legend(
            handles=keys,
            loc="outside lower center",
            ncols=min(columns, len(keys)),
            frameon=False,
            fontsize=8.5,
            handletextpad=0.4,
        )


def thinned(count: int, most: int) -> list[int]:
    """Indices of at most so many of so many things, evenly spaced, with the first and the last.

    >>> thinned(3, 50), thinned(100, 3)
    ([0, 1, 2], [0, 50, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(i) for i in np.linspace(0, count - 1, most).tolist()]


def line(dashes: Any, label: str, **look: Any) -> Any:
    """The handle of a line in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"ls": dashes, "color": INK, "label": label, **look})


def distinct(number: int) -> Any:
    """A colour of Okabe and Ito's palette, which colour-blind readers can tell apart."""
    return OKABE_ITO[number % len(OKABE_ITO)]


def colorbar(figure: Figure, axes: Any, norm: Normalize, label: str) -> Any:
    """The scale of the colours of a setting, up to the bright end that lines do not use."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    shades = matplotlib.colormaps[COLOURS](np.linspace(0, BRIGHTEST, 256))
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(shades)), ax=axes)
    bar.set_label(label, **NAME)
    _label(bar, norm)
    return bar


def compact(number: float, digits: int = 2) -> str:
    """A number in as few characters as it can be read in.

    >>> compact(3.27e-7), compact(0.00046), compact(179.0), compact(0.25)
    ('3.3e-7', '4.6e-4', '180', '0.25')
    """
    if number and not 0.001 <= abs(number) < 10_000:
        digit, _, power = f"{number:.{digits - 1}e}".partition("e")
        return f"{float(digit):g}e{int(power)}"
    return f"{float(f'{number:.{digits}g}'):g}"
