"""What is predicted, as the loss declares it: a number, one of two classes, or one of several.

The task determines which targets are valid, how many outputs a predictor needs, what f(x) means and
which scores apply.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.categories import listed
from gdexp.data.dataset import Dataset
from gdexp.errors import ConfigError
from gdexp.types import Task

MANY = 1000  # classes, unless the table has more rows


def ignored_class(loss: Any, task: Task) -> int | None:
    """The class whose rows a loss ignores, ``ignore_index`` in torch; None if it ignores none."""
    ignored = getattr(loss, "ignore_index", None)
    return ignored if task == "classes" and isinstance(ignored, int) else None


def without(table: Dataset, ignored: int) -> Dataset:
    """The rows whose class is not ignored.

    Raises:
        ConfigError: if there are none.
    """
    counted = table.y != ignored
    if not counted.any():
        raise ConfigError(
            f"loss.ignore_index: the target is {ignored} in every row, so all rows are ignored."
        )
    return table if counted.all() else replace(table, x=table.x[counted], y=table.y[counted])


def check_targets(table: Dataset, task: Task, option: str, ignored: int | None = None) -> None:
    """Refuse targets that the task does not allow.

    Args:
        table: the table.
        task: the task of the loss.
        option: the loss as typed, for the message.
        ignored: the class whose rows the loss ignores; it may be any number.

    Raises:
        ConfigError: if a binary target is not in [0, 1], a class is none of 0, 1, 2, …, all rows
            have the same class, the largest class makes more classes than there can be, or the
            target is text and the task does not predict this number of classes.
    """
    if table.classes:
        _check_names(table, task, option)
    if task == "regression":
        return
    y = table.y
    refuse = f"loss={option}: {{}} Encode the classes as whole numbers, or type loss=MSELoss."
    if task == "binary":
        invalid, expected = ~((y >= 0) & (y <= 1)), "from 0 to 1"
    else:
        invalid, expected = (y < 0) | (y != np.floor(y)), "a class, 0, 1, 2, …"
    if ignored is not None:
        invalid &= y != ignored
    if invalid.any():
        target, row = y[invalid][0], int(invalid.argmax()) + 1
        raise ConfigError(refuse.format(f"the target {target:g} in row {row} is not {expected}."))
    if task == "classes":
        largest = _largest(y, ignored)
        if largest >= max(MANY, len(y)):
            why = f"the target {largest:.0f} would make {largest + 1:.0f} classes of {len(y)} rows."
            raise ConfigError(refuse.format(why))
        if largest == 0:
            raise ConfigError(f"loss={option}: the only class is 0. It needs two or more.")


def _check_names(table: Dataset, task: Task, option: str) -> None:
    """Refuse a target of text where the task does not predict this number of classes."""
    number, names = len(table.classes), listed(table.classes)
    if number == 1:
        why = f"holds only {names}, and there is nothing to predict. Name another."
    elif task == "regression":
        loss = "BCEWithLogitsLoss" if number == 2 else "CrossEntropyLoss"
        why = (
            f"holds text ({names}), and loss={option} predicts numbers. Type step=model loss={loss}"
        )
        why += " to predict its classes, or name another."
    elif task == "binary" and number != 2:
        why = f"holds {number} classes ({names}), and loss={option} predicts two. "
        why += "Type loss=CrossEntropyLoss."
    else:
        return
    raise ConfigError(f"data.target: column {table.target!r} {why}")


def outputs_of(y: NDArray[Any], task: Task, loss: Any) -> int:
    """The number of outputs a predictor needs: one, or one for each class.

    Args:
        y: the targets, shape (n,).
        task: the task of the loss.
        loss: the loss; there are no fewer classes than it has weights.
    """
    if task != "classes":
        return 1
    weights = getattr(loss, "weight", None)
    least = 0 if weights is None else len(weights)
    ignored = ignored_class(loss, task)
    return max(least, int(_largest(y, ignored)) + 1)


def _largest(y: NDArray[Any], ignored: int | None) -> float:
    """The largest class that is not ignored."""
    return float(y.max() if ignored is None else y.max(initial=0, where=y != ignored))


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


def has_scores(y: NDArray[Any], task: Task) -> bool:
    """Whether :func:`scores` are defined: not for probabilities, which have no accuracy."""
    return task != "binary" or bool(np.isin(y, (0, 1)).all())


def scores(y: NDArray[Any], y_pred: NDArray[Any], task: Task) -> dict[str, float]:
    """Mean absolute error and R², or the accuracy, as scikit-learn defines them.

    Rows count alike, whatever weights the loss gives them.

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
        centred = y - y.mean()
        exponent = -np.frexp(np.abs(centred).max())[1]  # in this unit, squares keep to float64
        with np.errstate(over="ignore"):
            rest, total = (float(np.sum(np.ldexp(e, exponent) ** 2)) for e in (residuals, centred))
        result["r2"] = 1 - rest / total if total else float(rest == 0)
    return result
