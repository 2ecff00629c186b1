"""A fitted predictor without its run: save it, rebuild it, predict in the data's own units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.config.capabilities import is_linear, of, task_of
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.config.validation import is_torch_based
from gdexp.data.task import response, softmax
from gdexp.data.transforms import Scaling
from gdexp.descent import predictors
from gdexp.descent.archive import pack
from gdexp.descent.build import Components, rebuild
from gdexp.types import Predictor, Task

FILE = "predictor.npz"
NEEDED = (*FAMILIES, "dtype", "seed")  # the settings from which a predictor is built


@dataclass(frozen=True)
class Fitted:
    """The predictor at the end of a run.

    Attributes:
        settings: the run's settings from which the predictor is built.
        features: the names of the d inputs.
        outputs: the number of outputs of f(x).
        scaling: the standardization of the inputs; None if there was none.
        state: its fitted state, as :func:`gdexp.descent.predictors.load_state` takes it.
    """

    settings: Mapping[str, Any]
    features: tuple[str, ...]
    outputs: int
    scaling: Scaling | None
    state: Mapping[str, Any]

    @classmethod
    def of(cls, job: Job, built: Components) -> Fitted:
        """The predictor of a run that has just ended."""
        y_pred = built.predict(built.x[:1])
        outputs = y_pred.shape[1] if y_pred.ndim == 2 else 1
        state = predictors.state_of(built.predictor)
        data = built.data
        return cls(_needed(job.settings), data.fitted.features, outputs, data.scaling, state)

    @classmethod
    def rebuilt(cls, settings: Mapping[str, Any], parameters: Mapping[str, float]) -> Fitted:
        """Rebuild the predictor of a run that :func:`is_rebuildable` from its final parameters.

        Args:
            settings: the run's settings.
            parameters: w and, with a bias, b.

        Raises:
            ValueError: if these are not the predictor's parameters.
        """
        settings = _needed(settings)
        predictor = rebuild(settings, features=1, outputs=1)
        predictors.set_parameters(predictor, parameters)
        return cls(settings, ("x",), 1, None, predictors.state_of(predictor))

    def packed(self) -> bytes:
        """Pack it into one ``.npz``; :func:`gdexp.descent.fitted_files.read_fitted` unpacks it."""
        return pack(
            {
                "settings": self.settings,
                "features": self.features,
                "outputs": self.outputs,
                "scaling": self.scaling and (self.scaling.mean, self.scaling.scale),
                "state": self.state,
            }
        )

    @property
    def task(self) -> Task:
        """What is predicted."""
        return task_of(self.settings)

    @cached_property
    def _predictor(self) -> Predictor:
        predictor = rebuild(self.settings, len(self.features), self.outputs)
        predictors.load_state(predictor, self.state)
        return predictor

    def __call__(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """The predictor's outputs, shape (n,) or (n, k).

        Args:
            x: inputs in the data's own units, shape (n, d).
        """
        if self.scaling is not None:
            x = (x - self.scaling.mean) / self.scaling.scale
        rows: Any = x[:, 0] if len(self.features) == 1 else x
        # Row by row, whatever the caller's layout: torch rounds a transposed product differently.
        rows = rows.astype(self.settings["dtype"], order="C")
        if is_torch_based(Job(dict(self.settings), {})):
            from gdexp import pytorch

            (rows,) = pytorch.tensors(rows)
        return predictors.predict(self._predictor, rows)

    def answers(self, x: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The columns ``prediction`` (:func:`gdexp.data.task.response`) and ``probability_<k>``."""
        y_pred = self(x)
        columns = {"prediction": response(y_pred, self.task)}
        if self.task == "classes":
            probabilities = softmax(y_pred).T
            columns |= {f"probability_{k}": column for k, column in enumerate(probabilities)}
        return columns


def is_rebuildable(settings: Mapping[str, Any]) -> bool:
    """Whether :meth:`Fitted.rebuilt` needs no more than a run's settings and final parameters.

    So it is for a linear predictor of one feature, x, fitted to points written out in the settings.
    """
    stop = settings.get("stop", {})
    return (
        is_linear(settings)
        and bool(of(settings, "data", "inline"))
        and not settings["data"].get("standardize")
        and task_of(settings) != "classes"
        and not (stop.get("patience") and stop.get("restore_best"))  # else the last are not final
    )


def _needed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in NEEDED}
