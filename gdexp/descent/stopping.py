"""The rules that stop a run before its last epoch; they depend on the trajectory alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdexp.descent.numbers import short
from gdexp.descent.trajectory import Trajectory

VALIDATION = "validation/loss"


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


def best_epoch(trajectory: Trajectory) -> int:
    """The first epoch with the smallest validation loss."""
    curve = trajectory.measured[VALIDATION]
    return int(np.where(np.isnan(curve), np.inf, curve).argmin()) + 1


def gradient_norm(trajectory: Trajectory, row: int = -1) -> float:
    """The Euclidean norm of the gradient over all parameters, in one row of the trajectory."""
    with np.errstate(over="ignore"):
        return float(np.linalg.norm([values[row] for values in trajectory.gradients.values()]))
