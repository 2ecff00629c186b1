"""What a picture says at which place, so that a page can tell the values at the cursor.

The numbers are those of the figure's own lines, points and cells, whatever was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
FAR = 1e5  # from the picture, where no cursor is
FEWEST = 2  # points of a line that is thinned
RUN_ID = re.compile(r"[0-9a-f]{32}")
COLORBAR = "<colorbar>"


class Group(TypedDict):
    """The points of one line, or of one row of cells.

    Lists are joined by spaces, which takes the least room: ``at`` has x and y of each point, in the
    picture's own units, and ``values`` has each point's values, one for each of ``names``.
    """

    label: str
    names: list[str]
    at: str
    values: str


def points(figure: Figure, most: int) -> list[Group]:
    """The points of a figure that has been drawn, evenly chosen if they are more than ``most``.

    Where the axes have a format for the cursor (``fmt_xdata``, ``fmt_ydata``), it is used.
    """
    panels = [axes for axes in figure.axes if axes.get_label() != COLORBAR]
    series = [(axes, *one) for axes in panels for one in _series(axes) if len(one[2])]
    step = -(-sum(len(values) for *_, values in series) // most)
    groups = []
    for axes, label, names, values in series[: most // FEWEST]:
        thinned = values[_chosen(len(values), max(1, min(step, len(values) // FEWEST)))]
        title = axes.get_title() if len(panels) > 1 else ""
        group = _group(figure, axes, ", ".join(filter(None, (title, label))), names, thinned)
        groups += [group] if group["at"] else []
    return groups


def _chosen(count: int, step: int) -> NDArray[np.int64]:
    return np.unique(np.append(np.arange(0, count, step), count - 1))


def _group(figure: Figure, axes: Axes, label: str, names: list[str], values: Floats) -> Group:
    with np.errstate(all="ignore"):
        at = axes.transData.transform(values[:, :2]) * 72 / figure.dpi
    at[:, 1] = figure.get_figheight() * 72 - at[:, 1]
    shown = np.isfinite(at).all(axis=1) & (np.abs(at) < FAR).all(axis=1)
    formats = [axes.fmt_xdata or short, axes.fmt_ydata or short, short][: len(names)]
    texts = [
        str(form(float(value))).replace(" ", "\u00a0")
        for row in values[shown]
        for form, value in zip(formats, row, strict=True)
    ]
    places = " ".join(f"{x:.0f} {y:.0f}" for x, y in at[shown])
    return {"label": label, "names": names, "at": places, "values": " ".join(texts)}


def _series(axes: Axes) -> Iterator[tuple[str, list[str], Floats]]:
    """Label, names and values, shape (points, names), of each thing with data in these axes.

    Cells come first: of things in one place, the cursor reads the first.
    """
    from matplotlib.collections import LineCollection, PathCollection, QuadMesh

    names = [_name(axes, "x"), _name(axes, "y")]
    for image in axes.get_images():
        cells: Any = np.ma.asarray(image.get_array())
        if cells.ndim == 2:
            left, right, bottom, top = image.get_extent()
            if image.origin == "upper":
                bottom, top = top, bottom
            x, y = _middles(left, right, cells.shape[1]), _middles(bottom, top, cells.shape[0])
            yield from _rows(*np.meshgrid(x, y), cells, names, image)
    for drawn in axes.collections:
        if isinstance(drawn, QuadMesh):
            corners = np.asarray(drawn.get_coordinates(), float)
            middles = (corners[1:, 1:] + corners[:-1, :-1]) / 2
            cells = np.ma.asarray(drawn.get_array()).reshape(middles.shape[:2])
            yield from _rows(middles[..., 0], middles[..., 1], cells, names, drawn)
        elif isinstance(drawn, PathCollection) and drawn.get_offset_transform() == axes.transData:
            yield _coloured(_label(drawn), names, _plain(drawn.get_offsets()), drawn)
        elif isinstance(drawn, LineCollection) and drawn.get_transform() == axes.transData:
            colours = drawn.get_array()
            for number, segment in enumerate(drawn.get_segments()):
                value = None if colours is None else short(float(_plain(colours)[number]))
                label = _label(drawn) if value is None else f"{_meaning(drawn)} {value}".strip()
                yield label, names, np.asarray(segment, float)
    for line in axes.get_lines():
        if line.get_transform() == axes.transData:
            yield _label(line), names, np.asarray(line.get_xydata(), float)


def _rows(
    x: Floats, y: Floats, cells: Any, names: list[str], drawn: Any
) -> Iterator[tuple[str, list[str], Floats]]:
    """One group for each row of cells; cells of one colour have no value, but a label."""
    filled = _plain(cells)
    is_valued = drawn.cmap.N > 1
    names = [*names, _meaning(drawn) or "value"] if is_valued else names
    for number in range(filled.shape[0]):
        row = np.column_stack([x[number], y[number], filled[number]])
        yield _label(drawn), names, row[~np.isnan(row[:, 2])][:, : len(names)]


def _coloured(
    label: str, names: list[str], xy: Floats, drawn: Any
) -> tuple[str, list[str], Floats]:
    """Points, with the value that their colour stands for."""
    colours = drawn.get_array()
    if colours is None or len(colours) != len(xy):
        return label, names, xy
    return label, [*names, _meaning(drawn) or "value"], np.column_stack([xy, _plain(colours)])


def _plain(values: Any) -> Floats:
    """Masked values as NaN."""
    return np.asarray(np.ma.filled(np.ma.asarray(values, float), np.nan))


def _middles(start: float, end: float, count: int) -> Floats:
    edges = np.linspace(start, end, count + 1)
    return (edges[1:] + edges[:-1]) / 2


def _name(axes: Axes, which: str) -> str:
    """What an axis shows, as its label says, or the label of an axis that shares its scale."""
    shared = axes.get_shared_x_axes() if which == "x" else axes.get_shared_y_axes()
    labels = [
        other.get_xlabel() if which == "x" else other.get_ylabel()
        for other in [axes, *shared.get_siblings(axes)]
    ]
    return next(filter(None, labels), which)


def _label(drawn: Any) -> str:
    """The label that a legend shows, an id shortened; Matplotlib's own begin with an underscore."""
    label = str(drawn.get_label())
    if RUN_ID.fullmatch(label):
        return f"run {label[:8]}"
    return "" if label.startswith("_") else label


def _meaning(drawn: Any) -> str:
    """What the colours stand for, as their colour bar says, or the only one of the figure."""
    bars = [axes for axes in drawn.figure.axes if axes.get_label() == COLORBAR]
    if drawn.colorbar is not None:
        bars = [drawn.colorbar.ax]
    return str(bars[0].get_ylabel() or bars[0].get_xlabel()) if len(bars) == 1 else ""
