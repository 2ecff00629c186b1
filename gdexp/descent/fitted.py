"""A fitted predictor without its run: save it, rebuild it, predict in the data's own units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.config.capabilities import is_linear, of, task_of
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.config.validation import is_torch_based
from gdexp.data.categories import Categories, Encoding
from gdexp.data.task import response, softmax
from gdexp.data.transforms import Scaling, TargetScaling
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
        target_scaling: the standardization of the target; None if there was none.
        encoding: how text among the inputs becomes numbers; None if there was none.
        classes: the names of the classes 0, 1, …; none if they are numbers.
    """

    settings: Mapping[str, Any]
    features: tuple[str, ...]
    outputs: int
    scaling: Scaling | None
    state: Mapping[str, Any]
    target_scaling: TargetScaling | None = None
    encoding: Encoding | None = None
    classes: Categories = ()

    @classmethod
    def of(cls, job: Job, built: Components) -> Fitted:
        """The predictor of a run that has just ended."""
        y_pred = built.predict(built.x[:1])
        outputs = y_pred.shape[1] if y_pred.ndim == 2 else 1
        state = predictors.state_of(built.predictor)
        data, table = built.data, built.data.fitted
        return cls(
            _needed(job.settings),
            table.features,
            outputs,
            data.scaling,
            state,
            data.target_scaling,
            table.encoding,
            table.classes,
        )

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
        parts = {
            "settings": self.settings,
            "features": self.features,
            "outputs": self.outputs,
            "scaling": self.scaling and (self.scaling.mean, self.scaling.scale),
            "state": self.state,
        }
        if self.target_scaling is not None:
            parts["target_scaling"] = (self.target_scaling.mean, self.target_scaling.scale)
        if self.encoding is not None:
            parts["columns"] = self.encoding.columns
            parts["categories"] = self.encoding.categories
        if self.classes:
            parts["classes"] = self.classes
        return pack(parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a table to predict for."""
        return self.features if self.encoding is None else self.encoding.columns

    @property
    def text(self) -> frozenset[str]:
        """The columns of text among them."""
        return frozenset(() if self.encoding is None else self.encoding.categories)

    def inputs(self, cells: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """The inputs in a table's columns, shape (n, d).

        Args:
            cells: each column's, shape (n,): numbers, or strings in a column of text.

        Raises:
            UnknownCategoryError: if a text did not occur in the run's data.
        """
        if self.encoding is not None:
            return self.encoding.apply(cells)
        return np.column_stack(cells).astype(np.float64, copy=False)

    def cells(self, x: NDArray[np.float64]) -> list[NDArray[Any]]:
        """The columns of a table that :meth:`inputs` turns into x, shape (n, d)."""
        return [*x.T] if self.encoding is None else self.encoding.undo(x)

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
        """The predictor's outputs, shape (n,) or (n, k), in the data's own units.

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
        y_pred = predictors.predict(self._predictor, rows)
        return y_pred if self.target_scaling is None else self.target_scaling.undo(y_pred)

    def answers(self, x: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """The columns ``prediction`` and ``probability_<class>``.

        The prediction is that of :func:`gdexp.data.task.response`. If the classes have names, it is
        the name of the most probable one, also of two; of these only class 1 has a probability.
        """
        y_pred = self(x)
        values = response(y_pred, self.task)
        columns: dict[str, NDArray[Any]] = {"prediction": values}
        if self.task == "classes":
            names = self.classes or tuple(map(str, range(self.outputs)))
            probabilities = zip(names, softmax(y_pred).T, strict=False)
            columns |= {f"probability_{name}": column for name, column in probabilities}
        elif self.classes:
            columns[f"probability_{self.classes[1]}"] = values
        if self.classes:
            by_number = np.array(self.classes, dtype=object)
            columns["prediction"] = by_number[np.round(values).astype(np.int64)]
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
        and not settings["data"].get("standardize_target")
        and task_of(settings) != "classes"
        and not (stop.get("patience") and stop.get("restore_best"))  # else the last are not final
    )


def _needed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in NEEDED}
