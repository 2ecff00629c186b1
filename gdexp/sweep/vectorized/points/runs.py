"""From jobs on the tutorial's points to a program of numbers, and the result of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based
from gdexp.descent import predictors
from gdexp.descent.build import Components
from gdexp.descent.compute import conclude, judge, new_transcript
from gdexp.descent.generators import seeded
from gdexp.descent.result import Result
from gdexp.insight import notes
from gdexp.sweep.vectorized.points.program import Program, ProgramResult

SGD = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")


def program_of(jobs: Sequence[Job], built: Components) -> Program:
    """The program of jobs that differ only in numbers.

    Args:
        jobs: the jobs.
        built: the components of one of them.
    """
    first = jobs[0].settings
    by_sgd = capabilities.of(first, "updater", "vectorized") == "SGD"
    return Program(
        x=np.asarray(built.x),
        y=np.asarray(built.y),
        gradient=capabilities.of(first, "gradient", "vectorized"),
        reduction=capabilities.reduction(first, "loss") or "mean",
        torch=is_torch_based(jobs[0]),
        start=_start(jobs),
        lr=np.array([job.settings["updater"]["lr"] for job in jobs], float),
        iters=np.array([job.settings["iters"] for job in jobs]),
        predict_at=np.array([job.settings["predict_at"] for job in jobs], float),
        sgd={k: np.array([job.settings["updater"][k] for job in jobs]) for k in SGD}
        if by_sgd
        else None,
    )


def _start(jobs: Sequence[Job]) -> dict[str, Any]:
    names = ("w", "b") if jobs[0].settings["predictor"].get("bias") else ("w",)
    starts = [_start_of(job, names) for job in jobs]
    return {name: np.array([start[name] for start in starts], float) for name in names}


def _start_of(job: Job, names: tuple[str, ...]) -> dict[str, float]:
    init = job.settings["predictor"].get("init", 0.0)
    if init != "torch":
        return dict.fromkeys(names, float(init))
    from gdexp import pytorch

    with seeded(job):
        return pytorch.initial("b" in names)


def result_of(job: Job, built: Components, computed: ProgramResult, i: int) -> Result:
    """The result that the job would have had alone."""
    names = ("w", "b") if job.settings["predictor"].get("bias") else ("w",)
    predictors.set_parameters(built.predictor, _start_of(job, names))
    trajectory, after = computed.trajectory(i), float(computed.after[i])
    transcript = new_transcript(job, built)
    transcript.prediction("before", before := float(computed.before[i]))
    if computed.interrupted[i]:
        transcript.epochs(trajectory)
        reason = f"after epoch {trajectory.length} of {job.settings['iters']}"
        result = Result("interrupted", reason, trajectory, transcript.text, before, transcript.at)
        result.job, result.data = job, built.data
        notes.before(job, built, result)
        return result
    transcript.end(trajectory, after)
    result = Result("failed", "", trajectory, transcript.text, after, transcript.at)
    result.job, result.data = job, built.data
    notes.before(job, built, result)
    if trajectory.length:
        last = {name: float(values[-1]) for name, values in trajectory.parameters.items()}
        predictors.set_parameters(built.predictor, last)
    judge(result)
    conclude(job, built, result, after)
    notes.diagnose(job, built, result)
    return result
