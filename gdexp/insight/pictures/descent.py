"""The descent on the loss surface: its steps on the parabola, or its path among contours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.build import Components
from gdexp.descent.result import Result
from gdexp.errors import counted
from gdexp.insight.dynamics.curvature import Floats
from gdexp.insight.pictures.drawn_path import DrawnPath, path_of
from gdexp.insight.pictures.lines import legend
from gdexp.insight.pictures.loss import unit
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.rebuilt import Landscape, landscape
from gdexp.insight.pictures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    canvas,
    label,
    number,
    rows,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAT = 1e-6  # the width of a path, relative to its length, below which it is a line
GRID = 33, 25  # points to a side, of a surface that costs nothing and of any other


def picture(result: Result, built: Components | None, missing: str) -> Picture | None:
    """Draw the descent; None if its path is not known.

    Args:
        result: of a run of one epoch or more.
        built: its components at the start; None if they cannot be built.
        missing: why they cannot.
    """
    if not result.trajectory.names:
        return None
    surface = missing if built is None else landscape(result, built)
    ground = surface if isinstance(surface, Landscape) else None
    with np.errstate(all="ignore"):
        path = path_of(result, built, ground)
    if path is None:
        return None
    draw = {1: _line, 2: _contours}.get(len(path.names), _plane)
    with style():
        figure, axes = canvas()
        words, columns = draw(axes, path, ground, unit(result, built))
    if ground is None:
        words += f" Without the surface of the loss: {surface}."
    if path.is_cut:
        words += f" Drawn up to epoch {path.epochs[-1]}, as the loss grows too far."
    kept = rows(len(path.epochs)) - 1
    table = {"epoch": path.epochs} | columns | {"loss": path.losses}
    thinned = {name: values[kept] for name, values in table.items()}
    return Picture("descent", "Descent on the loss", words, thinned, figure)


def _line(
    axes: Axes, path: DrawnPath, ground: Landscape | None, unit: str
) -> tuple[str, dict[str, Floats]]:
    """The steps of one parameter on the curve of the loss."""
    w, (name,) = path.points[:, 0], path.names
    handles: dict[str, Any] = {}
    if ground is not None:
        best = np.nan if ground.optimum is None else float(ground.optimum[0])
        grid = _grid(w, best, 2 * max(GRID))
        (handles["loss"],) = axes.plot(
            grid, ground.loss(grid[:, None]), color=FAINT, zorder=1, label="loss"
        )
    handles |= _steps(axes, w, path.losses, path)
    legend(axes, handles)
    axes.set_xlabel(label(name))
    axes.set_ylabel(label(unit, 60))
    first, last = int(path.epochs[0]), int(path.epochs[-1])
    name = label(name).strip()
    words = f"{name} moves from {number(w[0], 4)} to {number(w[-1], 4)} "
    words += f"from epoch {first} to {last}" if first else f"in {counted(last, 'epoch')}"
    if ground is not None and ground.optimum is not None:
        lowest = float(ground.optimum[0])
        words += f" on the parabola of the loss, lowest at {name} = {number(lowest, 4)}"
        sides = np.sign(w - lowest) if len(w) == last + 1 else np.zeros(1)  # all epochs are drawn
        if crossings := int(np.count_nonzero(sides[1:] * sides[:-1] < 0)):
            words += f"; it crosses that {counted(crossings, 'time')}"
    return f"{words}.", {name: w}


def _contours(
    axes: Axes, path: DrawnPath, ground: Landscape | None, unit: str
) -> tuple[str, dict[str, Floats]]:
    """The path of two parameters among the contours of the loss."""
    _map(axes, path, path.points, ground, np.zeros(2), np.eye(2))
    axes.set_xlabel(label(path.names[0]))
    axes.set_ylabel(label(path.names[1]))
    columns = dict(zip(path.names, path.points.T, strict=True))
    ends = (
        f"{label(n).strip()} from {number(v[0], 4)} to {number(v[-1], 4)}"
        for n, v in columns.items()
    )
    return f"The path of {' and '.join(ends)}{_lines(ground)}.", columns


def _plane(
    axes: Axes, path: DrawnPath, ground: Landscape | None, unit: str
) -> tuple[str, dict[str, Floats]]:
    """The path in the plane of its first two principal directions, from its last point."""
    origin = path.points[-1]
    _, sizes, directions = np.linalg.svd(path.points - origin, full_matrices=False)
    directions = _padded(directions, len(path.names))
    signs = np.sign(directions[np.arange(2), np.abs(directions).argmax(axis=1)])
    plane = directions * signs[:, None]
    flat = (path.points - origin) @ plane.T
    _map(axes, path, flat, ground, origin, plane)
    total = float((sizes**2).sum()) or 1.0
    shares = [float(size**2) / total for size in [*sizes, 0.0, 0.0][:2]]
    labels = [
        f"along principal direction {which} ({_percent(share)} of the path)"
        for which, share in enumerate(shares, start=1)
    ]
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    most = path.names[int(np.abs(plane[0]).argmax())]
    words = f"The path of {counted(len(path.names), 'parameter')} in the plane of its first two "
    words += f"principal directions, which account for {_percent(sum(shares))} of its variation"
    words += f"{_lines(ground)}. The first is mostly along {label(most).strip()}."
    return words, {"direction 1": flat[:, 0], "direction 2": flat[:, 1]}


def _lines(ground: Landscape | None) -> str:
    return ", over lines of equal loss" if ground is not None else ""


def _percent(share: float) -> str:
    return f"{number(100 * share)}%"


def _padded(directions: Floats, size: int) -> Floats:
    """Two orthonormal directions, though the path may have only one, or none."""
    known = [d for d in directions[:2] if np.isfinite(d).all()]
    for along in np.eye(size):
        if len(known) < 2:
            rest = along - sum((d * (d @ along) for d in known), np.zeros(size))
            if (length := float(np.linalg.norm(rest))) > 0.1:
                known.append(rest / length)
    return np.array(known)


def _map(
    axes: Axes,
    path: DrawnPath,
    flat: Floats,
    ground: Landscape | None,
    origin: Floats,
    plane: Floats,
) -> None:
    """The path in a plane, with the contours of the loss on that plane.

    Args:
        axes: where.
        path: the path.
        flat: its coordinates in the plane, shape (k, 2).
        ground: the loss.
        origin: the parameters at the plane's origin, shape (p,).
        plane: its two directions, shape (2, p).
    """
    handles: dict[str, Any] = {}
    best = np.full(2, np.nan)
    if ground is not None and ground.optimum is not None:
        best = plane @ (ground.optimum - origin)
    spans = np.ptp(flat, axis=0)
    straight = spans.min() < FLAT * spans.max()  # then its second direction is arbitrary
    count = GRID[0] if ground is not None and ground.fine else GRID[1]
    sides = [
        _grid(flat[:, i], best[i], count, float(spans.max()) / 4 if straight else 0.0)
        for i in (0, 1)
    ]
    axes.set(xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
    if ground is not None:
        a, b = np.meshgrid(*sides)
        points = origin + np.column_stack([a.ravel(), b.ravel()]) @ plane
        _contour(axes, sides, ground.loss(points).reshape(a.shape))
    if all(side[0] <= value <= side[-1] for side, value in zip(sides, best, strict=True)):
        name = "lowest loss" if len(path.names) == 2 else "lowest loss, projected"
        (handles[name],) = axes.plot(*best, "P", color=GREEN, markersize=8, zorder=5)
    handles |= _steps(axes, flat[:, 0], flat[:, 1], path)
    legend(axes, handles)


def _contour(axes: Axes, sides: Sequence[Floats], values: Floats) -> None:
    """Labelled lines of equal loss, closer together near the lowest."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.max() <= finite.min():
        return
    low, span = float(finite.min()), float(finite.max() - finite.min())
    # Of a quadratic, the root is nearly linear between the points of a grid.
    roots = np.sqrt(np.geomspace(0.002, 0.9, 8) * span)
    shown = axes.contour(
        *sides, np.sqrt(values - low), roots, colors=FAINT, linewidths=0.8, zorder=1
    )
    axes.clabel(shown, fmt=lambda root: number(low + root**2), fontsize=7, colors=INK)


