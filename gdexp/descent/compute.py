"""One job, computed: a loop over the training loop's blocks, from built components to a Result."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

import numpy as np

from gdexp.config.capabilities import is_linear
from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.checkpoint import Saved, contents, restore
from gdexp.descent.evaluation import coefficients, final_scores, metric_names
from gdexp.descent.fitted import Fitted
from gdexp.descent.progress import Progress
from gdexp.descent.result import Result, outcome
from gdexp.descent.stopping import VALIDATION, Rules
from gdexp.descent.trajectory import Trajectory
from gdexp.descent.transcript import Transcript

Keep = Callable[[str, bytes], str]
"""Keeps a checkpoint, by name and content; what continue_from takes to find it again."""


def begin(job: Job, built: Components, stream: TextIO | None = None) -> tuple[Result, Transcript]:
    """The result of a run before its first epoch, and the transcript that goes with it.

    Args:
        job: the run.
        built: its components.
        stream: where the transcript goes as well, line by line.
    """
    transcript = new_transcript(job, built, stream)
    with np.errstate(over="ignore"):
        prediction = built.prediction()
    trajectory = _trajectory(job, built)
    result = Result("interrupted", "", trajectory, "", prediction, transcript.at, data=built.data)
    result.started = time.time()
    return result, transcript


def new_transcript(job: Job, built: Components, stream: TextIO | None = None) -> Transcript:
    """An empty transcript, with the run's settings."""
    settings = job.settings
    at = settings["predict_at"] if built.data.fitted.width == 1 else None
    return Transcript(at, settings["iters"], settings["print_every"], stream)


def compute(
    job: Job,
    built: Components,
    result: Result,
    transcript: Transcript,
    *,
    saved: Saved | None = None,
    update: Callable[[Trajectory], None] | None = None,
    keep: Keep | None = None,
    bar: bool = True,
) -> None:
    """Descend, and fill in the result as far as it is known; :func:`end` completes it.

    Args:
        job: the run.
        built: its components.
        result: of :func:`begin`.
        transcript: of :func:`begin`.
        saved: the checkpoint to continue.
        update: is shown the trajectory about ten times a second.
        keep: keeps a checkpoint.
        bar: whether to show a progress bar.
    """
    result.started = time.time()
    with _random(job, built):
        _descend(job, built, result, transcript, saved, update, keep, bar)


def end(
    job: Job, result: Result, transcript: Transcript, error: BaseException | None = None
) -> None:
    """Complete the result of a run that is over.

    The caller holds the shield, so that no signal leaves a result half filled in.

    Args:
        job: the run.
        result: of :func:`begin`.
        transcript: of :func:`begin`.
        error: what ended the run early, or None.
    """
    result.seconds = max(0.0, time.time() - result.started)  # a clock may be set
    result.transcript = transcript.text
    if error is not None:
        stopped = isinstance(error, KeyboardInterrupt)
        result.outcome = "interrupted" if stopped else "failed"
        reached = f"after epoch {result.trajectory.length} of {job.settings['iters']}"
        result.reason = reached if stopped else f"{type(error).__name__} {reached}: {error}"


def _descend(
    job: Job,
    built: Components,
    result: Result,
    transcript: Transcript,
    saved: Saved | None,
    update: Callable[[Trajectory], None] | None,
    keep: Keep | None,
    bar: bool,
) -> None:
    trajectory, iters = result.trajectory, job.settings["iters"]
    rules, every = Rules(job.settings["stop"]), job.settings["checkpoint"]["every"]
    kept = 0  # the epoch of the newest checkpoint
    transcript.prediction("before", result.prediction)
    if saved is not None:
        restore(saved, built, trajectory)
    with np.errstate(over="ignore", invalid="ignore"), Progress(iters, wanted=bar) as progress:
        stream = built.iterations(iters, trajectory.length + 1)
        for is_last in _blocks(stream, trajectory, rules, every):
            transcript.epochs(trajectory)
            progress.update(trajectory.length)
            if update is not None:
                update(trajectory)
            is_due = every and (is_last or trajectory.length % every == 0)
            if keep and is_due and not trajectory.diverged and trajectory.length != kept:
                result.continue_from = keep(*contents(job, built, trajectory))
                kept = trajectory.length
        prediction = built.prediction()
    conclude(job, built, result, prediction, rules)
    if result.outcome in ("completed", "converged"):
        result.fitted = Fitted.of(job, built)
    transcript.prediction("after", result.prediction)


def conclude(
    job: Job, built: Components, result: Result, prediction: float, rules: Rules | None = None
) -> None:
    """Fill in what follows from the trajectory and the components at their end.

    Args:
        job: the run.
        built: its components, with the parameters after the last update.
        result: to be completed.
        prediction: f(predict_at) after the last update.
        rules: the stop rules; None: there are none.
    """
    trajectory = result.trajectory
    result.prediction = prediction
    result.parameters = {n: float(v[-1]) for n, v in trajectory.parameters.items() if len(v)}
    stopped = None if trajectory.diverged or rules is None else rules.ended(trajectory)
    result.outcome, result.reason = stopped or outcome(trajectory)
    if not trajectory.diverged:
        result.coefficients = coefficients(job, built)
        result.scores = final_scores(job, built)


def _trajectory(job: Job, built: Components) -> Trajectory:
    measures: dict[str, Any] = {}
    if built.kept is not None:
        measures[VALIDATION] = built.kept_loss
    if built.scheduler is not None:
        measures["train/lr"] = lambda: built.lr
    linear = is_linear(job.settings)
    elements = {"w": metric_names(built.data.fitted.features)} if linear else {}
    return Trajectory(built.predictor.parameters, job.settings["iters"], elements, measures)


def _random(job: Job, built: Components) -> AbstractContextManager[None]:
    """Random draws within the predictor, as of a dropout, follow the seed."""
    if not hasattr(built.x, "detach"):
        return nullcontext()
    from gdexp.pytorch import seeded

    return seeded(job.settings["seed"])


def _blocks(
    stream: Iterator[Any], trajectory: Trajectory, rules: Rules, multiple: int | None
) -> Iterator[bool]:
    """Record the stream in blocks of about a tenth of a second, and pause after each.

    Args:
        stream: the iterations.
        trajectory: where they are recorded.
        rules: when to stop; they are checked after each block.
        multiple: a block ends at every multiple of this many epochs.

    Yields:
        Whether this was the last block.
    """
    size, started = 16, time.perf_counter()
    while True:
        wanted = rules.every or size
        if multiple:
            wanted = min(wanted, multiple - trajectory.length % multiple)
        count = trajectory.extend(itertools.islice(stream, wanted))
        is_last = count < wanted or trajectory.diverged or rules.ended(trajectory) is not None
        yield is_last
        if is_last:
            return
        now = time.perf_counter()
        size = size * 2 if now - started < 0.05 else max(1, size // 2)
        started = now
