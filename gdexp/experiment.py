"""One run: from a composed configuration to its outcome, its trajectory and its record."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from gdexp.config import validation
from gdexp.config.capabilities import is_linear
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import Components, build
from gdexp.descent.checkpoint import Checkpoints, Saved, read, restore
from gdexp.descent.evaluation import coefficients, final_scores, metric_names
from gdexp.descent.progress import Progress
from gdexp.descent.stopping import VALIDATION, Rules
from gdexp.descent.trajectory import Trajectory
from gdexp.descent.transcript import Transcript
from gdexp.errors import Interrupted
from gdexp.insight import gradient_check

if TYPE_CHECKING:
    from gdexp.tracking.live import Record

GREW = 10.0  # a run that ends at this many times its first loss has diverged


@dataclass
class Result:
    """How a run ended.

    Attributes:
        outcome: completed, converged, diverged, interrupted or failed.
        reason: the outcome in a sentence.
        trajectory: every iteration, as arrays.
        transcript: the run in the tutorial's lines.
        prediction: f(predict_at) after the last update.
        at: where that is, as printed.
        parameters: the parameters after the last update, as the trajectory names them.
        coefficients: of a linear predictor, by feature and in the data's own units.
        scores: mean absolute error and R², or the accuracy, by metric name.
        run_id: the run in MLflow; None where tracking is off.
        continue_from: where its newest checkpoint is, as one types it; None where it wrote none.
        note: what a reader should know about this combination of choices, or "".
    """

    outcome: str
    reason: str
    trajectory: Trajectory
    transcript: str
    prediction: float
    at: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    coefficients: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    continue_from: str | None = None
    note: str = ""


def prepare(job: Job) -> None:
    """Refuse what cannot run, before anything is created.

    Raises:
        ConfigError: a setting is out of range, or a constructor refuses it.
        StoreError: the tracking store cannot be used.
    """
    validation.check(job)
    built = build(job)
    if job.settings["tracking"]["enabled"]:
        from gdexp.tracking.store import connect

        connect(job.settings["tracking"])
    read(job, built)


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
    validation.check(job)
    built = build(job)
    saved = read(job, built)
    iters, every = job.settings["iters"], job.settings["print_every"]
    trajectory = _trajectory(job, built)
    at = job.settings["predict_at"] if built.data.fitted.width == 1 else None
    transcript = Transcript(at, iters, every, stream)
    with np.errstate(over="ignore"):
        result = Result("failed", "", trajectory, "", built.prediction(), transcript.at)
    result.note = gradient_check.warning(job, gradient_check.multiple(job, built))
    record = _open(job, built)
    try:
        with _random(job, built):
            _descend(job, built, saved, result, transcript, record)
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
            record.close(result, built)
    return result


def run_overrides(typed: list[str], config_dir: str | None = None) -> Result:
    """Compose, check and run these overrides; see :func:`gdexp.run`."""
    with session():
        composer = Composer(config_dir)
        try:
            job = Job.of(composer.compose(typed), typed)
        except Exception:
            _explain(typed, composer)
            raise
        if validation.leave_doubt(job):
            _explain(typed, composer)
    return run(job)


def _explain(typed: list[str], composer: Composer) -> None:
    from gdexp import preflight  # knows all of a sweep, which a run in order need not load

    preflight.check(typed, composer, multirun=False)


def _trajectory(job: Job, built: Components) -> Trajectory:
    measures: dict[str, Any] = {}
    if built.kept is not None:
        measures[VALIDATION] = built.kept_loss
    if built.scheduler is not None:
        measures["train/lr"] = lambda: built.lr
    names = metric_names(built.data.fitted.features)
    elements = {"w": names} if is_linear(job.settings) else {}
    return Trajectory(built.predictor.parameters, job.settings["iters"], elements, measures)


def _random(job: Job, built: Components) -> Any:
    """Random draws within the predictor, as of a dropout, follow the seed."""
    if not hasattr(built.x, "detach"):
        return nullcontext()
    from gdexp.pytorch import seeded

    return seeded(job.settings["seed"])


def _open(job: Job, built: Components) -> Record | None:
    if not job.settings["tracking"]["enabled"]:
        return None
    from gdexp.tracking.store import connect

    store = connect(job.settings["tracking"])
    from gdexp.tracking.live import open_record  # imports MLflow, so the store is checked first

    return open_record(store, job, built.data)


def _descend(
    job: Job,
    built: Components,
    saved: Saved | None,
    result: Result,
    transcript: Transcript,
    record: Record | None,
) -> None:
    trajectory, iters = result.trajectory, job.settings["iters"]
    rules, every = Rules(job.settings["stop"]), job.settings["checkpoint"]["every"]
    checkpoints = Checkpoints(job, built, record)
    transcript.prediction("before", result.prediction)
    if saved is not None:
        restore(saved, built, trajectory)
    with np.errstate(over="ignore", invalid="ignore"), Progress(iters) as progress:
        stream = built.iterations(iters, trajectory.length + 1)
        for ended in _blocks(stream, trajectory, rules, every):
            transcript.epochs(trajectory)
            progress.update(trajectory.length)
            if record is not None:
                record.update(trajectory)
            if every and not trajectory.diverged and (ended or trajectory.length % every == 0):
                result.continue_from = checkpoints.write(trajectory)
        result.prediction = built.prediction()
    result.parameters = {n: float(v[-1]) for n, v in trajectory.parameters.items() if len(v)}
    stopped = None if trajectory.diverged else rules.ended(trajectory)
    result.outcome, result.reason = stopped or outcome(trajectory)
    if not trajectory.diverged:
        result.coefficients = coefficients(job, built)
        result.scores = final_scores(job, built)
    transcript.prediction("after", result.prediction)


def _blocks(
    stream: Iterator[Any], trajectory: Trajectory, rules: Rules, multiple: int | None
) -> Iterator[bool]:
    """Record the stream in blocks of about a tenth of a second, and pause after each.

    Args:
        stream: the iterations.
        trajectory: where they are recorded.
        rules: when to stop; they are looked at after each block.
        multiple: a block ends at every multiple of so many epochs.

    Yields:
        Whether this was the last block.
    """
    size, started = 16, time.perf_counter()
    while True:
        wanted = rules.every or size
        if multiple:
            wanted = min(wanted, multiple - trajectory.length % multiple)
        count = trajectory.extend(itertools.islice(stream, wanted))
        ended = count < wanted or trajectory.diverged or rules.ended(trajectory) is not None
        yield ended
        if ended:
            return
        now = time.perf_counter()
        size = size * 2 if now - started < 0.05 else max(1, size // 2)
        started = now


def outcome(trajectory: Trajectory) -> tuple[str, str]:
    """How a run that was not stopped has ended, and why."""
    loss, epochs = trajectory.loss, trajectory.length
    if trajectory.diverged:
        return "diverged", f"a value was not finite in epoch {epochs + 1}"
    if loss[-1] > GREW * loss[0]:
        return "diverged", f"the loss grew from {loss[0]:.6g} to {loss[-1]:.6g}"
    return "completed", f"{epochs} epochs"
