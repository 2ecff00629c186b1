"""Describing a run for MLflow: its name, params, tags, note, curves, metrics and files.

The only place where a job and its result become a :class:`RunRecord`, for single and vectorized
runs alike. Nothing here touches a store.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gdexp.config import __version__, schema
from gdexp.config.job import Job
from gdexp.data.categories import numbered
from gdexp.data.preparation import Prepared
from gdexp.descent.fitted import FILE, is_rebuildable
from gdexp.descent.numbers import log10_loss, short
from gdexp.descent.result import Result
from gdexp.descent.trajectory import CHECK, Trajectory
from gdexp.errors import cut
from gdexp.tracking import environment
from gdexp.tracking import tags as tag
from gdexp.tracking.config_text import config_text
from gdexp.tracking.curves import curve_epochs, epoch_times, parquet
from gdexp.tracking.dataset_record import dataset_record
from gdexp.tracking.facts import environment_tag
from gdexp.tracking.metric_names import curve_name, metric_name
from gdexp.tracking.plots import drawn
from gdexp.tracking.run_record import Curve, RunRecord

CHECKPOINTS = "checkpoints"  # folder of the checkpoints among the artifacts
LONGEST_NAME = 250
LONGEST_VALUE = 6000
STATUS = {"failed": "FAILED", "interrupted": "KILLED"}


def record(job: Job, result: Result, *, run_id: str | None = None, after: int = 0) -> RunRecord:
    """Describe a run that has ended.

    Args:
        job: the run.
        result: its result.
        run_id: its key, if it is open in the store; the record then adds to it, and would make a
            whole run if the store has lost it.
        after: the last epoch whose points the store already has.
    """
    assert result.data is not None
    rest: dict[str, Any] = {"params": params(job), "dataset": dataset_record(job, result.data)}
    artifacts = files(job, result)
    if job.settings["plots"]:
        pictures, failure = drawn(result)
        artifacts |= pictures
        result = replace(result, notes=result.notes | failure)
    if run_id is not None:
        rest |= {"run_id": run_id, "is_open": True}
    trajectory, started, seconds = result.trajectory, result.started, result.seconds
    end_ms = int((started + seconds) * 1000)
    at = np.array([trajectory.length]), np.array([end_ms])
    final = final_metrics(result).items()
    metrics = (Curve(name, np.array([value], float), *at) for name, value in final)
    return RunRecord(
        name=run_name(job),
        status=STATUS.get(result.outcome, "FINISHED"),
        start_ms=int(started * 1000),
        end_ms=end_ms,
        tags=tags(job) | final_tags(job, result),
        curves=[*curves(job, trajectory, started, seconds, after=after, ended=True), *metrics],
        artifacts=artifacts,
        **rest,
    )


def opening(job: Job, data: Prepared, started: float) -> RunRecord:
    """Describe a run that is under way, with the process that owns it.

    Args:
        job: the run.
        data: the data it is fitted to.
        started: when it started, in seconds since 1970.
    """
    return RunRecord(
        name=run_name(job),
        status="RUNNING",
        start_ms=int(started * 1000),
        params=params(job),
        tags=tags(job) | environment_tag(job, data) | {tag.PROCESS: environment.process()},
        dataset=dataset_record(job, data),
        artifacts={"config.yaml": config_text(job).encode()},
    )


def run_name(job: Job) -> str:
    """MLFLOW_RUN_NAME, else the overrides as typed, with the step if they do not name one."""
    if name := environment.run_name(job.number):
        return cut(name, LONGEST_NAME)
    words = [word for word in job.typed if not word.startswith(("hydra", "tracking"))]
    if not any(word.lstrip("+").startswith("step=") for word in words):
        words.insert(0, f"step={job.choices['step']}")
    return cut(" ".join(words), LONGEST_NAME)


def params(job: Job) -> dict[str, str]:
    """The choices, the run-level settings and every component's settings, flat."""
    texts = {key: schema.shown(value).strip("'") for key, value in job.flat().items()}
    return {key: cut(text, LONGEST_VALUE) for key, text in texts.items()}


def tags(job: Job) -> dict[str, str]:
    """The tags of a run that are known when it starts."""
    texts = {
        tag.KIND: "run",
        tag.OVERRIDES: " ".join(job.typed),
        tag.CONFIG_HASH: job.config_hash,
        **source_tags(),
    }
    if job.sweep_id is not None:
        texts |= {tag.SWEEP: job.sweep_id, tag.JOB: str(job.number)}
    return {key: cut(value, LONGEST_VALUE) for key, value in texts.items()}


