"""Runs as MLflow's client returns them, and its filter syntax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdexp.errors import StoreError
from gdexp.tracking.run_record import Points, RecordedRun
from gdexp.tracking.sql_query import points_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def recorded_run(run: Run) -> RecordedRun:
    """A run of MLflow's client as plain values."""
    points = run.data._metric_objs  # the public dictionary has no times
    start = run.info.start_time or 0
    return RecordedRun(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name or "",
        status=run.info.status,
        start_ms=start,
        artifact_uri=run.info.artifact_uri or "",
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        heard_ms=max([start, *(point.timestamp for point in points)]),
        epoch=max([0, *(point.step for point in points)]),
    )


def curve(client: MlflowClient, run_id: str, name: str) -> Points:
    """The points of a metric of a run."""
    points = client.get_metric_history(run_id, name)
    ordered = sorted(points, key=lambda point: (point.step, point.timestamp))
    return points_of({point.step: point.value for point in ordered})


def quoted(text: str) -> str:
    """A string quoted for MLflow's filter syntax.

    Raises:
        StoreError: it contains both kinds of quotes, which that syntax cannot express.
    """
    if "'" in text and '"' in text:
        raise StoreError(f"{text!r} contains both kinds of quotes: MLflow cannot search for it.")
    return f'"{text}"' if "'" in text else f"'{text}'"
