"""A result in a notebook: one HTML table with the curve of the loss as SVG, and no other files."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from gdexp.descent.numbers import short
from gdexp.descent.result import Result
from gdexp.descent.stopping import VALIDATION
from gdexp.descent.thinning import thin
from gdexp.descent.trajectory import FloatArray

LISTED = 8  # parameters, or coefficients, to list
BUCKETS = 120  # of epochs; the curve shows the smallest and the largest loss of each
WIDTH, HEIGHT, MARGIN = 360, 140, 8  # of the curve, in pixels
LEFT, BOTTOM = 64, 20  # for the labels of its axes


def html(result: Result) -> str:
    """A table of what came of a run; below it the loss, on a logarithmic axis."""
    cells = "".join(
        f"<tr><th scope='row' style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in _rows(result)
    )
    return f"<div><table>{cells}</table>{_curves(result)}</div>"


def _rows(result: Result) -> Iterator[tuple[str, str]]:
    loss = result.trajectory.loss
    yield "outcome", f"{result.outcome}: {result.reason}"
    if len(loss):
        yield "loss", f"{short(loss[0])} → {short(result.loss)}"
        yield f"f({result.at})", short(result.prediction)
    values, coefficients = result.parameters, result.coefficients
    if coefficients and [*coefficients.values()] != [*values.values()]:
        values = coefficients
    for name, value in [*values.items()][:LISTED]:
        yield name, short(value)
    if len(values) > LISTED:
        yield "…", f"and {len(values) - LISTED} more"
    for name, value in result.scores.items():
        yield name, short(value)
    for note in result.notes.values():
        yield "note", note
    if result.run_id is not None:
        yield "run", result.run_id


def _curves(result: Result) -> str:
    """The loss as an SVG image, and dashed, where there is one, the validation loss."""
    trajectory = result.trajectory
    curves = {"loss": trajectory.loss}
    if VALIDATION in trajectory.measures:
        curves["validation loss"] = trajectory.measured[VALIDATION]
    points = {name: shown for name, values in curves.items() if len((shown := _points(values))[0])}
    if not points:  # no epoch, or a loss of exactly zero in each
        return ""
    logs = np.concatenate([y for _, y in points.values()])
    low, high = float(logs.min()), float(logs.max())
    last = max(1, trajectory.length - 1)

    def line(x: FloatArray, y: FloatArray) -> str:
        right = LEFT + x / last * (WIDTH - LEFT - MARGIN)
        share = (high - y) / (high - low) if high > low else np.full_like(y, 0.5)
        down = MARGIN + share * (HEIGHT - MARGIN - BOTTOM)
        pairs = " L".join(f"{a:.1f} {b:.1f}" for a, b in zip(right, down, strict=True))
        return f"M{pairs}" + ("h1.5" if len(x) == 1 else "")  # so that one point is a dot

    paths = "".join(
        f"<path d='{line(x, y)}' stroke-dasharray='{'4 3' if number else 'none'}'/>"
        for number, (x, y) in enumerate(points.values())
    )
    title = f"The {' and, dashed, the '.join(points)} by epoch, on a logarithmic axis: "
    title += "; ".join(f"{10 ** y[0]:.4g} to {10 ** y[-1]:.4g}" for _, y in points.values())
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{title}'><title>{title}</title>"
        f"<g fill='none' stroke='currentColor' stroke-width='1.5' stroke-linecap='round'>{paths}"
        f"<path d='M{LEFT - 4} {MARGIN}V{HEIGHT - BOTTOM + 4}H{WIDTH - MARGIN}' opacity='0.4' "
        f"stroke-width='1'/></g>{_labels([*points], low, high, trajectory.length)}</svg>"
    )


def _labels(names: list[str], low: float, high: float, epochs: int) -> str:
    """The ends of both axes, and the curves' names."""
    legend = names[0] if len(names) == 1 else f"{names[0]}, dashed: {names[1]}"
    texts = [
        ((LEFT + WIDTH) // 2, HEIGHT - 3, "middle", legend),
        (LEFT - 8, MARGIN + 8, "end", short(10**high, 3)),
        (LEFT - 8, HEIGHT - BOTTOM, "end", short(10**low, 3) if low < high else ""),
        (LEFT, HEIGHT - 3, "start", "epoch 1"),
        (WIDTH - MARGIN, HEIGHT - 3, "end", f"{epochs}" if epochs > 1 else ""),
    ]
    marks = "".join(f"<text x='{x}' y='{y}' text-anchor='{a}'>{t}</text>" for x, y, a, t in texts)
    return f"<g font-size='11' font-family='sans-serif' fill='currentColor'>{marks}</g>"


def _points(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What is drawn of a curve: indices and log10 of the values, which a zero does not have."""
    indices = thin(np.where(values > 0, values, np.nan), BUCKETS)
    return indices.astype(float), np.log10(values[indices])
