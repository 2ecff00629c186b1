"""What MLflow loads and serves: a fitted predictor, asked with a table and answering with one.

MLflow imports this module by its name, so gdexp must be installed where a model is loaded, and so
must be a predictor or a loss of one's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.descent.fitted import Fitted
from gdexp.descent.fitted_files import read_fitted

if TYPE_CHECKING:
    from pandas import DataFrame


class Served:
    """A fitted predictor as MLflow asks it.

    Args:
        fitted: the predictor.
    """

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted

    def predict(self, table: DataFrame, params: dict[str, Any] | None = None) -> DataFrame:
        """Predictions for rows in the data's own units.

        Args:
            table: a column for each feature.
            params: nothing; MLflow hands it on.

        Returns:
            ``prediction``: a number, the probability of class 1, or a class; with several classes
            also the probability of each, ``probability_0``, ``probability_1``, ….
        """
        from pandas import DataFrame

        x = table[list(self.fitted.features)].to_numpy(np.float64)
        return DataFrame(self.fitted.answers(x), index=table.index)


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry: the model whose ``predictor.npz`` is at this path."""
    return Served(read_fitted(Path(path).read_bytes()))
