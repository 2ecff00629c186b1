"""Parameters, gradient and learning rate by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gdexp.descent.build import Components
from gdexp.descent.result import Result
from gdexp.errors import counted
from gdexp.insight.dynamics.curvature import Floats
from gdexp.insight.pictures.lines import FEW, draw_lines, legend
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scales import epoch_axis, symmetric_axis
from gdexp.insight.pictures.style import canvas, label, number, rows, style

LR = "train/lr"


def parameters(result: Result, built: Components | None) -> Picture | None:
    """Draw the parameters of a run: each of a few, else the norm of each group.

    A group is a parameter of several numbers, such as ``w`` with ``w/age`` and ``w/bmi``.
    """
    lines = result.trajectory.parameters
    if not lines:
        return None
    are_norms = len(lines) > FEW
    if are_norms:
        lines = _norms(lines)
        words = "The Euclidean norm of each group of parameters. "
    else:
        words = ""
    data = result.data or (built and built.data)
    scaled = ", for standardized features" if data and data.scaling is not None else ""
    ends = [
        f"{label(name).strip()} {f'from {number(v[0], 4)} to' if len(v) > 1 else 'is'} "
        f"{number(v[-1], 4)}"
        for name, v in lines.items()
    ]
    length = result.trajectory.length
    words += f"After epoch 1{f' and epoch {length}' if length > 1 else ''}: {'; '.join(ends[:FEW])}"
    words += f"; and {len(ends) - FEW} more." if len(ends) > FEW else "."
    name = "norm" if are_norms else "parameter" if len(lines) > 1 else next(iter(lines))
    return _drawn("parameters", "Parameters", words, lines, label(name) + scaled, signed=True)


def gradient(result: Result) -> Picture | None:
    """Draw the norm of the gradient over all parameters."""
    gradients = [*result.trajectory.gradients.values()]
    if not gradients:
        return None
    with np.errstate(over="ignore"):
        norm = _norm(gradients)
    low = int(norm.argmin())
    words = f"The norm of the gradient goes from {number(norm[0], 4)} in epoch 1 to "
    words += f"{number(norm[-1], 4)} in epoch {len(norm)}"
    if norm[low] < norm[-1]:
        words += f"; the smallest, {number(norm[low], 4)}, is that of epoch {low + 1}"
    is_part = result.job is not None and result.job.settings["data"].get("batch_size")
    words += ". In each epoch it is that of the last minibatch." if is_part else "."
    return _drawn("gradient", "Gradient", words, {"norm": norm}, "norm of the gradient")


def lr(result: Result) -> Picture | None:
    """Draw the learning rate, if a scheduler changes it."""
    if LR not in result.trajectory.measures:
        return None
    values = result.trajectory.measured[LR]
    changes = int(np.count_nonzero(np.diff(values)))
    words = f"The learning rate goes from {number(values[0], 4)} to {number(values[-1], 4)} and "
    words += f"changes {counted(changes, 'time')}; the largest is {number(values.max(), 4)}."
    return _drawn("lr", "Learning rate", words, {"lr": values}, "learning rate")


def _drawn(
    name: str,
    title: str,
    words: str,
    lines: Mapping[str, Floats],
    axis: str,
    signed: bool = False,
) -> Picture:
    epochs = len(next(iter(lines.values())))
    with style():
        figure, axes = canvas()
        handles = draw_lines(axes, lines, linear=signed)
        if signed:
            symmetric_axis(axes, [*lines.values()])
        legend(axes, handles)
        epoch_axis(axes, epochs)
        axes.set_ylabel(axis)
    shown = rows(
        epochs,
        *(int(np.nanargmin(values)) + 1 for values in lines.values() if not np.isnan(values).all()),
    )
    table = {"epoch": shown} | {line: values[shown - 1] for line, values in lines.items()}
    return Picture(name, title, words, table, figure)


def _norms(lines: Mapping[str, Floats]) -> dict[str, Floats]:
    """The norm of each group of columns, or one norm if there are many groups too."""
    groups: dict[str, list[Floats]] = {}
    for name, values in lines.items():
        groups.setdefault(name.partition("/")[0].removesuffix(".norm"), []).append(values)
    if len(groups) > FEW:
        return {"all parameters": _norm([*lines.values()])}
    with np.errstate(over="ignore"):
        return {name: _norm(columns) for name, columns in groups.items()}


def _norm(columns: list[Floats]) -> Floats:
    """The Euclidean norm over the columns, without overflow on the way."""
    table = np.array(columns)
    scale = np.abs(table).max(axis=0)
    scale[scale == 0] = 1.0
    with np.errstate(all="ignore"):  # a damaged record may hold inf
        norm: Floats = np.sqrt(((table / scale) ** 2).sum(axis=0)) * scale
    return norm
