"""The model that MLflow loads and serves: a fitted predictor that maps a table to a table.

MLflow imports this module by its name, so gdexp must be installed where a model is loaded, and so
must the package of a custom predictor or loss. Somebody else may have written the model, so it may
name such a package only if the environment variable ``GDEXP_TRUST`` does: ``mypackage.*``, or
several with commas.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdexp.config.trust import Trust
from gdexp.descent.fitted import Fitted
from gdexp.descent.fitted_files import read_fitted

if TYPE_CHECKING:
    from pandas import DataFrame, Series


VARIABLE = "GDEXP_TRUST"


class Served:
    """A fitted predictor with the interface of an MLflow pyfunc.

    Args:
        fitted: the predictor.
    """

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted

    def predict(self, table: DataFrame, params: dict[str, Any] | None = None) -> DataFrame:
        """Predict for rows in the data's original units.

        Args:
            table: one column per feature.
            params: unused; part of MLflow's interface.

        Returns:
            ``prediction``: a number, the probability of class 1, or a class; with several classes
            also the probability of each, ``probability_0``, ``probability_1``, …. Classes that
            have names are named, also if there are two; then with ``probability_<class 1>``.

        Raises:
            ConfigError: if a text did not occur in the run's data.
        """
        from pandas import DataFrame

        x = self.fitted.inputs([self._cells(table[name]) for name in self.fitted.columns])
        return DataFrame(self.fitted.answers(x), index=table.index)

    def _cells(self, column: Series[Any]) -> NDArray[Any]:
        is_text = column.name in self.fitted.text
        return column.to_numpy(object if is_text else np.float64)


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry point: load the model from the path of its ``predictor.npz``.

    Raises:
        UntrustedError: if it names code that ``GDEXP_TRUST`` does not.
    """
    names = (name.strip() for name in os.environ.get(VARIABLE, "").split(","))
    trust = Trust(tuple(filter(None, names)), typed=f"export {VARIABLE}='{{}}'")
    return Served(read_fitted(Path(path).read_bytes(), trust))
