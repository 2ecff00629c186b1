"""The derivative of an update's loss by central differences, from the lines that compute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdexp.insight.explanation.watched import Update, Values
from gdexp.types import Task

MOST = 10**8  # numbers read for a derivative, about a second
FEW = 20  # parameters whose derivatives are computed


def derivatives_of(update: Update, codes: Sequence[str], task: Task) -> Values | None:
    """The derivative of the loss by w and b, in double precision.

    Args:
        update: an update of a linear predictor.
        codes: the lines in NumPy that set ``y_pred`` and ``loss``.
        task: the kind of targets.

    Returns:
        None if a line is missing, or there are many parameters or rows.
    """
    sizes = [np.size(value) for value in update.before.values()]
    if not all(codes) or sum(sizes) > FEW or 2 * sum(sizes) * np.size(update.x) > MOST:
        return None
    names: dict[str, Any] = {"np": np, "x": _double(update.x), "y": _double(update.y)}
    start = {name: np.atleast_1d(_double(value)) for name, value in update.before.items()}

    def loss(name: str, place: int, by: float) -> float:
        moved = {key: values.copy() for key, values in start.items()}
        moved[name][place] += by
        shaped = {key: v.reshape(np.shape(update.before[key])) for key, v in moved.items()}
        names.update(shaped)
        for code in codes:
            exec(code, names)
        return float(names["loss"])

    # Each difference moves the predictions by a thousandth of what matters to the loss.
    error = 1.0 if task == "binary" else float(np.abs(names["y"] - _double(update.y_pred)).max())
    reach = np.abs(names["x"].reshape(len(names["y"]), -1)).max(axis=0)
    sizes_of = {"w": np.where(reach > 0, reach, 1.0), "b": np.ones(1)}
    derivatives = {}
    for name in start:
        by = (1e-3 * (error or 1.0) / sizes_of[name]).tolist()
        slopes = [(loss(name, i, h) - loss(name, i, -h)) / (2 * h) for i, h in enumerate(by)]
        derivatives[name] = np.reshape(slopes, np.shape(update.before[name]))
    return derivatives


def comparison(update: Update, derivatives: Values, is_sum: bool) -> str:
    """How the run's gradient compares with the derivatives of its loss, in words.

    Args:
        update: an update of a linear predictor.
        derivatives: from :func:`derivatives_of`.
        is_sum: whether the loss is a sum over the rows, not a mean.
    """
    g, d = (
        np.concatenate([np.ravel(_double(values[name])) for name in derivatives])
        for values in (update.gradients, derivatives)
    )
    if not (np.isfinite(g).all() and np.isfinite(d).all()):
        return ""
    rows = len(update.y) if is_sum else 1
    sizes = np.abs(update.y_pred) + np.abs(update.y)
    x = max(1.0, float(np.abs(update.x).max()))
    noise = 100 * np.finfo(update.y_pred.dtype).eps * x * float(sizes.max()) * rows
    if max(np.abs(d).max(), np.abs(g).max()) <= noise:
        return "as small as its rounding errors"
    ratio = float(g @ d / (d @ d)) if d.any() else 0.0
    if not ratio or np.abs(g - ratio * d).max() > 0.01 * np.abs(g).max() + noise:
        return "it is not the derivative of the loss, nor a multiple of it"
    if abs(ratio - 1) <= 0.01:
        return "central differences of the loss give the same"
    return f"it is {ratio:.4g} times what central differences of the loss give"


def _double(value: Any) -> Any:
    return np.asarray(value, np.float64)
