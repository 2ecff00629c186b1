"""What is predicted, as the loss declares it: a number, one of two classes, or one of several.

The task determines which targets are valid, how many outputs a predictor needs, what f(x) means and
which scores apply.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import ConfigError
from gdexp.types import Task


def check_targets(y: NDArray[Any], task: Task, option: str) -> None:
    """Refuse targets that the task does not allow.

    Args:
        y: the targets, shape (n,).
        task: the task of the loss.
        option: the loss as typed, for the message.

    Raises:
        ConfigError: if a binary target is neither 0 nor 1, or a class is none of 0, 1, 2, ….
    """
    if task == "regression":
        return
    invalid = ~np.isin(y, (0, 1)) if task == "binary" else (y < 0) | (y != np.floor(y))
    if invalid.any():
        expected = "0 or 1" if task == "binary" else "a class, 0, 1, 2, …"
        raise ConfigError(
            f"loss={option}: the target {y[invalid][0]:g} in row {int(invalid.argmax()) + 1} is "
            f"not {expected}. Encode the classes as whole numbers, or type loss=MSELoss."
        )


def outputs_of(y: NDArray[Any], task: Task) -> int:
    """The number of outputs a predictor needs: one, or one for each class."""
    return int(y.max()) + 1 if task == "classes" else 1


def targets(y: NDArray[Any], task: Task) -> NDArray[Any]:
    """The targets in the type that the loss expects: integers for classes."""
    return y.astype(np.int64) if task == "classes" else y


def response(y_pred: NDArray[Any], task: Task) -> NDArray[np.float64]:
    """What f(x) means: a number, the probability of class 1, or the most probable class.

    Args:
        y_pred: the predictor's outputs, shape (n,) or (n, k).
        task: the task.
    """
    if task == "classes":
        y_pred = y_pred.argmax(axis=1)
    values: NDArray[np.float64] = y_pred.astype(np.float64)
    if task == "binary":
        with np.errstate(over="ignore"):
            values = 1 / (1 + np.exp(-values))
    return values


def softmax(y_pred: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of each class, ``e**z_k / sum(e**z)``, of logits z of shape (n, k)."""
    z = y_pred.astype(np.float64)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def scores(y: NDArray[Any], y_pred: NDArray[Any], task: Task) -> dict[str, float]:
    """Mean absolute error and R², or the accuracy, as scikit-learn defines them.

    ``mae = mean(|y - f(x)|)``, ``r2 = 1 - sum((y - f(x))**2) / sum((y - mean(y))**2)``, and the
    accuracy is the share of rows whose class is predicted. If all targets are equal, r2 is 1 for
    exact predictions and 0 for others; with a single row there is no r2.

    Args:
        y: the targets, shape (n,).
        y_pred: the predictor's outputs, shape (n,) or (n, k), finite.
        task: the task.
    """
    predicted, y = response(y_pred, task), y.astype(np.float64)
    if task != "regression":
        classes = predicted if task == "classes" else np.round(predicted)
        return {"accuracy": float(np.mean(y == classes))}
    residuals = y - predicted
    result = {"mae": float(np.abs(residuals).mean())}
    if len(y) > 1:
        rest, total = float(np.sum(residuals**2)), float(np.sum((y - y.mean()) ** 2))
        result["r2"] = 1 - rest / total if total else float(rest == 0)
    return result
