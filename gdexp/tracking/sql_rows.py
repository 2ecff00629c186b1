"""The rows that MLflow's own client would have written for finished runs.

Read beside ``create_run``, ``log_batch`` and ``set_terminated`` in MLflow's sqlalchemy_store.py.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils import validation
from mlflow.utils.uri import append_to_uri_path

from gdexp.tracking.run_record import FinishedRun

LARGEST = np.finfo(np.float64).max  # MLflow stores it for infinity

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]

METRIC = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
RECENCY = operator.itemgetter(4, 2, 1)  # step, then timestamp, then value
COLUMNS = {
    "runs": (
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id"),
        *("status", "start_time", "end_time", "deleted_time", "source_version"),
        *("lifecycle_stage", "artifact_uri", "experiment_id"),
    ),
    "tags": ("key", "value", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "metrics": METRIC,
    "latest_metrics": METRIC,
    "datasets": (
        *("dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type"),
        *("dataset_source", "dataset_schema", "dataset_profile"),
    ),
    "inputs": ("input_uuid", "source_type", "source_id", "destination_type", "destination_id"),
    "input_tags": ("input_uuid", "name", "value"),
}


def rows_of(runs: Sequence[FinishedRun], experiment: int, location: str) -> Rows:
    """The rows of each table, in an order that suits the foreign keys; data sets are left out.

    Raises:
        MlflowException: MLflow does not allow a name or a value.
    """
    metrics, latest = _metrics(runs)
    return {
        "runs": [_run(run, experiment, location) for run in runs],
        "tags": [
            (key, value, run.run_id)
            for run in runs
            for key, value in {**run.tags, "mlflow.runName": run.name}.items()
        ],
        "params": [
            (*_param(key, value), run.run_id) for run in runs for key, value in run.params.items()
        ],
        "metrics": metrics,
        "latest_metrics": latest,
    }


def _run(run: FinishedRun, experiment: int, location: str) -> Row:
    place = append_to_uri_path(location, run.run_id, SqlAlchemyStore.ARTIFACTS_FOLDER_NAME)
    user = run.tags.get("mlflow.user", "unknown")
    life = (run.status, run.start_ms, run.end_ms, None, "", "active")
    return (run.run_id, run.name, "UNKNOWN", "", "", user, *life, place, experiment)


def _param(key: str, value: str) -> tuple[str, str]:
    _check_param(key)
    if len(value) > validation.MAX_PARAM_VAL_LENGTH:
        value = validation._validate_param(key, value).value  # cut off, with a warning
    return key, value


@functools.lru_cache(4096)
def _check_param(key: str) -> None:
    validation._validate_param(key, "")


@functools.lru_cache(4096)
def _check_metric(key: str) -> None:
    validation._validate_metric(key, 0.0, 0, 0)


def _metrics(runs: Sequence[FinishedRun]) -> tuple[list[Row], list[Row]]:
    """Every point, and each metric's most recent one."""
    curves = [(run, curve) for run in runs for curve in run.curves if len(curve.values)]
    if not curves:
        return [], []
    lengths = [len(curve.values) for _, curve in curves]
    values = np.concatenate([curve.values for _, curve in curves], dtype=np.float64)
    stamps = np.concatenate([curve.timestamps for _, curve in curves], dtype=np.int64)
    steps = np.concatenate([curve.steps for _, curve in curves], dtype=np.int64)
    nan = np.isnan(values)
    columns = (
        chain.from_iterable(map(repeat, (curve.name for _, curve in curves), lengths)),
        np.clip(np.where(nan, 0.0, values), -LARGEST, LARGEST).tolist(),
        stamps.tolist(),
        chain.from_iterable(map(repeat, (run.run_id for run, _ in curves), lengths)),
        steps.tolist(),
        nan.tolist(),
    )
    rows = list(zip(*columns, strict=True))
    latest: dict[tuple[str, str], Row] = {}
    ends = np.cumsum(lengths).tolist()
    for (run, curve), end, length in zip(curves, ends, lengths, strict=True):
        _check_metric(curve.name)
        newest = max(rows[end - length : end], key=RECENCY)
        known = latest.setdefault((run.run_id, curve.name), newest)
        if RECENCY(newest) > RECENCY(known):
            latest[run.run_id, curve.name] = newest
    for row in (rows[i] for i in np.flatnonzero(stamps < 0)[:1]):
        validation._validate_metric(row[0], row[1], row[2], row[4])
    return rows, list(latest.values())
