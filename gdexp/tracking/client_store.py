"""Runs that are over, written to the store the fastest way that it allows."""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mlflow.entities import DatasetInput, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import verify_artifact_path
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import append_to_uri_path, is_local_uri
from sqlalchemy import Engine

from gdexp.descent.signals import shielded
from gdexp.errors import StoreError
from gdexp.tracking import sql_store
from gdexp.tracking.run_record import FinishedRun
from gdexp.tracking.store import Store, hide_password

CHUNK = 200_000  # rows in one transaction: two seconds of SQLite, about 60 MB of memory

logger = logging.getLogger(__name__)


def write_runs(store: Store, runs: Iterable[FinishedRun]) -> list[str]:
    """Write finished runs, whole: a database gets many in one transaction, a server one by one.

    A run that is in a database is there completely, with its artifacts, whatever happens to this
    process. A signal waits for the transaction, or the run, that is being written.

    Args:
        store: the store, as ``connect`` gives it.
        runs: the runs; an iterator is asked for some hundreds at a time, so they need not all be
            in memory.

    Returns:
        The ids, in the order of the runs.

    Raises:
        StoreError: the store refuses. It says how many runs are written; those that follow them
            have left nothing behind.
    """
    engine = _fast(store)
    written: list[str] = []
    for chunk in _chunks(runs, CHUNK if engine else 0):
        try:
            with shielded():
                if engine:
                    written += _write_chunk(store, engine, chunk)
                else:
                    written += [_write_one(store, run) for run in chunk]
        except Exception as error:
            raise StoreError(_failure(store, chunk, len(written), error)) from error
    if engine and written and sql_store.has_outgrown(engine, len(written)):
        try:
            sql_store.analyze(store)
        except StoreError as error:  # the runs are written; only searching them is slower
            logger.info(error)
    return written


def _failure(store: Store, chunk: Sequence[FinishedRun], written: int, error: Exception) -> str:
    count = "A run" if len(chunk) == 1 else f"{len(chunk)} runs"
    where = hide_password(store.uri)
    why = sql_store.reason(error).rstrip(".")
    return f"{count} cannot be written to {where}: {why}. Written before: {written}."


def _fast(store: Store) -> Engine | None:
    """The engine of a database whose rows we know how to write."""
    engine = sql_store.database(store)
    if engine is None or sql_store.is_verified(engine):
        return engine
    logger.info("This MLflow's tables are new to gdexp: it writes run by run, which is slower.")
    return None


def _chunks(runs: Iterable[FinishedRun], rows: int) -> Iterator[list[FinishedRun]]:
    """The runs in order, as many at a time as make that many rows; at least one."""
    chunk: list[FinishedRun] = []
    size = 0
    for run in runs:
        if chunk and size + run.size > rows:
            yield chunk
            chunk, size = [], 0
        chunk.append(run)
        size += run.size
    if chunk:
        yield chunk


def _write_chunk(store: Store, engine: Engine, runs: Sequence[FinishedRun]) -> list[str]:
    experiment = store.client.get_experiment(store.experiment_id)
    if experiment.lifecycle_stage != "active":
        raise StoreError(f"the experiment {store.experiment!r} has been deleted")
    sql_store.check_new(engine, runs)
    location = str(experiment.artifact_location)
    try:
        # Before the transaction: what is in the database has its artifacts.
        _write_artifacts(location, runs)
        sql_store.insert(engine, int(store.experiment_id), location, runs)
    except BaseException:
        with contextlib.suppress(Exception):
            sql_store.check_new(engine, runs)  # a commit may succeed although its answer gets lost
            _remove_artifacts(location, runs)
        raise
    return [run.run_id for run in runs]


def _write_artifacts(location: str, runs: Sequence[FinishedRun]) -> None:
    root = _local(location)
    for run in (run for run in runs if run.artifacts):
        if root:
            _write_files(root / run.run_id / "artifacts", run.artifacts)
        else:
            place = append_to_uri_path(location, run.run_id, "artifacts")
            with _folder_of(run.artifacts) as folder:
                get_artifact_repository(place).log_artifacts(folder)


def _remove_artifacts(location: str, runs: Sequence[FinishedRun]) -> None:
    """Free the disk space; elsewhere files that belong to no run are left."""
    if root := _local(location):
        for run in runs:
            shutil.rmtree(root / run.run_id, ignore_errors=True)


def _local(location: str) -> Path | None:
    here = is_local_uri(location, is_tracking_or_registry_uri=False)
    return Path(local_file_uri_to_path(location)) if here else None


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        verify_artifact_path(name)  # it stays below the folder
        path = folder / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextlib.contextmanager
def _folder_of(files: Mapping[str, bytes]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), files)
        yield folder


def _write_one(store: Store, run: FinishedRun) -> str:
    """Write a run through MLflow's client, which may go to a server."""
    client = store.client
    created = client.create_run(
        store.experiment_id, start_time=run.start_ms, tags=dict(run.tags), run_name=run.name
    )
    run_id: str = created.info.run_id
    try:
        params = [Param(key, value) for key, value in run.params.items()]
        client.log_batch(run_id, metrics=list(_metrics(run)), params=params)
        if run.dataset:
            _log_dataset(store, run_id, run.dataset)
        if run.artifacts:
            with _folder_of(run.artifacts) as folder:
                client.log_artifacts(run_id, folder)
        client.set_terminated(run_id, run.status, run.end_ms)
    except BaseException:
        with contextlib.suppress(Exception):  # it may be the store that has vanished
            client.delete_run(run_id)
        raise
    return run_id


def _metrics(run: FinishedRun) -> Iterator[Metric]:
    for curve in run.curves:
        columns = curve.values.tolist(), curve.timestamps.tolist(), curve.steps.tolist()
        yield from (Metric(curve.name, *point) for point in zip(*columns, strict=True))


def _log_dataset(store: Store, run_id: str, dataset: DatasetInput) -> None:
    try:
        store.client.log_inputs(run_id, [dataset])
    except MlflowException:  # another process has just written the same data set: now it is there
        store.client.log_inputs(run_id, [dataset])
