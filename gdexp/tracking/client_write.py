"""The calls of MLflow's client that log what belongs to a run."""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gdexp.tracking.artifacts import temporary_folder
from gdexp.tracking.run_record import DatasetRecord, RunRecord
from gdexp.tracking.tags import PROCESS

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000  # metric rows that MLflow takes in one call


def actions(client: MlflowClient, run_id: str, record: RunRecord) -> Iterator[Callable[[], object]]:
    """What logs the params, metrics, data set and artifacts of a run, and its end last."""
    from mlflow.entities import Param

    log = partial(client.log_batch, run_id)
    if record.params:
        params = [Param(key, value) for key, value in record.params.items()]
        yield partial(log, params=params)
    rows = list(_metrics(record))
    for start in range(0, len(rows), BATCH):
        yield partial(log, metrics=rows[start : start + BATCH])
    if record.dataset is not None:
        yield partial(_log_dataset, client, run_id, record.dataset)
    if record.artifacts:
        yield partial(log_artifacts, client, run_id, record.artifacts)
    if record.status != "RUNNING":
        yield partial(_end, client, run_id, record)


def log_artifacts(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    """Add files to a run's artifacts."""
    with temporary_folder(files) as folder:
        client.log_artifacts(run_id, folder)


def _end(client: MlflowClient, run_id: str, record: RunRecord) -> None:
    client.set_terminated(run_id, record.status, record.end_ms)
    # only now: a RUNNING run without its owner could never be closed
    with contextlib.suppress(Exception):  # it may not exist
        client.delete_tag(run_id, PROCESS)


def _log_dataset(client: MlflowClient, run_id: str, record: DatasetRecord) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    dataset = Dataset(
        record.name,
        record.digest,
        record.source_type,
        record.source,
        record.schema,
        record.profile,
    )
    tags = []
    if record.context is not None:
        tags.append(InputTag("mlflow.data.context", record.context))
    try:
        client.log_inputs(run_id, [DatasetInput(dataset, tags)])
    except MlflowException:  # another process has just created this data set
        client.log_inputs(run_id, [DatasetInput(dataset, tags)])


def _metrics(record: RunRecord) -> Iterator[Any]:
    from mlflow.entities import Metric

    for curve in record.curves:
        columns = curve.values.tolist(), curve.timestamps.tolist(), curve.steps.tolist()
        yield from (Metric(curve.name, *point) for point in zip(*columns, strict=True))
