"""Describing the data set of a run for MLflow: its name, digest, source and shapes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.data.preparation import Prepared
from gdexp.tracking.run_record import DatasetRecord


def dataset_record(job: Job, data: Prepared) -> DatasetRecord:
    """The data set of a run as MLflow describes it."""
    table, shape = data.fitted, [data.rows]
    inputs = shape if table.width == 1 else [data.rows, table.width]
    source_type, source = _source(job.settings["data"])
    return DatasetRecord(
        name=table.name,
        digest=data.digest,
        source_type=source_type,
        source=json.dumps(source),
        schema=json.dumps({"mlflow_tensorspec": _tensors(inputs, shape)}),
        profile=json.dumps({"features_shape": inputs, "targets_shape": shape}),
    )


def shape_of(record: DatasetRecord) -> tuple[int, int] | None:
    """The numbers of rows and columns; None if the record has none, or was edited by hand."""
    try:
        shape = json.loads(record.profile or "")["features_shape"]
        rows, columns = (*map(int, shape), 1)[:2]
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return rows, columns


def _source(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where data come from: the file or folder that the setting ``path`` names, else gdexp."""
    path = settings.get("path")
    if isinstance(path, str) and path:
        file = absolute(os.path.expanduser(path))
        if file.exists():
            return "local", {"uri": str(file)}
    return "code", {"tags": {"mlflow.source.name": "gdexp"}}


def _tensors(inputs: list[int], targets: list[int]) -> dict[str, str]:
    def spec(shape: list[int]) -> str:
        inner = {"dtype": "float64", "shape": [-1, *shape[1:]]}
        return json.dumps([{"type": "tensor", "tensor-spec": inner}])

    return {"features": spec(inputs), "targets": spec(targets)}
