"""All that is recorded of a run, and the comparison of two such records."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from gdexp.descent.archive import unpack
from gdexp.tracking.artifacts import local_path

ONLY_A_MEMBER_HAS = {"gdexp.sweep_id", "gdexp.job", "gdexp.together"}
EXACT = ("params", "data", "name", "status")  # whatever else is compared to a small rounding
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def recorded(opened: MlflowClient, run: Run) -> dict[str, Any]:
    """All that is recorded of a run but ids, times and what only a member of a sweep has."""
    run_id, data = run.info.run_id, run.data
    folder = local_path(run.info.artifact_uri)
    assert folder is not None
    names = list(_files(opened, run_id))
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": data.params,
        "tags": {k: v for k, v in data.tags.items() if k not in ONLY_A_MEMBER_HAS},
        "histories": {
            name: [(m.step, m.value) for m in opened.get_metric_history(run_id, name)]
            for name in data.metrics
        },
        "metrics": data.metrics,
        "data": [(d.dataset.to_dictionary(), _tags(d)) for d in run.inputs.dataset_inputs],
        "artifacts": names,
        "contents": {name: _content(folder / name) for name in names},
        "models": [_model(opened, m.model_id) for m in run.outputs.model_outputs]
        if run.outputs
        else [],
    }


def _tags(data: Any) -> dict[str, str]:
    return {tag.key: tag.value for tag in data.tags}


def _files(opened: MlflowClient, run_id: str, below: str | None = None) -> Iterator[str]:
    """The paths of a run's artifacts, those in folders as well."""
    for item in opened.list_artifacts(run_id, below):
        if item.is_dir:
            yield from _files(opened, run_id, item.path)
        else:
            yield item.path


def _content(path: Path) -> Any:
    match path.suffix:
        case ".parquet":
            table = pq.read_table(path)
            return table.to_pydict(), [str(kind) for kind in table.schema.types]
        case ".npz":
            return _plain(unpack(path.read_bytes()))
    return path.read_text()


def _plain(node: Any) -> Any:
    """Arrays and tensors as lists, with their types and shapes."""
    if hasattr(node, "tolist"):
        return type(node).__name__, str(node.dtype), tuple(node.shape), node.tolist()
    if isinstance(node, dict):
        return {key: _plain(inner) for key, inner in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(inner) for inner in node]
    return node


def _model(opened: MlflowClient, model_id: str) -> dict[str, Any]:
    """A logged model: what it is called, what it is made of, and what it answers."""
    from mlflow import pyfunc
    from mlflow.models import Model

    entry = opened.get_logged_model(model_id)
    folder = str(local_path(entry.artifact_location))
    described = Model.load(folder)
    loaded = pyfunc.load_model(folder)
    return {
        "name": entry.name,
        "status": str(entry.status),
        "params": entry.params,
        "flavors": described.flavors,
        "signature": str(described.signature),
        "answers": loaded.predict(loaded.input_example).to_dict(),
    }


def assert_alike(one: Any, other: Any, *, exactly: bool, where: str = "record") -> None:
    """Equal to the last bit, or every number to a small rounding, those within a text included.

    Runs computed together by torch round elsewhere than the run alone does; by hand, nothing may
    differ.
    """
    same = functools.partial(assert_alike, exactly=exactly)
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_alike(
                one[key], other[key], exactly=exactly or key in EXACT, where=f"{where}, {key}"
            )
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other), where
        for i, (first, second) in enumerate(zip(one, other, strict=True)):
            same(first, second, where=f"{where}[{i}]")
    elif isinstance(one, float) and isinstance(other, float):
        expected = pytest.approx(other, rel=1e-6, abs=1e-12, nan_ok=True)
        assert repr(one) == repr(other) if exactly else one == expected, (where, one, other)
    elif isinstance(one, str) and isinstance(other, str) and one != other and not exactly:
        assert NUMBER.sub("#", one) == NUMBER.sub("#", other), where
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-5, abs=2e-3), where  # 3 decimals
    else:
        assert (type(one), one) == (type(other), other), where
