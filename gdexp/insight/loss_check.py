"""Check that a loss compares each prediction with its own target."""

from __future__ import annotations

import numpy as np

from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy
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
    pairs = np.array(
        [[_loss(built, y_pred[i : i + 1], y[j : j + 1]) for j in range(n)] for i in range(n)]
    )
    whole, rows = _loss(built, y_pred, y), np.diag(pairs)
    tolerance = float(np.sqrt(np.finfo(to_numpy(y).dtype).eps)) * float(np.abs(pairs).sum())

    def is_close(value: float) -> bool:
        return abs(whole - value) <= tolerance / n

    if not np.isfinite(pairs).all() or is_close(rows.mean()) or is_close(rows.sum()):
        return ""
    return BROADCAST if is_close(pairs.mean()) or is_close(pairs.sum()) else ""


def _like(values: np.ndarray, y: Array) -> Array:
    return y.new_tensor(values) if hasattr(y, "detach") else values.astype(y.dtype)


def _loss(built: Components, y_pred: Array, y: Array) -> float:
    return float(to_numpy(built.loss(y_pred, y)))
