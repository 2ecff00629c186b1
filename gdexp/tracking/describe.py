"""How a run is described in MLflow: its name, params, tags, note, curves, metrics and files.

The one place where a job and its result become a :class:`RunRecord`, whether the run was computed
alone or with others. Nothing here touches a store.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from gdexp.config import __version__, schema
from gdexp.config.job import Job
from gdexp.data.preparation import Prepared
from gdexp.descent.fitted import FILE, is_rebuildable
from gdexp.descent.result import Result
from gdexp.descent.trajectory import Trajectory
from gdexp.tracking import environment
from gdexp.tracking.curves import curve_epochs, epoch_times, parquet
from gdexp.tracking.run_record import PROCESS, Curve, DatasetRecord, RecordedRun, RunRecord

CHECKPOINTS = "checkpoints"  # the folder among a run's files
LONGEST_NAME = 250
LONGEST_VALUE = 6000
STATUS = {"failed": "FAILED", "interrupted": "KILLED"}
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C where it is built


def record(job: Job, result: Result, *, after: int = 0) -> RunRecord:
    """A run that has ended.

    Args:
        job: what was run.
        result: what came of it.
        after: the last epoch whose points the store has already.
    """
    assert result.data is not None
    end = result.started + result.seconds
    metrics = (
        Curve.point(name, value, result.trajectory.length, int(end * 1000))
        for name, value in final_metrics(result).items()
    )
    ended = (result.started, result.seconds)
    return RunRecord(
        name=run_name(job),
        params=params(job),
        tags=tags(job) | final_tags(job, result),
        curves=[*curves(job, result.trajectory, *ended, after=after, ended=True), *metrics],
        dataset=dataset(result.data),
        status=STATUS.get(result.outcome, "FINISHED"),
        start_ms=int(result.started * 1000),
        end_ms=int(end * 1000),
        artifacts=files(job, result),
    )


def opening(job: Job, data: Prepared, started: float) -> RunRecord:
    """A run that is under way, with the process it belongs to.

    Args:
        job: what is run.
        data: what it is fitted to.
        started: when it started, in seconds since 1970.
    """
    return RunRecord(
        name=run_name(job),
        params=params(job),
        tags=tags(job) | {PROCESS: environment.process()},
        curves=[],
        dataset=dataset(data),
        status="RUNNING",
        start_ms=int(started * 1000),
        end_ms=None,
        artifacts={"config.yaml": config_text(job).encode()},
    )


def addition(
    job: Job,
    run_id: str,
    started: float,
    *,
    curves: Sequence[Curve] = (),
    artifacts: Mapping[str, bytes] | None = None,
) -> RunRecord:
    """What is new of a run that is under way."""
    return RunRecord(
        name=run_name(job),
        params={},
        tags={},
        curves=curves,
        dataset=None,
        status="RUNNING",
        start_ms=int(started * 1000),
        end_ms=None,
        artifacts=artifacts or {},
        run_id=run_id,
        is_open=True,
    )


def run_name(job: Job) -> str:
    """The overrides as typed, the step always among them."""
    words = [word for word in job.typed if not word.startswith(("hydra", "tracking"))]
    if not any(word.lstrip("+").startswith("step=") for word in words):
        words.insert(0, f"step={job.choices['step']}")
    return cut(" ".join(words), LONGEST_NAME)


def params(job: Job) -> dict[str, str]:
    """The choices, the run-level settings and every component's settings, flat."""
    return {key: _shown(value) for key, value in job.flat().items()}


def config_text(job: Job) -> str:
    """The resolved configuration as YAML."""
    return "".join(_yaml(key, json.dumps(value)) for key, value in job.settings.items())


@functools.lru_cache(maxsize=10_000)
def _yaml(key: str, value: str) -> str:
    """One setting as YAML; the runs of a sweep share most of theirs."""
    loaded = {key: json.loads(value)}
    return yaml.dump(loaded, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)


def _shown(value: Any) -> str:
    return cut(schema.shown(value).strip("'"))


def cut(text: str, longest: int = LONGEST_VALUE) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def tags(job: Job) -> dict[str, str]:
    """What is known of a run when it starts."""
    texts = {
        "gdexp.kind": "run",
        "gdexp.overrides": " ".join(job.typed),
        "gdexp.config_hash": job.config_hash,
        **source_tags(),
    }
    if job.sweep_id is not None:
        texts |= {"gdexp.sweep_id": job.sweep_id, "gdexp.job": str(job.number)}
    return {key: cut(value) for key, value in texts.items()}


