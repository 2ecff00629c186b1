"""Logging the fitted predictor as an MLflow model, through MLflow's client.

MLflow's ``log_model`` would take the store and the run from global state.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gdexp.config import __version__
from gdexp.data.preparation import Prepared
from gdexp.descent.fitted import FILE, Fitted
from gdexp.tracking import served
from gdexp.tracking.connect import client_of
from gdexp.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.types import Schema

NAME = "model"
ROWS = 5  # of the input example


def log_model(
    store: Store,
    run_id: str,
    fitted: Fitted,
    data: Prepared,
    params: Mapping[str, str],
    epoch: int,
) -> None:
    """Log a run's fitted predictor as its model.

    Args:
        store: the store that has the run.
        run_id: the run's id.
        fitted: its predictor.
        data: the data it was fitted to, for the input example.
        params: the run's params, which become the model's.
        epoch: the run's last epoch.
    """
    client = client_of(store.uri)
    made = client.create_logged_model(store.experiment_id, NAME, run_id, params=dict(params))
    from mlflow.entities import LoggedModelOutput

    status: Literal["FAILED", "READY"] = "FAILED"
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            save(path, fitted, example_of(data), made)
            client.log_model_artifacts(made.model_id, str(path))
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, epoch)])
        status = "READY"
    finally:
        client.finalize_logged_model(made.model_id, status)


def save(path: Path, fitted: Fitted, example: NDArray[np.float64], made: LoggedModel) -> None:
    """Write the folder that MLflow loads a model from.

    Args:
        path: the folder, which must not exist.
        fitted: the predictor.
        example: some inputs of the predictor in the data's original units, shape (n, d).
        made: the model's entry in the store.
    """
    from pandas import DataFrame

    source = path.with_name(FILE)
    table = dict(zip(fitted.columns, fitted.cells(example), strict=True))
    source.write_bytes(fitted.packed())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own use of pandas
        from mlflow import pyfunc
        from mlflow.models import Model, ModelSignature

        pyfunc.save_model(
            path,
            loader_module=served.__name__,
            data_path=str(source),
            mlflow_model=Model(
                artifact_path=made.artifact_location,
                run_id=made.source_run_id,
                model_uuid=made.model_id,
                model_id=made.model_id,
            ),
            signature=ModelSignature(_schema(table), _schema(fitted.answers(example))),
            input_example=DataFrame(table),
            pip_requirements=[f"gdexp=={__version__}"],
        )


def example_of(data: Prepared) -> NDArray[np.float64]:
    """The first rows in the original units, shape (n, d); the means if no rows were kept."""
    x = data.means if data.table is None else data.table.x[:ROWS]
    return np.asarray(x, np.float64).reshape(-1, data.fitted.width)


def _schema(columns: Mapping[str, NDArray[Any]]) -> Schema:
    """Strings and doubles."""
    from mlflow.types import ColSpec, Schema

    types = {name: "string" if c.dtype == object else "double" for name, c in columns.items()}
    return Schema([ColSpec(kind, name) for name, kind in types.items()])
