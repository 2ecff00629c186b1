"""Whether runs can be stacked: a few epochs of the first of them decide.

``torch.func.vmap`` refuses what depends on the data or draws random numbers; what it accepts may
still keep something from call to call. So the first epochs are computed both ways and compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gdexp.config.capabilities import resolve
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.config.validation import is_torch_based
from gdexp.descent.build import Components, build
from gdexp.descent.fused import SMALLEST
from gdexp.descent.trajectory import Trajectory
from gdexp.descent.trial import OwnError, undisturbed
from gdexp.errors import brief
from gdexp.sweep.vectorized.eligible import group_key, is_of_points
from gdexp.sweep.vectorized.stack import End
from gdexp.sweep.vectorized.stacking import Origin, Stacked

EPOCHS = 3
CLOSE = {"float32": 1e-2, "float64": 1e-6}  # relative: rounding, however much a step enlarges it
PHRASES = {  # what torch says, and in plain words
    "randomness": "it draws random numbers",
    "data-dependent control flow": "what it computes depends on the values of its inputs",
    ".item()": "it turns a tensor into a number",
    "running": "it keeps statistics of its minibatches",
    "in-place": "it changes a tensor in place",
    "inplace": "it changes a tensor in place",
}

_known: dict[Any, str] = {}


def obstacle(jobs: Sequence[Job]) -> str:
    """Why jobs with one group key cannot be computed as one program, or "" if they can.

    Args:
        jobs: jobs that :func:`gdexp.sweep.vectorized.eligible.obstacle` allows.
    """
    job = jobs[0]
    if is_of_points(job):
        return ""
    key = group_key(job), tuple(resolve(job.settings[family]["_target_"]) for family in FAMILIES)
    if key not in _known:
        _known[key] = _tried(job)
    return _known[key]


def _tried(job: Job) -> str:
    if not is_torch_based(job):
        built = build(job)
        large = built.x.size >= SMALLEST
        return "the table is so large that runs take as long together as alone" if large else ""
    families = "predictor", "loss"
    blamed = " and ".join(f"{family}={job.choices[family]}" for family in families)
    try:
        with undisturbed(job):
            alone, module_changes = _alone(job)
            stacked = _stacked(job)
    except (Exception, OwnError) as error:
        return f"{blamed} cannot be vectorized: {_in_words(error)}"
    if module_changes:
        return f"predictor={job.choices['predictor']} cannot be vectorized: it changes itself"
    is_close = np.isclose(alone, stacked, rtol=CLOSE[job.settings["dtype"]], equal_nan=True)
    finite = np.isfinite(alone).all(axis=0)
    if not is_close[:, finite].all():
        return f"{blamed} cannot be vectorized: together, the runs would have other numbers"
    return ""


def _in_words(error: BaseException) -> str:
    text = str(error)
    return next((words for part, words in PHRASES.items() if part in text), brief(error))


def _alone(job: Job) -> tuple[Any, bool]:
    """The first epochs of a run alone, shape (columns, epochs); and whether its module changes."""
    built = build(job)
    trajectory = Trajectory(built.predictor.parameters, EPOCHS)
    before = _state(built)
    trajectory.extend(built.iterations(EPOCHS))
    return _whole(trajectory), before != _state(built)


def _stacked(job: Job) -> Any:
    """The same epochs, computed with a second run."""
    origin = Origin.of(job)
    stacked = Stacked.of([job], [origin]).stack
    double = replace(
        stacked,
        settings=[*stacked.settings] * 2,
        schedules=[*stacked.schedules] * 2,
        table=np.repeat(stacked.table, 2),
        start={name: np.repeat(value, 2, axis=0) for name, value in stacked.start.items()},
        seeds=[*stacked.seeds] * 2,
        stops=[{**stop, "tolerance": None, "patience": None} for stop in stacked.stops] * 2,
        ends=[End(0, EPOCHS), End(1, EPOCHS)],
    )
    computed = double.run()
    trajectory = Trajectory(origin.built.predictor.parameters, EPOCHS)
    columns = len(trajectory.table)
    trajectory.take(computed.tables[1][:columns], int(computed.length[1]), diverged=False)
    return _whole(trajectory)


def _whole(trajectory: Trajectory) -> Any:
    table = np.full((len(trajectory.table), EPOCHS), np.nan)
    table[:, : trajectory.length] = trajectory.table
    return table


def _state(built: Components) -> list[Mapping[str, Any]]:
    """What a module keeps besides its parameters, as far as that can be compared."""
    module = getattr(built.predictor, "module", None)
    if module is None:
        return []
    kept: list[Mapping[str, Any]] = [
        {k: v for k, v in vars(part).items() if isinstance(v, int | float | str)}
        for part in module.modules()
    ]
    return [*kept, {name: value.tolist() for name, value in module.named_buffers()}]
