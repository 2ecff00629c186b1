"""A fitted predictor apart from its run: written down, rebuilt, asked in the data's own units."""

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
from gdexp.data.task import response, shares
from gdexp.data.transforms import Scaling
from gdexp.descent import predictors
from gdexp.descent.archive import pack
from gdexp.descent.build import Components, rebuild
from gdexp.types import Predictor, Task

FILE = "predictor.npz"
NEEDED = (*FAMILIES, "dtype", "seed")  # settings that say how a predictor is built


@dataclass(frozen=True)
class Fitted:
    """A predictor as a run has left it.

    Attributes:
        settings: of the run, those that say how the predictor is built.
        features: what the inputs are called, d names.
        outputs: how many numbers f(x) has.
        scaling: what standardizing did; None where nothing was done.
        state: what it was fitted to, as :func:`gdexp.descent.predictors.load` takes it.
    """

    settings: Mapping[str, Any]
    features: tuple[str, ...]
    outputs: int
    scaling: Scaling | None
    state: Mapping[str, Any]

    @classmethod
    def of(cls, job: Job, built: Components) -> Fitted:
        """The predictor of a run that has ended."""
        given = built.predict(built.x[:1])
        outputs = given.shape[1] if given.ndim == 2 else 1
        state = predictors.state_of(built.predictor)
        data = built.data
        return cls(_needed(job.settings), data.fitted.features, outputs, data.scaling, state)

    @classmethod
    def told(cls, settings: Mapping[str, Any], parameters: Mapping[str, float]) -> Fitted:
        """The predictor of a run that :func:`is_told` of, from the end of its trajectory.

        Args:
            settings: of the run.
            parameters: w and, where there is one, b.

        Raises:
            ValueError: these are not the predictor's parameters.
        """
        settings = _needed(settings)
        predictor = rebuild(settings, 1, 1)
        predictors.fill(predictor, parameters)
        return cls(settings, ("x",), 1, None, predictors.state_of(predictor))

    def packed(self) -> bytes:
        """All of it as one ``.npz``; :func:`gdexp.descent.fitted_files.read_fitted` reads it."""
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
        found = rebuild(self.settings, len(self.features), self.outputs)
        predictors.load(found, self.state)
        return found

    def __call__(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """What the predictor gives, shape (n,) or (n, k).

        Args:
            x: inputs in the data's own units, shape (n, d).
        """
        if self.scaling is not None:
            x = (x - self.scaling.mean) / self.scaling.scale
        rows: Any = (x[:, 0] if len(self.features) == 1 else x).astype(self.settings["dtype"])
        if is_torch_based(Job(dict(self.settings), {})):
            from gdexp import pytorch

            (rows,) = pytorch.tensors(rows)
        found: NDArray[Any] = predictors.predict(self._predictor, rows)
        return found

    def answers(self, x: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """``prediction``, see :func:`gdexp.data.task.response`, and of classes their shares."""
        y_pred = self(x)
        found = {"prediction": response(y_pred, self.task)}
        if self.task == "classes":
            columns = shares(y_pred).T
            found |= {f"probability_{k}": column for k, column in enumerate(columns)}
        return found


def is_told(settings: Mapping[str, Any]) -> bool:
    """Whether a run's configuration and the end of its trajectory tell its predictor in full.

    They do for a line through points as they are written out, whose only input is x.
    """
    return (
        is_linear(settings)
        and bool(of(settings, "data", "inline"))
        and not settings["data"].get("standardize")
        and task_of(settings) != "classes"
    )


def _needed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in NEEDED}
