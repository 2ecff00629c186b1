"""Check that a loss compares each prediction with its own target."""

from __future__ import annotations

import numpy as np

from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy
from gdexp.insight.checks.reference import rows_copied
from gdexp.types import Array

ROWS = 3
BROADCAST = (
    "averages over all n * n pairs of a prediction and a target: (n, 1) - (n,) has shape (n, n). "
    "Give both the same shape, as in y_pred.reshape(-1) - y."
)


def wrong(built: Components) -> str:
    """What is wrong with the loss, as the end of "loss=mine …", or "".

    The loss of a few made-up predictions is held against the losses of their rows, one by one: a
    mean or a sum over the rows is right, the mean or the sum over all pairs is not. A loss that is
    neither, such as a correlation, is not blamed.
    """
    y = built.y[:: max(1, len(built.y) // ROWS)][:ROWS]
    n, targets = len(y), to_numpy(y).astype(np.float64)
    if n < 2 or built.task == "classes":
        return ""
    spread = float(np.abs(targets).max()) or 1.0
    made_up = targets.mean() + spread * np.random.default_rng(0).uniform(-2, 2, n)
    y_pred = _like(made_up, y)
    root = float(np.sqrt(np.finfo(to_numpy(y).dtype).eps))
    whole, each = _loss(built, y_pred, y), range(n)

    def is_reduced(losses: list[float]) -> bool:
        mean, size = float(np.mean(losses)), float(np.abs(losses).mean())
        reduced = mean, mean * len(losses)
        return any(abs(whole - value) <= root * size * len(losses) for value in reduced)

    if is_reduced([_loss(built, y_pred[i : i + 1], y[i : i + 1]) for i in each]):
        return ""
    pairs = [_loss(built, y_pred[i : i + 1], y[j : j + 1]) for i in each for j in each]
    return BROADCAST if is_reduced(pairs) else ""


def _like(values: np.ndarray, y: Array) -> Array:
    return y.new_tensor(values) if hasattr(y, "detach") else values.astype(y.dtype)


def _loss(built: Components, y_pred: Array, y: Array) -> float:
    return float(to_numpy(built.loss(rows_copied(y_pred), rows_copied(y))))
