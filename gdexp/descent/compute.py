"""Compute one job: run the training loop in blocks, from built components to a Result."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

from gdexp.config.capabilities import is_linear
from gdexp.config.job import Job
from gdexp.credentials import scrubbed
from gdexp.descent import generators
from gdexp.descent.best import Best
from gdexp.descent.build import Components
from gdexp.descent.checkpoint import contents
from gdexp.descent.checkpoint_files import Checkpoint
from gdexp.descent.evaluation import coefficients, final_scores
from gdexp.descent.fitted import Fitted
from gdexp.descent.numbers import is_overflow
from gdexp.descent.progress import Progress
from gdexp.descent.result import Result, outcome
from gdexp.descent.stopping import VALIDATION, Rules, best_epoch
from gdexp.descent.trajectory import Trajectory
from gdexp.descent.transcript import Transcript

Keep = Callable[[str, bytes], str]
"""Keeps a checkpoint (name, content); returns the value of continue_from that finds it."""


def begin(job: Job, built: Components, stream: TextIO | None = None) -> tuple[Result, Transcript]:
    """The result and the transcript of a run before its first epoch.

    Args:
        job: the job.
        built: its components.
        stream: also receives the transcript, line by line.
    """
    transcript = new_transcript(job, built, stream)
    with np.errstate(over="ignore"), generators.drawing(job):
        prediction = built.prediction()
    trajectory = new_trajectory(job, built)
    result = Result("interrupted", "", trajectory, "", prediction, transcript.at)
    result.job, result.data = job, built.data
    result.started = time.time()
    return result, transcript


def new_transcript(job: Job, built: Components, stream: TextIO | None = None) -> Transcript:
    """An empty transcript for a job."""
    settings = job.settings
    at = settings["predict_at"] if built.data.fitted.width == 1 else None
    return Transcript(at, settings["iters"], settings["print_every"], stream)


def compute(
    job: Job,
    built: Components,
    result: Result,
    transcript: Transcript,
    *,
    saved: Checkpoint | None = None,
    update: Callable[[Trajectory], None] | None = None,
    keep: Keep | None = None,
    bar: bool = True,
) -> None:
    """Descend and fill in the result; :func:`end` completes it.

    Args:
        job: the job.
        built: its components.
        result: from :func:`begin`.
        transcript: from :func:`begin`.
        saved: the checkpoint to continue.
        update: called with the trajectory about ten times a second.
        keep: keeps a checkpoint.
        bar: whether to show a progress bar.
    """
    result.started = time.time()
    trajectory, iters = result.trajectory, job.settings["iters"]
    rules, every = Rules(job.settings["stop"]), job.settings["checkpoint"]["every"]
    kept = 0  # the epoch of the newest checkpoint
    if (best := Best(built) if rules.restores_best else None) is not None:
        trajectory.measures[VALIDATION] = best
    transcript.prediction("before", result.prediction)
    with generators.drawing(job):
        if saved is not None:
            trajectory.restore(saved.table)
            built.load(saved.state)
            generators.load(job, saved.state.get("generators", {}))
            if best is not None:
                best.resume(trajectory, saved.state.get("best"))
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        with quiet, Progress(iters, wanted=bar) as progress:
            stream = built.iterations(iters, trajectory.length + 1)
            for is_last in _blocks(stream, trajectory, rules, every):
                transcript.epochs(trajectory)
                progress.update(trajectory.length)
                if update is not None:
                    update(trajectory)
                is_due = every and (is_last or trajectory.length % every == 0)
                if keep and is_due and not trajectory.diverged and trajectory.length != kept:
                    result.continue_from = keep(*contents(job, built, trajectory, best))
                    kept = trajectory.length
        judge(result, rules)
        has_fit = result.outcome in ("completed", "converged")
        if has_fit and best is not None:
            _restore(best, result)
        with np.errstate(over="ignore", invalid="ignore"):
            prediction = built.prediction()
            if has_fit:
                result.fitted = Fitted.of(job, built)
        conclude(job, built, result, prediction)
    transcript.end(trajectory, result.prediction)


def end(
    job: Job, result: Result, transcript: Transcript, error: BaseException | None = None
) -> None:
    """Complete the result of a run that has ended.

    Call it within :func:`gdexp.descent.signals.shielded`, so that no signal interrupts it.

    Args:
        job: the job.
        result: from :func:`begin`.
        transcript: from :func:`begin`.
        error: what ended the run early, or None.
    """
    result.seconds = max(0.0, time.time() - result.started)  # the clock may be set back
    result.transcript = transcript.text
    if error is not None:
        reached = f"after epoch {result.trajectory.length} of {job.settings['iters']}"
        if isinstance(error, KeyboardInterrupt):
            result.outcome, result.reason = "interrupted", reached
        else:
            failure = f"{type(error).__name__} {reached}: {scrubbed(str(error))}"
            result.fail(error, failure)


def judge(result: Result, rules: Rules | None = None) -> None:
    """Fill in the outcome and its reason, from the whole trajectory and the stop rules."""
    trajectory = result.trajectory
    stopped = None if trajectory.diverged or rules is None else rules.ended(trajectory)
    result.outcome, result.reason = stopped or outcome(trajectory)


def _restore(best: Best, result: Result) -> None:
    """Give the predictor the parameters of the best epoch, and say so in the reason."""
    if (restored := best.restore(result.trajectory)) is not None:
        note_restored(result, restored)
        return
    epoch = best_epoch(result.trajectory)
    result.reason += f"; the checkpoint lacks the parameters of epoch {epoch}, the last remain"


def note_restored(result: Result, epoch: int) -> None:
    """Record the epoch whose parameters are the final ones, and name it unless it is the last."""
    result.restored = epoch
    if epoch < result.trajectory.length:
        result.reason += f"; the parameters of epoch {epoch} are restored"


def conclude(job: Job, built: Components, result: Result, prediction: float) -> None:
    """Fill in the final parameters, the prediction, the coefficients and the scores.

    Args:
        job: the job.
        built: its components, with the final parameters.
        result: has the whole trajectory and the outcome.
        prediction: f(predict_at) at the final parameters.
    """
    trajectory, row = result.trajectory, result.epoch - 1
    result.prediction = prediction
    result.parameters = {n: float(v[row]) for n, v in trajectory.parameters.items() if len(v)}
    if not trajectory.diverged:
        with np.errstate(over="ignore", invalid="ignore"):  # a note tells what is not finite
            result.coefficients = coefficients(job, built)
            result.scores = final_scores(job, built)


def new_trajectory(job: Job, built: Components) -> Trajectory:
    """The empty trajectory of a run."""
    measures: dict[str, Any] = {}
    if built.kept is not None:
        measures[VALIDATION] = built.kept_loss
    if built.scheduler is not None:
        measures["train/lr"] = lambda: built.lr
    measures |= built.measures
    linear = is_linear(job.settings)
    elements = {"w": built.data.fitted.features} if linear else {}
    return Trajectory(built.predictor.parameters, job.settings["iters"], elements, measures)


def _blocks(
    stream: Iterator[Any], trajectory: Trajectory, rules: Rules, multiple: int | None
) -> Iterator[bool]:
    """Record the stream in blocks of about a tenth of a second, and yield after each.

    Args:
        stream: the iterations.
        trajectory: records them.
        rules: the stop rules, checked after each block.
        multiple: a block ends at every multiple of this many epochs.

    Yields:
        Whether this was the last block.
    """
    size, started = 16, time.perf_counter()
    overflows: list[Exception] = []
    stream = _until_overflow(stream, overflows)
    while True:
        wanted = rules.every or size
        if multiple:
            wanted = min(wanted, multiple - trajectory.length % multiple)
        count = trajectory.extend(itertools.islice(stream, wanted))
        trajectory.diverged |= bool(overflows)
        is_last = count < wanted or trajectory.diverged or rules.ended(trajectory) is not None
        yield is_last
        if is_last:
            return
        now = time.perf_counter()
        size = size * 2 if now - started < 0.05 else max(1, size // 2)
        started = now


def _until_overflow(stream: Iterator[Any], overflows: list[Exception]) -> Iterator[Any]:
    """End the stream where a Python number is too large, as torch's learning rate can be."""
    try:
        yield from stream
    except (OverflowError, RuntimeError) as error:
        if not is_overflow(error):
            raise
        overflows.append(error)
