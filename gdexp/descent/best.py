"""The best epoch of a run: the one after whose update the validation loss was smallest."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from gdexp.descent import predictors
from gdexp.descent.build import Components
from gdexp.descent.stopping import VALIDATION, best_epoch
from gdexp.descent.trajectory import Trajectory
from gdexp.types import Array


class Best:
    """The measure of the validation loss that also keeps the parameters of the best epoch.

    It copies the predictor's state in the first epoch, and whenever the loss is smaller than ever
    before. On a device, the comparison waits for the loss of every epoch.

    Args:
        built: the components of the run.

    Attributes:
        state: the predictor's state in the best epoch; None if it is not known.
    """

    def __init__(self, built: Components) -> None:
        self._built = built
        self._smallest: Array | None = None
        self.state: Mapping[str, Any] | None = None

    def __call__(self) -> Array:
        """The loss on the validation rows, to be called after each update."""
        value = self._built.kept_loss()
        if self._smallest is None or value < self._smallest:
            self._smallest, self.state = _ranked(value), self._current()
        return value

    def resume(self, trajectory: Trajectory, state: Mapping[str, Any] | None) -> None:
        """Continue after the trajectory of a checkpoint, with the best state that it has."""
        epoch = best_epoch(trajectory)
        self._smallest = _ranked(float(trajectory.measured[VALIDATION][epoch - 1]))
        self.state = self._current() if epoch == trajectory.length else state

    def restore(self, trajectory: Trajectory) -> int | None:
        """Give the predictor the best epoch's parameters; return the epoch, or None if unknown."""
        if self.state is None:
            return None
        predictors.load_state(self._built.predictor, self.state)
        return best_epoch(trajectory)

    def _current(self) -> dict[str, Any]:
        return {k: _copy(v) for k, v in predictors.state_of(self._built.predictor).items()}


def _ranked(loss: Array) -> Array:
    """The loss to compare with; NaN is as bad as infinity, as in :func:`best_epoch`."""
    return loss if loss < math.inf else math.inf


def _copy(value: Any) -> Any:
    return value.detach().clone() if hasattr(value, "detach") else copy.deepcopy(value)
