"""Whether runs can be stacked: a few epochs of two of them decide.

``torch.func.vmap`` refuses what depends on the data or draws random numbers; what it accepts may
still keep something from call to call. So the first epochs are computed both ways and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gdexp.config.capabilities import resolve
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.config.validation import is_torch_based
from gdexp.descent.build import build
from gdexp.descent.fused import SMALLEST
from gdexp.descent.generators import states
from gdexp.descent.trajectory import Trajectory
from gdexp.descent.trial import undisturbed
from gdexp.errors import brief
from gdexp.sweep.vectorized.eligible import group_key, is_of_points
from gdexp.sweep.vectorized.stacks.runs import Origin, Stacked
from gdexp.sweep.vectorized.stacks.shared_state import shared_state
from gdexp.sweep.vectorized.stacks.stack import End

EPOCHS = 3
CLOSE = {"float32": 1e-2, "float64": 1e-6}  # relative: rounding, however much a step enlarges it
CHANGES = "it keeps something from one call to the next"
DRAWS = "it draws random numbers"
PHRASES = {  # what torch says, and in plain words
    "randomness": DRAWS,
    "aten::rrelu": DRAWS,
    "data-dependent control flow": "what it computes depends on the values of its inputs",
    "dynamic shape": "the shape of what it computes depends on the values of its inputs",
    ".item()": "it turns a tensor into a number",
    "accessing `data`": "it takes the numbers out of a tensor",
    "data pointer": "it takes the numbers out of a tensor",
    "running": "it keeps statistics of its minibatches",
    "in-place": "it changes a tensor in place",
    "inplace": "it changes a tensor in place",
    "setup_context": "its autograd.Function has no setup_context",
    "generate_vmap_rule": "its autograd.Function has no rule for vmap",
    "requires_grad_()": "it computes gradients itself",
    "backward() called": "it computes gradients itself",
    "does not require grad": "it computes gradients itself",
    "may have escaped": "it hands on tensors otherwise than by returning them",
    "Jitted": "it is compiled by torch.jit",
    "atching rule": "torch.func.vmap has no rule for one of its operations",
    "support batching": "torch.func.vmap has no rule for one of its operations",
    "not yet support": "torch.func.vmap has no rule for one of its operations",
}

_passed: set[Any] = set()  # a refusal may be due to the numbers of its jobs: others are tried


def obstacle(jobs: Sequence[Job]) -> str:
    """Why jobs with one group key cannot be computed as one program, or "" if they can.

    Args:
        jobs: jobs that :func:`gdexp.sweep.vectorized.eligible.obstacle` allows.
    """
    if is_of_points(jobs[0]):
        return ""
    pair = _pair(jobs)
    classes = tuple(resolve(pair[0].settings[family]["_target_"]) for family in FAMILIES)
    key = group_key(pair[0]), _rows_key(pair[0]) == _rows_key(pair[1]), classes
    if key in _passed or (reason := _tried(pair)) == "":
        _passed.add(key)
        return ""
    return reason


def _pair(jobs: Sequence[Job]) -> tuple[Job, Job]:
    """The job of the smallest steps, and that of the smallest with other rows, if there is one.

    Rows that differ have an axis of the curves, and a module may be refused only because of it.
    """
    first, *others = sorted(jobs, key=lambda job: abs(job.settings["lr"]))
    others = [job for job in others if _rows_key(job) != _rows_key(first)]
    same_data = [job for job in others if job.settings["data"] == first.settings["data"]]
    return first, next(iter([*same_data, *others]), first)


def _rows_key(job: Job) -> Any:
    return job.settings["seed"], job.settings["data"]


def _tried(pair: tuple[Job, Job]) -> str:
    job = pair[0]
    if not is_torch_based(job):
        built = build(job)
        large = built.x.size >= SMALLEST
        return "the table is so large that runs take as long together as alone" if large else ""
    blamed = f"{_blamed(job)} cannot be vectorized"
    try:
        with undisturbed(job):
            origins = [Origin.of(one) for one in pair]
            if origins[0].shape != origins[1].shape:
                pair, origins = (job, job), [origins[0]] * 2
            epochs = min(EPOCHS, *(one.settings["iters"] for one in pair))
            alone = [_alone(one, epochs) for one in pair]
            stacked = list(_stacked(pair, origins, epochs))
            if origins[0].state != shared_state(origins[0].built):
                return f"{blamed}: {CHANGES}"
    except Exception as error:
        return f"{blamed}: {_in_words(error)}"
    if change := next((one for one in alone if isinstance(one, str)), ""):
        return f"{blamed}: {change}"
    close = CLOSE[job.settings["dtype"]]
    for one, other in zip(alone, stacked, strict=True):
        finite = np.isfinite(one).all(axis=0)
        if not np.isclose(one, other, rtol=close, equal_nan=True)[:, finite].all():
            return f"{blamed}: together, the runs would have other numbers"
    return ""


def _blamed(job: Job) -> str:
    """The user's own components; if there are none, the predictor and the loss."""
    families = [*FAMILIES, "scheduler"]
    targets = {family: str(job.settings[family]["_target_"] or "gdexp.") for family in families}
    own = [family for family in families if not targets[family].startswith(("gdexp.", "torch."))]
    return " and ".join(f"{one}={job.choices[one]}" for one in own or ("predictor", "loss"))


def _in_words(error: Exception) -> str:
    text = str(error)
    if isinstance(error, KeyError):
        return f"it has no {text}"
    return next((words for part, words in PHRASES.items() if part in text), brief(error))


def _alone(job: Job, epochs: int) -> Any:
    """The first epochs of a run alone, (columns, epochs), or what its components do meanwhile."""
    built = build(job)
    trajectory = Trajectory(built.predictor.parameters, epochs)
    before, drawn = shared_state(built), states(job)
    trajectory.extend(built.iterations(epochs))
    if states(job) != drawn:
        return DRAWS
    return _whole(trajectory, epochs) if shared_state(built) == before else CHANGES


def _stacked(pair: tuple[Job, Job], origins: Sequence[Origin], epochs: int) -> Iterator[Any]:
    """The same epochs of both runs, computed together."""
    stack = Stacked.of(pair, origins).stack
    twice = 2 // len(stack.settings)  # runs with the same settings are one curve, made two
    stack = replace(
        stack,
        settings=[*stack.settings] * twice,
        schedules=[*stack.schedules] * twice,
        table=np.tile(stack.table, twice),
        start={name: np.tile(v, (twice, *[1] * (v.ndim - 1))) for name, v in stack.start.items()},
        seeds=[*stack.seeds] * twice,
        stops=[{**stop, "tolerance": None, "patience": None} for stop in stack.stops] * twice,
        ends=[End(0, epochs), End(1, epochs)],
    )
    computed = stack.run()
    for run, origin in enumerate(origins):
        trajectory = Trajectory(origin.built.predictor.parameters, epochs)
        columns = len(trajectory.table)
        trajectory.take(computed.tables[run][:columns], int(computed.length[run]), diverged=False)
        yield _whole(trajectory, epochs)


def _whole(trajectory: Trajectory, epochs: int) -> Any:
    table = np.full((len(trajectory.table), epochs), np.nan)
    table[:, : trajectory.length] = trajectory.table
    return table