def source_tags() -> dict[str, str]:
    """The tags that all runs of this process share."""
    return {
        tag.VERSION: __version__,
        "mlflow.source.name": "gdexp",
        "mlflow.source.type": "LOCAL",
        tag.USER: environment.user(),
        **environment.git(),
    }


def final_tags(job: Job, result: Result) -> dict[str, str]:
    """The outcome, the reason, the note and the environment of a run that has ended."""
    assert result.data is not None
    texts = {
        tag.OUTCOME: result.outcome,
        tag.REASON: result.reason,
        tag.NOTE: note(job, result),
        **environment_tag(job, result.data, result.computed_on),
    }
    if result.data.fitted.classes:
        texts[tag.CLASSES] = numbered(result.data.fitted.classes)
    if result.behaviour:
        texts[tag.BEHAVIOUR] = result.behaviour
    if result.decades:
        texts[tag.DECADES] = " ".join(map(str, result.decades))
    if result.together is not None:
        texts[tag.TOGETHER] = str(result.together)
    return {key: cut(value, LONGEST_VALUE) for key, value in texts.items()}


def note(job: Job, result: Result) -> str:
    """The command and the result in a sentence or two."""
    loss = result.trajectory.loss
    text = f"`{job.command}` {result.outcome}: {result.reason}"
    if len(loss):
        text += f", loss {short(loss[0])} → {short(result.loss)}"
        if _has_prediction(result):
            text += f", f({result.at}) = {short(result.prediction)}"
    return f"{text}. {result.note}".rstrip()


def _has_prediction(result: Result) -> bool:
    """Whether the prediction is one after training, not that before it."""
    return result.outcome not in ("interrupted", "failed")


def final_metrics(result: Result) -> dict[str, float]:
    """The metrics with one value per run, all finite: MLflow cannot store inf.

    Losses and parameters are those of the finite epochs; the prediction is the transcript's last.
    """
    loss = result.trajectory.loss
    if not len(loss):
        return {}
    best = int(loss.argmin())
    values = {
        "final/loss": result.loss,
        "best/loss": float(loss[best]),
        "best/epoch": float(best + 1),
    }
    logarithm = log10_loss(loss[0], values["final/loss"])
    if logarithm is not None:
        values["final/log10_loss"] = logarithm
    if _has_prediction(result) and math.isfinite(result.prediction):
        values["final/prediction"] = result.prediction
    if result.restored is not None:
        values["final/epoch"] = float(result.restored)
    values |= {f"coef/{metric_name(name)}": value for name, value in result.coefficients.items()}
    values |= {f"check/{name}": value for name, value in result.checks.items()}
    values |= {f"forecast/{name}": value for name, value in result.forecast.items()}
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
        after: the last epoch that the store already has.
        ended: whether the run has ended; its last epoch is always kept.
    """
    length = trajectory.length
    epochs = curve_epochs(job.settings["iters"], job.settings["tracking"]["max_points"])
    epochs = epochs[epochs <= length]
    if ended and length and (not len(epochs) or epochs[-1] < length):
        epochs = np.append(epochs, length)
    epochs = epochs[epochs > after]
    times = epoch_times(epochs, started, seconds / max(1, length))
    for name, values in trajectory.columns().items():
        points = values[epochs - 1]
        if name.startswith(CHECK) and not (checked := np.isfinite(points)).all():
            yield Curve(curve_name(name), points[checked], epochs[checked], times[checked])
        else:
            yield Curve(curve_name(name), points, epochs, times)


def files(job: Job, result: Result) -> dict[str, bytes]:
    """The artifacts of a run that has ended; its predictor only if they cannot rebuild it."""
    contents = {
        "config.yaml": config_text(job).encode(),
        "transcript.txt": result.transcript.encode(),
        "trajectory.parquet": parquet(result.trajectory),
    }
    if result.traceback:
        contents["traceback.txt"] = result.traceback.encode(errors="backslashreplace")
    if result.fitted is not None and not is_rebuildable(job.settings):
        contents[FILE] = result.fitted.packed()
    if job.settings["tracking"].get("git_diff") and (diff := environment.uncommitted()):
        contents["uncommitted.diff"] = diff
    return contents
