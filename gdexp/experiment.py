"""One run: from a composed configuration to its outcome, its trajectory and its record."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from gdexp import components, overrides
from gdexp.components import Components
from gdexp.compose import Composer, session
from gdexp.data import Dataset
from gdexp.descent import descend
from gdexp.errors import Interrupted
from gdexp.job import Job
from gdexp.progress import Progress
from gdexp.trajectory import Trajectory
from gdexp.transcript import Transcript

if TYPE_CHECKING:
    from gdexp.tracking.record import Record

GREW = 10.0  # a run that ends at this many times its first loss has diverged


@dataclass
class Result:
    """How a run ended.

    Attributes:
        outcome: completed, diverged, interrupted or failed.
        reason: the outcome in a sentence.
        trajectory: every iteration, as arrays.
        transcript: the run in the tutorial's lines.
        prediction: f(predict_at) after the last update.
        parameters: the parameters after the last update.
        run_id: the run in MLflow; None where tracking is off.
        note: what a reader should know about this combination of choices, or "".
    """

    outcome: str
    reason: str
    trajectory: Trajectory
    transcript: str
    prediction: float
    parameters: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    note: str = ""


def prepare(job: Job) -> None:
    """Refuse what cannot run, before anything is created.

    Raises:
        ConfigError: a setting is out of range, or a constructor refuses it.
        StoreError: the tracking store cannot be used.
    """
    components.check(job)
    components.build(job)
    if job.settings["tracking"]["enabled"]:
        from gdexp.tracking.store import connect

        connect(job.settings["tracking"])


def run(job: Job, stream: TextIO | None = None) -> Result:
    """Build, descend and record one run.

    Args:
        job: what to run.
        stream: where the transcript goes, line by line; None: into the result alone.

    Raises:
        ConfigError: a setting is out of range, or a constructor refuses it.
        StoreError: the tracking store cannot be used.
        Interrupted: Ctrl-C or SIGTERM arrived; the record is closed as KILLED.
    """
    components.check(job)
    built = components.build(job)
    at, iters, every = (job.settings[key] for key in ("predict_at", "iters", "print_every"))
    trajectory = Trajectory(built.predictor.parameters, iters)
    transcript = Transcript(at, iters, every, stream)
    with np.errstate(over="ignore"):
        result = Result("failed", "", trajectory, "", built.prediction())
    result.note = note(job, built.factor())
    record = _open(job, built.dataset)
    try:
        _descend(built, iters, result, transcript, record)
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        result.outcome = "interrupted" if stopped else "failed"
        reached = f"after epoch {trajectory.length} of {iters}"
        result.reason = reached if stopped else f"{type(error).__name__} {reached}: {error}"
        raise
    finally:
        result.transcript = transcript.text
        if record is not None:
            result.run_id = record.run_id
            record.close(result)
    return result


def run_overrides(typed: list[str], config_dir: str | None = None) -> Result:
    """Compose, check and run these overrides; see :func:`gdexp.run`."""
    with session():
        composer = Composer(config_dir)
        try:
            job = Job.of(composer.compose(typed), typed)
        except Exception:
            overrides.check(typed, composer, multirun=False)
            raise
        if overrides.leave_doubt(job):
            overrides.check(typed, composer, multirun=False)
    return run(job)


def _open(job: Job, dataset: Dataset) -> Record | None:
    if not job.settings["tracking"]["enabled"]:
        return None
    from gdexp.tracking.store import connect

    store = connect(job.settings["tracking"])
    from gdexp.tracking.record import open_record  # imports MLflow, so the store is checked first

    return open_record(store, job, dataset)


def _descend(
    built: Components, iters: int, result: Result, transcript: Transcript, record: Record | None
) -> None:
    trajectory = result.trajectory
    transcript.prediction("before", result.prediction)
    with np.errstate(over="ignore", invalid="ignore"), Progress(iters) as progress:
        families = built.predictor, built.gradient, built.loss, built.updater
        for _ in _blocks(descend(built.x, built.y, *families, iters=iters), trajectory):
            transcript.epochs(trajectory)
            progress.update(trajectory.length)
            if record is not None:
                record.update(trajectory)
        result.prediction = built.prediction()
    result.parameters = {n: float(v[-1]) for n, v in trajectory.parameters.items() if len(v)}
    result.outcome, result.reason = outcome(trajectory)
    transcript.prediction("after", result.prediction)


def _blocks(stream: Iterator[Any], trajectory: Trajectory) -> Iterator[None]:
    """Record the stream in blocks of about a tenth of a second, and pause after each."""
    size, started = 16, time.perf_counter()
    while trajectory.extend(itertools.islice(stream, size)) == size and not trajectory.diverged:
        yield
        now = time.perf_counter()
        size = size * 2 if now - started < 0.05 else max(1, size // 2)
        started = now
    yield


def outcome(trajectory: Trajectory) -> tuple[str, str]:
    """How a run that was not stopped has ended, and why."""
    loss, epochs = trajectory.loss, trajectory.length
    if trajectory.diverged:
        return "diverged", f"a value was not finite in epoch {epochs + 1}"
    if loss[-1] > GREW * loss[0]:
        return "diverged", f"the loss grew from {loss[0]:.6g} to {loss[-1]:.6g}"
    return "completed", f"{epochs} epochs"


def note(job: Job, factor: float) -> str:
    """The sentence owed where the gradient source is so many times the derivative of the loss."""
    if factor == 1:
        return ""
    lr, right = job.settings["lr"], "manual" if factor > 1 else "manual_sum"
    return (
        f"gradient={job.choices['gradient']} is {factor:g} times the derivative of the loss, so "
        f"lr={lr:g} acts like lr={lr * factor:g}; gradient={right} gives the derivative."
    )
