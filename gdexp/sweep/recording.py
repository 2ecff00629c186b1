"""Vectorized jobs, described as each would have been recorded alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from mlflow.entities import DatasetInput

from gdexp.descent.build import build
from gdexp.sweep.vectorized.compute import Ended
from gdexp.tracking import describe
from gdexp.tracking.client_store import write_runs
from gdexp.tracking.curves import curve_epochs, epoch_times, parquet
from gdexp.tracking.run_record import Curve, FinishedRun
from gdexp.tracking.store import Store

CHUNK = 2000  # runs between one write and the next; each write touches all of the indexes


def finished_runs(ended: Iterable[Ended]) -> Iterator[FinishedRun]:
    """Each job as a run to write; all are of one data set."""
    dataset: DatasetInput | None = None
    for one in ended:
        if dataset is None:
            dataset = describe.dataset_input(build(one.job).data)
        run = _finished(one, dataset)
        one.result.run_id = run.run_id
        yield run


def _finished(ended: Ended, dataset: DatasetInput) -> FinishedRun:
    job, result = ended.job, ended.result
    tags = describe.tags(job) | {tag.key: tag.value for tag in describe.final_tags(job, result)}
    files = {
        "config.yaml": describe.config_text(job),
        "transcript.txt": result.transcript,
    }
    return FinishedRun(
        name=describe.run_name(job),
        params={param.key: param.value for param in describe.params(job)},
        tags=tags,
        curves=[*_curves(ended), *_summary(ended)],
        dataset=dataset,
        status="FINISHED",
        start_ms=int(ended.started * 1000),
        end_ms=int((ended.started + ended.seconds) * 1000),
        artifacts={name: text.encode() for name, text in files.items()}
        | {"trajectory.parquet": parquet(result.trajectory)},
    )


def _curves(ended: Ended) -> Iterator[Curve]:
    trajectory, settings = ended.result.trajectory, ended.job.settings
    wanted = curve_epochs(settings["iters"], settings["tracking"]["max_points"])
    epochs = np.union1d(wanted[wanted <= trajectory.length], [trajectory.length])
    epochs = epochs[epochs > 0].astype(np.int64)
    pace = ended.seconds / max(1, trajectory.length)
    times = epoch_times(epochs, ended.started, pace)
    for name, values in trajectory.columns().items():
        yield Curve(name, values[epochs - 1], epochs, times)


def _summary(ended: Ended) -> Iterator[Curve]:
    stamp = int((ended.started + ended.seconds) * 1000)
    for name, value in describe.final_metrics(ended.result).items():
        yield Curve.point(name, value, ended.result.trajectory.length, stamp)


def written(store: Store, ended: Iterable[Ended]) -> Iterator[Ended]:
    """Write the jobs some hundreds at a time; each is passed on once it is in the store.

    Raises:
        StoreError: the store refuses.
    """
    stream = iter(ended)
    while chunk := list(itertools.islice(stream, CHUNK)):
        ids = write_runs(store, finished_runs(chunk))
        for one, run_id in zip(chunk, ids, strict=True):
            one.result.run_id = run_id
            yield one
