"""What is predicted, as the loss declares it: a number, one of two classes, or one of several.

It decides which targets fit, how many outputs a predictor needs, what f(x) means to a reader and
which scores apply.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import ConfigError
from gdexp.types import Task


def check_targets(y: NDArray[Any], task: Task, option: str) -> None:
    """Refuse targets that the loss cannot take.

    Args:
        y: the targets, shape (n,).
        task: what the loss is for.
        option: the loss as it was typed.

    Raises:
        ConfigError: a binary target that is neither 0 nor 1, or classes that are not 0, 1, 2, ….
    """
    if task == "regression":
        return
    odd = ~np.isin(y, (0, 1)) if task == "binary" else (y < 0) | (y != np.floor(y))
    if odd.any():
        expected = "0 or 1" if task == "binary" else "a class, 0, 1, 2, …"
        raise ConfigError(
            f"loss={option}: the target {y[odd][0]:g} in row {int(odd.argmax()) + 1} is not "
            f"{expected}. Encode the classes as whole numbers, or type loss=MSELoss."
        )


def outputs_of(y: NDArray[Any], task: Task) -> int:
    """How many numbers a predictor gives for each row: one, or one for each class."""
    return int(y.max()) + 1 if task == "classes" else 1


def targets(y: NDArray[Any], task: Task) -> NDArray[Any]:
    """The targets as the loss takes them: whole numbers for classes."""
    return y.astype(np.int64) if task == "classes" else y


def response(y_pred: NDArray[Any], task: Task) -> NDArray[np.float64]:
    """What f(x) says: a number, the probability of class 1, or the most probable class.

    Args:
        y_pred: what the predictor gives, shape (n,) or (n, k).
        task: what it was fitted for.
    """
    if task == "classes":
        y_pred = y_pred.argmax(axis=1)
    values: NDArray[np.float64] = y_pred.astype(np.float64)
    if task == "binary":
        with np.errstate(over="ignore"):
            values = 1 / (1 + np.exp(-values))
    return values


def shares(y_pred: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of each class, ``e**z_k / sum(e**z)``, shape (n, k), of logits z."""
    z = y_pred.astype(np.float64)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def scores(y: NDArray[Any], y_pred: NDArray[Any], task: Task) -> dict[str, float]:
    """Mean absolute error and R², or the accuracy, as scikit-learn defines them.

    ``mae = mean(|y - f(x)|)``, ``r2 = 1 - sum((y - f(x))**2) / sum((y - mean(y))**2)``, and the
    accuracy is the share of rows whose class is predicted. If all targets are equal, r2 is 1 for
    exact predictions and 0 for others; of a single row it is left out.

    Args:
        y: the targets, shape (n,).
        y_pred: what the predictor gives, shape (n,) or (n, k), finite.
        task: what it was fitted for.
    """
    answers, y = response(y_pred, task), y.astype(np.float64)
    if task != "regression":
        classes = answers if task == "classes" else np.round(answers)
        return {"accuracy": float(np.mean(y == classes))}
    residuals = y - answers
    measured = {"mae": float(np.abs(residuals).mean())}
    if len(y) > 1:
        left, total = float(np.sum(residuals**2)), float(np.sum((y - y.mean()) ** 2))
        measured["r2"] = 1 - left / total if total else float(left == 0)
    return measured
