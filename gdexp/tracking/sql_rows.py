"""The table rows of run records, equal to those that MLflow's client writes.

See ``create_run``, ``log_batch`` and ``set_terminated`` in MLflow's sqlalchemy_store.py; a test
compares every row with the client's.
"""

from __future__ import annotations

import functools
import operator
import posixpath
import re
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np

from gdexp.tracking.run_record import DatasetRecord, RunRecord
from gdexp.tracking.tags import USER

LARGEST = np.finfo(np.float64).max  # what MLflow stores for infinity
LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 8000  # characters, MLflow's limits

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
_KEY = re.compile(r"[/\w.\- :]*")


def rows_of(
    records: Sequence[RunRecord], experiment: int, location: str, *, additions: bool = False
) -> Rows:
    """The rows of each table except those of data sets, in the order the foreign keys require.

    Args:
        records: the runs, and additions to runs.
        experiment: the id of their experiment.
        location: where it stores artifacts.
        additions: whether additions, too, get a row for their run: it may be missing.

    Raises:
        ValueError: MLflow does not allow a key.
    """
    metrics, latest = _metrics(records)
    return {
        "runs": [
            _run(run, experiment, location) for run in records if additions or not run.is_open
        ],
        "tags": list(chain.from_iterable(map(_tags, records))),
        "params": [
            (_checked(key), value[:LONGEST_PARAM], run.run_id)
            for run in records
            for key, value in run.params.items()
        ],
        "metrics": metrics,
        "latest_metrics": latest,
    }


def dataset_row(dataset: DatasetRecord, experiment: int) -> Row:
    """The row of a data set."""
    d = dataset
    return (uuid4().hex, experiment, d.name, d.digest, d.source_type, d.source, d.schema, d.profile)


def artifact_uri(location: str, run_id: str) -> str:
    """Where a run's files are, below its experiment's location: a URI, or a path.

    >>> artifact_uri("s3://bucket/a?region=b", "1"), artifact_uri("what?/a", "1")
    ('s3://bucket/a/1/artifacts?region=b', 'what?/a/1/artifacts')
    """
    is_uri = bool(urlsplit(location).scheme)
    base, query, options = location.partition("?") if is_uri else (location, "", "")
    return posixpath.join(base, run_id, "artifacts") + query + options


def _run(run: RunRecord, experiment: int, location: str) -> Row:
    user = run.tags.get(USER, "unknown")
    life = (run.status, run.start_ms, run.end_ms, None, "", "active")
    place = artifact_uri(location, run.run_id)
    return (run.run_id, run.name, "UNKNOWN", "", "", user, *life, place, experiment)


def _tags(run: RunRecord) -> Iterable[Row]:
    tags = run.tags if run.is_open else {**run.tags, "mlflow.runName": run.name}
    return [(_checked(key), value[:LONGEST_TAG], run.run_id) for key, value in tags.items()]


@functools.lru_cache(4096)
def _checked(key: str) -> str:
    """The key, if MLflow allows it.

    Raises:
        ValueError: it is too long, has other characters, or is not a normalised relative path.
    """
    is_path = key == posixpath.normpath(key) != "." and not key.startswith(("..", "/"))
    if len(key) > LONGEST_KEY or not (_KEY.fullmatch(key) and is_path):
        raise ValueError(
            f"MLflow does not allow the key {key[:60]!r}: a key has at most {LONGEST_KEY} letters, "
            "digits, spaces and _ - . : /"
        )
    return key


def _metrics(records: Sequence[RunRecord]) -> tuple[list[Row], list[Row]]:
    """The rows of all points, and of the most recent point of each metric.

    Sorted by name, the inserts go to neighbouring index pages, like those of runs sorted by id.
    """
    by_name = operator.attrgetter("name")
    curves = [(r, c) for r in records for c in sorted(r.curves, key=by_name) if len(c.values)]
    if not curves:
        return [], []
    lengths = [len(curve.values) for _, curve in curves]
    values = np.concatenate([curve.values for _, curve in curves], dtype=np.float64)
    stamps = np.concatenate([curve.timestamps for _, curve in curves], dtype=np.int64)
    steps = np.concatenate([curve.steps for _, curve in curves], dtype=np.int64)
    nan = np.isnan(values)
    columns = (
        chain.from_iterable(map(repeat, (_checked(c.name) for _, c in curves), lengths)),
        np.clip(np.where(nan, 0.0, values), -LARGEST, LARGEST).tolist(),
        stamps.tolist(),
        chain.from_iterable(map(repeat, (run.run_id for run, _ in curves), lengths)),
        steps.tolist(),
        nan.tolist(),
    )
    rows = list(zip(*columns, strict=True))
    latest: dict[tuple[str, str], Row] = {}
    ends = np.cumsum(lengths)
    rises = np.cumsum(np.diff(steps, prepend=steps[0]) > 0)  # of the steps, up to each point
    are_rising = (rises[ends - 1] - rises[ends - lengths] == np.subtract(lengths, 1)).tolist()
    parts = zip(curves, ends.tolist(), lengths, are_rising, strict=True)
    for (run, curve), end, length, is_rising in parts:
        newest = rows[end - 1] if is_rising else max(rows[end - length : end], key=RECENCY)
        known = latest.setdefault((run.run_id, curve.name), newest)
        if RECENCY(newest) > RECENCY(known):
            latest[run.run_id, curve.name] = newest
    keys = dict.fromkeys((r.run_id, c.name) for r in records for c in r.curves if len(c.values))
    return rows, [latest[key] for key in keys]  # MLflow shows a run's metrics in this order
