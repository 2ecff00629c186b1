"""The rules that stop a run before its last epoch; they depend on the trajectory alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.numbers import short
from gdexp.descent.trajectory import Trajectory

VALIDATION = "validation/loss"
ROUNDING = 1e-9  # relative: by so much may norms differ that are summed in another order


class Rules:
    """The rules of the ``stop`` section, checked at the last recorded epoch.

    Args:
        stop: the section: tolerance, watch, patience, restore_best, divergence and every.

    Attributes:
        active: whether any rule is set.
        every: the number of epochs from one check to the next; None without a rule.
        restores_best: whether the run ends with the parameters of its best epoch.
    """

    def __init__(self, stop: Mapping[str, Any]) -> None:
        self._tolerance, self._watch = stop["tolerance"], stop["watch"]
        self._patience, self._divergence = stop["patience"], stop["divergence"]
        self.restores_best = bool(self._patience and stop["restore_best"])
        self.active = any((self._tolerance, self._patience, self._divergence))
        self.every: int | None = stop["every"] if self.active else None

    def ended(self, trajectory: Trajectory) -> tuple[str, str] | None:
        """(outcome, reason) if a rule is met, else None."""
        if not (self.active and trajectory.length):
            return None
        epoch, loss = trajectory.length, trajectory.loss
        if self._divergence and loss[-1] > self._divergence * float(loss[0]):
            grown = f"the loss grew from {short(loss[0])} to {short(loss[-1])} by epoch {epoch}"
            return "diverged", f"{grown}, more than {self._divergence:g} times"
        if self._tolerance:
            value = loss[-1] if self._watch == "loss" else gradient_norm(trajectory)
            if value <= self._tolerance:
                what = "loss" if self._watch == "loss" else "gradient norm"
                return "converged", f"the {what} was {short(value)} in epoch {epoch}"
        if self._patience:
            curve = trajectory.measured[VALIDATION]
            best = best_epoch(trajectory)
            if epoch - best >= self._patience:
                smallest = f"the validation loss was {short(curve[best - 1])} in epoch {best}"
                return "converged", f"{smallest}, with no improvement since"
        return None

    def first_end(self, trajectory: Trajectory, after: int) -> int | None:
        """The first checked epoch after this one in which a rule is met; None if none is.

        The same as asking :meth:`ended` at every check, but for all epochs at once.
        """
        if self.every is None or trajectory.length < after + 1:
            return None
        length = trajectory.length
        epochs = np.arange(after - after % self.every + self.every, length + 1, self.every)
        try:
            for epoch in epochs[self._may_end(trajectory, epochs - 1)].tolist():
                trajectory.length = epoch
                if self.ended(trajectory) is not None:
                    return int(epoch)
        finally:
            trajectory.length = length
        return None

    def _may_end(self, trajectory: Trajectory, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a rule is met in these rows; True also where rounding decides."""
        loss, may = trajectory.loss, np.zeros(len(rows), np.bool_)
        if self._divergence:
            may |= loss[rows] > self._divergence * float(loss[0])
        if self._tolerance:
            values = loss[rows]
            if self._watch == "gradient":
                with np.errstate(over="ignore"):
                    values = np.linalg.norm(trajectory.gradient(rows), axis=0)
            may |= values <= self._tolerance * (1 + ROUNDING)
        if self._patience:
            curve = trajectory.measured[VALIDATION]
            curve = np.where(np.isnan(curve), np.inf, curve)
            improved = curve[1:] < np.minimum.accumulate(curve)[:-1]
            best = np.maximum.accumulate(
                np.append(0, np.where(improved, np.arange(1, len(curve)), 0))
            )
            may |= rows - best[rows] >= self._patience
        return may


def best_epoch(trajectory: Trajectory) -> int:
    """The first epoch with the smallest validation loss."""
    curve = trajectory.measured[VALIDATION]
    return int(np.where(np.isnan(curve), np.inf, curve).argmin()) + 1


def gradient_norm(trajectory: Trajectory, row: int = -1) -> float:
    """The Euclidean norm of the gradient over all parameters, in one row of the trajectory."""
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(trajectory.gradient(row)))
