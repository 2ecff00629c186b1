"""The colours of numbers: final losses on a map, and settings of curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures.scales import label_decades, span
from gdexp.insight.pictures.style import number

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

BRIGHTEST = 0.92  # of the colours, for lines on white
DARK, BRIGHT = "#ffffff", "#000000"  # what is written on a dark colour, and on a bright one


def norm_of(losses: Iterable[float]) -> Normalize | None:
    """The scale of the colours: logarithmic unless a loss is negative; None without losses."""
    from matplotlib.colors import LogNorm, Normalize

    known = np.array([loss for loss in losses if np.isfinite(loss)])
    if not len(known):
        return None
    if (ends := span(known)) is None:
        low, high = float(known.min()), float(known.max())
        return Normalize(low, high if high > low else low + 1)
    low, high = ends
    return LogNorm(low, high) if high > low else LogNorm(low / 10, high * 10)


def lowest(norm: Normalize) -> float:
    """The lower end of the scale of the colours."""
    assert norm.vmin is not None
    return float(norm.vmin)


def shade(share: float) -> Any:
    """The colour of a curve: from dark, 0, to the brightest that is seen on white, 1."""
    import matplotlib

    return matplotlib.colormaps["viridis"](BRIGHTEST * share)


def colour_of(loss: float, norm: Normalize) -> Any:
    """The colour of a loss; a loss below the scale, such as 0, has that of its lower end."""
    import matplotlib

    return matplotlib.colormaps["viridis"](norm(max(loss, lowest(norm))))


def ink_on(loss: float, norm: Normalize | None) -> str:
    """The colour in which to write on that of a loss, or on grey if it is NaN."""
    if norm is None or np.isnan(loss):
        return BRIGHT
    red, green, blue, _ = colour_of(loss, norm)
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else BRIGHT


def loss_bar(figure: Figure, axes: Any, norm: Normalize, losses: Iterable[float]) -> None:
    """The scale of the colours of losses; arrows at its ends say that losses lie beyond them."""
    known = [loss for loss in losses if np.isfinite(loss)]
    below, above = min(known) < lowest(norm), max(known) > (norm.vmax or np.inf)
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    _bar(figure, axes, norm, None, "final loss", extend=extend)


def setting_bar(figure: Figure, axes: Any, norm: Normalize, label: str) -> Any:
    """The scale of the colours of a setting, up to the bright end that curves do not use."""
    from matplotlib.colors import ListedColormap

    shades = ListedColormap([shade(share) for share in np.linspace(0, 1, 256)])
    return _bar(figure, axes, norm, shades, label)


def _bar(figure: Figure, axes: Any, norm: Normalize, colours: Any, label: str, **given: Any) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=label, **given)
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    if isinstance(norm, LogNorm):
        label_decades(bar.ax.yaxis, float(np.log10((norm.vmax or 1) / lowest(norm))))
    else:
        bar.ax.yaxis.set_major_formatter(lambda value, _: number(value))
    return bar
