"""The descent on the loss surface: its steps on the parabola, or its path among contours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.build import Components
from gdexp.descent.numbers import short
from gdexp.descent.result import Result
from gdexp.errors import counted
from gdexp.insight.curvature import Floats
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
    legend,
    rows,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROWN = 100.0  # times the first loss: steps beyond would make all others invisible
FIRST, LATER = 60, 40  # epochs whose steps are drawn: the first, and others ever farther apart
GRID = 33, 25  # points to a side, of a surface that costs nothing and of any other


@dataclass(frozen=True)
class Path:
    """The parameters after each epoch that is drawn.

    Attributes:
        epochs: 0 is the start, shape (k,).
        points: the parameters, shape (k, p).
        losses: the loss at each, NaN where it is not known, shape (k,).
        is_cut: whether the loss grows so much that later epochs are left out.
    """

    epochs: NDArray[np.int64]
    points: Floats
    losses: Floats
    is_cut: bool


def picture(result: Result, built: Components | None, missing: str) -> Picture | None:
    """Draw the descent; None if the record has only norms of parameters.

    Args:
        result: of a run of one epoch or more.
        built: its components at the start; None if they cannot be built.
        missing: why they cannot.
    """
    names = result.trajectory.names
    if not names or any(name.endswith(".norm") and "/" not in name for name in names):
        return None
    surface = missing if built is None else landscape(result, built)
    ground = surface if isinstance(surface, Landscape) else None
    with np.errstate(all="ignore"):
        path = _path(result, ground)
    if not len(path.epochs):
        return None
    draw = {1: _line, 2: _contours}.get(len(names), _plane)
    with style(), np.errstate(all="ignore"):
        figure, axes = canvas()
        words, columns = draw(axes, path, names, ground, unit(result, built))
    if ground is None:
        words += f" Without the surface of the loss: {surface}."
    if path.is_cut:
        words += f" Drawn up to epoch {path.epochs[-1]}, as the loss grows too far."
    kept = rows(len(path.epochs)) - 1
    table = {"epoch": path.epochs} | columns | {"loss": path.losses}
    thinned = {name: values[kept] for name, values in table.items()}
    return Picture("descent", "Descent on the loss", words, thinned, figure)


def _path(result: Result, ground: Landscape | None) -> Path:
    """The path, thinned; the loss after epoch k is the one recorded in epoch k + 1."""
    loss, epochs = result.trajectory.loss, result.trajectory.length
    points = np.array([*result.trajectory.parameters.values()]).T
    too_far = np.flatnonzero(loss > GROWN * max(loss[0], 1e-300))
    last = max(2, int(too_far[0])) if len(too_far) else epochs
    last = min(last, epochs)
    shown = np.arange(1, last + 1)
    if last > FIRST + LATER:
        later = np.geomspace(FIRST, last, LATER).astype(np.int64)
        shown = np.unique(np.concatenate([shown[:FIRST], later]))
    losses = np.append(loss, np.nan)[shown]
    points = points[shown - 1]
    if ground is not None:
        if shown[-1] == epochs:
            losses[-1] = ground.loss(points[-1:])[0]
        shown, points = np.append(0, shown), np.vstack([ground.start, points])
        losses = np.append(loss[0], losses)
    return Path(shown, points, losses, last < epochs)


def _line(
    axes: Axes, path: Path, names: tuple[str, ...], ground: Landscape | None, unit: str
) -> tuple[str, dict[str, Floats]]:
    """The steps of one parameter on the curve of the loss."""
    w, (name,) = path.points[:, 0], names
    handles = {}
    if ground is not None:
        grid = np.linspace(*_window(w, ground.optimum), 2 * max(GRID))
        (handles["loss"],) = axes.plot(grid, ground.loss(grid[:, None]), color=FAINT, zorder=1)
    handles |= _steps(axes, w, path.losses, path)
    legend(axes, handles)
    axes.set_xlabel(label(name))
    axes.set_ylabel(label(unit, 60))
    words = f"{name} moves from {short(w[0], 4)} to {short(w[-1], 4)}"
    words += f" in {counted(int(path.epochs[-1]), 'epoch')}"
    if ground is not None and ground.optimum is not None:
        lowest = float(ground.optimum[0])
        words += f" on the parabola of the loss, lowest at {name} = {short(lowest, 4)}"
        sides = np.sign(w - lowest)
        if crossings := int(np.count_nonzero(sides[1:] * sides[:-1] < 0)):
            words += f"; it crosses that {counted(crossings, 'time')}"
    return f"{words}.", {name: w}


def _contours(
    axes: Axes, path: Path, names: tuple[str, ...], ground: Landscape | None, unit: str
) -> tuple[str, dict[str, Floats]]:
    """The path of two parameters among the contours of the loss."""
    _map(axes, path, path.points, ground, np.zeros(2), np.eye(2))
    axes.set_xlabel(label(names[0]))
    axes.set_ylabel(label(names[1]))
    columns = dict(zip(names, path.points.T, strict=True))
    ends = (f"{n} from {short(v[0], 4)} to {short(v[-1], 4)}" for n, v in columns.items())
    return f"The path of {' and '.join(ends)}{_lines(ground)}.", columns


def _plane(
    axes: Axes, path: Path, names: tuple[str, ...], ground: Landscape | None, unit: str
) -> tuple[str, dict[str, Floats]]:
    """The path in the plane of its first two principal directions, from its last point."""
    origin = path.points[-1]
    _, sizes, directions = np.linalg.svd(path.points - origin, full_matrices=False)
    directions = _padded(directions, len(names))
    signs = np.sign(directions[np.arange(2), np.abs(directions).argmax(axis=1)])
    plane = directions * signs[:, None]
    flat = (path.points - origin) @ plane.T
    _map(axes, path, flat, ground, origin, plane)
    total = float((sizes**2).sum()) or 1.0
    shares = [float(size**2) / total for size in [*sizes, 0.0, 0.0][:2]]
    for number, (share, setter) in enumerate(
        zip(shares, (axes.set_xlabel, axes.set_ylabel), strict=True), start=1
    ):
        setter(f"along principal direction {number} ({share:.1%} of the path)")
    most = names[int(np.abs(plane[0]).argmax())]
    words = f"The path of {counted(len(names), 'parameter')} in the plane of its first two "
    words += f"principal directions, which account for {sum(shares):.1%} of its variation{_lines(ground)}. "
    words += f"The first is mostly along {most}."
    return words, {"direction 1": flat[:, 0], "direction 2": flat[:, 1]}


def _lines(ground: Landscape | None) -> str:
    return ", over lines of equal loss" if ground is not None else ""


def _padded(directions: Floats, size: int) -> Floats:
    """Two orthonormal directions, though the path may have only one, or none."""
    known = [d for d in directions[:2] if np.isfinite(d).all()]
    for unit in np.eye(size):
        if len(known) < 2:
            rest = unit - sum((d * (d @ unit) for d in known), np.zeros(size))
            if (length := float(np.linalg.norm(rest))) > 0.1:
                known.append(rest / length)
    return np.array(known)


def _map(
    axes: Axes,
    path: Path,
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
    handles = {}
    if ground is not None:
        best = None if ground.optimum is None else plane @ (ground.optimum - origin)
        count = GRID[0] if ground.fine else GRID[1]
        sides = [
            np.linspace(*_window(flat[:, i], None if best is None else best[i : i + 1]), count)
            for i in (0, 1)
        ]
        a, b = np.meshgrid(*sides)
        points = origin + np.column_stack([a.ravel(), b.ravel()]) @ plane
        _contour(axes, *sides, ground.loss(points).reshape(a.shape))
        if best is not None and sides[0][0] <= best[0] <= sides[0][-1]:
            (handles["lowest loss"],) = axes.plot(*best, "P", color=GREEN, markersize=8, zorder=5)
    handles |= _steps(axes, flat[:, 0], flat[:, 1], path)
    legend(axes, handles)


def _contour(axes: Axes, x: Floats, y: Floats, values: Floats) -> None:
    """Labelled lines of equal loss, closer together near the lowest."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.max() <= finite.min():
        return
    low, span = float(finite.min()), float(finite.max() - finite.min())
    levels = low + span * np.geomspace(0.001, 0.9, 9)
    shown = axes.contour(x, y, values, np.unique(levels), colors=FAINT, linewidths=0.8, zorder=1)
    axes.clabel(shown, fmt=lambda level: short(level, 3), fontsize=7, colors=INK)


def _steps(axes: Axes, x: Floats, y: Floats, path: Path) -> dict[str, object]:
    """The path with a mark for each epoch that is drawn, its start and its end."""
    start, end = int(path.epochs[0]), int(path.epochs[-1])
    (line,) = axes.plot(x, y, "-o", color=BLUE, markersize=3, linewidth=1, zorder=3)
    (first,) = axes.plot(x[:1], y[:1], "s", color=ORANGE, markersize=7, zorder=4)
    (last,) = axes.plot(x[-1:], y[-1:], "X", color=INK, markersize=8, zorder=4)
    name = "start" if start == 0 else f"after epoch {start}"
    return {"epochs": line, name: first, f"after epoch {end}": last}


def _window(values: Floats, optimum: Floats | None) -> Iterator[float]:
    """The ends of an axis: around the values, and the optimum if it is near."""
    low, high = float(values.min()), float(values.max())
    width = high - low
    if optimum is not None and np.isfinite(optimum).all():
        best = float(optimum[0])
        if low - 2 * width <= best <= high + 2 * width:
            low, high = min(low, best), max(high, best)
    pad = 0.15 * (high - low) or 0.5 * abs(high) or 0.5
    yield from (low - pad, high + pad)