def _steps(axes: Axes, x: Floats, y: Floats, path: DrawnPath) -> dict[str, Any]:
    """The path with a mark for each epoch that is drawn, its start and its end."""
    start, end = int(path.epochs[0]), int(path.epochs[-1])
    (line,) = axes.plot(x, y, "-o", color=BLUE, markersize=3, linewidth=1, zorder=3, label="epochs")
    (first,) = axes.plot(x[:1], y[:1], "s", color=ORANGE, markersize=7, zorder=4)
    (last,) = axes.plot(x[-1:], y[-1:], "X", color=INK, markersize=8, zorder=4)
    name = "start" if start == 0 else f"after epoch {start}"
    return {"epochs": line, name: first, f"after epoch {end}": last}


def _grid(values: Floats, best: float, count: int, least: float = 0.0) -> Floats:
    """Points of an axis, evenly: around the values, and the lowest loss if it is near.

    Args:
        values: what the axis must show.
        best: where the loss is lowest; NaN if that is not known.
        count: the number of points.
        least: how far to go beyond the values, at least.
    """
    low, high = float(values.min()), float(values.max())
    width = high - low
    if low - 2 * width <= best <= high + 2 * width:
        low, high = min(low, best), max(high, best)
    pad = max(0.15 * (high - low), least) or 0.5 * abs(high) or 0.5
    return np.linspace(low - pad, high + pad, count)