def source_tags() -> dict[str, str]:
    """What is known of any run of this process."""
    return {
        "gdexp.version": __version__,
        "mlflow.source.name": "gdexp",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": environment.user(),
        **environment.git(),
    }


def final_tags(job: Job, result: Result) -> dict[str, str]:
    """How the run ended, and the note that says it in a sentence."""
    texts = {
        "gdexp.outcome": result.outcome,
        "gdexp.reason": result.reason,
        "mlflow.note.content": note(job, result),
    }
    return {key: cut(value) for key, value in texts.items()}


def note(job: Job, result: Result) -> str:
    """Command and result in a sentence or two."""
    loss = result.trajectory.loss
    text = f"`{job.command}` {result.outcome}: {result.reason}"
    if len(loss):
        text += f", loss {loss[0]:.6g} → {loss[-1]:.6g}, f({result.at}) = {result.prediction:.6g}"
    return f"{text}. {result.note}".rstrip()


def final_metrics(result: Result) -> dict[str, float]:
    """One number each, of the epochs that were finite; never infinite, never NaN."""
    loss = result.trajectory.loss
    if not len(loss):
        return {}
    best = int(loss.argmin())
    values = {
        "final/loss": float(loss[-1]),
        "best/loss": float(loss[best]),
        "best/epoch": float(best + 1),
    }
    if not result.trajectory.diverged and math.isfinite(result.prediction):
        values["final/prediction"] = result.prediction
    values |= {f"coef/{name}": value for name, value in result.coefficients.items()}
    return values | result.scores


def curves(
    job: Job,
    trajectory: Trajectory,
    started: float,
    seconds: float,
    *,
    after: int = 0,
    ended: bool = False,
) -> Iterator[Curve]:
    """The curves of a run, thinned to ``tracking.max_points``.

    Args:
        job: the run.
        trajectory: its epochs.
        started: when the first one began, in seconds since 1970.
        seconds: how long all of them took.
        after: the last epoch that the store has already.
        ended: whether the last epoch is the run's, which is always kept.
    """
    length = trajectory.length
    epochs = curve_epochs(job.settings["iters"], job.settings["tracking"]["max_points"])
    epochs = epochs[epochs <= length]
    if ended and length and (not len(epochs) or epochs[-1] < length):
        epochs = np.append(epochs, length)
    epochs = epochs[epochs > after]
    times = epoch_times(epochs, started, seconds / max(1, length))
    for name, values in trajectory.columns().items():
        yield Curve(name, values[epochs - 1], epochs, times)


def files(job: Job, result: Result) -> dict[str, bytes]:
    """The files of a run that has ended; a predictor that can be rebuilt from them is left out."""
    contents = {
        "config.yaml": config_text(job).encode(),
        "transcript.txt": result.transcript.encode(),
        "trajectory.parquet": parquet(result.trajectory),
    }
    if result.fitted is not None and not is_rebuildable(job.settings):
        contents[FILE] = result.fitted.packed()
    return contents


def dataset(data: Prepared) -> DatasetRecord:
    """The data set with its name, shape and digest, as MLflow's data set of a run."""
    table, shape = data.fitted, [data.rows]
    inputs = shape if table.width == 1 else [data.rows, table.width]
    return DatasetRecord(
        name=table.name,
        digest=data.digest,
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": "gdexp"}}),
        schema=json.dumps({"mlflow_tensorspec": _tensors(inputs, shape)}),
        profile=json.dumps({"features_shape": inputs, "targets_shape": shape}),
    )


def _tensors(inputs: list[int], targets: list[int]) -> dict[str, str]:
    def spec(shape: list[int]) -> str:
        inner = {"dtype": "float64", "shape": [-1, *shape[1:]]}
        return json.dumps([{"type": "tensor", "tensor-spec": inner}])

    return {"features": spec(inputs), "targets": spec(targets)}


def table_row(job: Job, result: Result) -> dict[str, Any]:
    """A run in the table of its sweep; :func:`row_of` reads the same back from the store."""
    last = {name: float(v[-1]) for name, v in result.trajectory.columns().items() if len(v)}
    return {
        "job": job.number,
        "run_id": result.run_id,
        "name": run_name(job),
        "outcome": result.outcome,
        **params(job),
        **last,
        **final_metrics(result),
    }


def row_of(run: RecordedRun) -> dict[str, Any]:
    """A recorded run in the table of its sweep."""
    return {
        "job": int(run.tags["gdexp.job"]),
        "run_id": run.run_id,
        "name": run.name,
        "outcome": run.outcome,
        **run.params,
        **run.metrics,
    }
