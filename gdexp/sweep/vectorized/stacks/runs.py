"""From jobs to a stack of their runs, and the result of each."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based
from gdexp.descent import predictors
from gdexp.descent.build import Components, build
from gdexp.descent.compute import begin, conclude, judge, note_restored
from gdexp.descent.fitted import Fitted
from gdexp.descent.instantiation import option
from gdexp.descent.result import Result
from gdexp.descent.stopping import Rules, best_epoch
from gdexp.insight import notes
from gdexp.sweep.vectorized.eligible import curve_key
from gdexp.sweep.vectorized.stacks.shared_state import shared_state
from gdexp.sweep.vectorized.stacks.stack import End, Stack, StackResult, Table, scheduled

BUILT = ("data", "predictor", "gradient", "loss", "seed", "dtype", "device")
"""The settings from which what runs share is built; their start, their rows."""


class Origin(NamedTuple):
    """What runs with the same settings but for numbers start from.

    Attributes:
        built: their components; the parameters change from run to run.
        start: the start values of the parameters, by name.
        state: see :func:`gdexp.sweep.vectorized.stacks.shared_state.shared_state`.
    """

    built: Components
    start: dict[str, NDArray[np.float64]]
    state: bytes

    @classmethod
    def of(cls, job: Job) -> Origin:
        """The components of a job, at their start."""
        built = build(job)
        named = built.predictor.parameters.items()
        start = {name: predictors.to_numpy(v).astype(np.float64) for name, v in named}
        return cls(built, start, shared_state(built))

    @property
    def shape(self) -> Any:
        """What must be equal in one stack."""
        built, shapes = self.built, {name: value.shape for name, value in self.start.items()}
        rows = tuple(built.x.shape), built.kept and tuple(built.kept[0].shape)
        return tuple(shapes.items()), rows, built.data.fitted.features, self.state


@dataclass
class Stacked:
    """Jobs, the stack of their runs, and what each of them starts from.

    Attributes:
        jobs: the jobs.
        stack: their runs, in this order.
        origins: the origin of each job.
    """

    jobs: Sequence[Job]
    stack: Stack
    origins: Sequence[Origin]

    @classmethod
    def of(cls, jobs: Sequence[Job], origins: Sequence[Origin]) -> Stacked:
        """Stack jobs whose origins have one shape."""
        curves: dict[str, int] = {}
        firsts: list[tuple[Job, Origin]] = []
        ends = []
        for job, origin in zip(jobs, origins, strict=True):
            curve = curves.setdefault(curve_key(job), len(curves))
            if curve == len(firsts):
                firsts.append((job, origin))
            ends.append(End(curve, job.settings["iters"]))
        return cls(jobs, _stack(firsts, ends), origins)


def key_of(job: Job) -> str:
    """What the origin of a job depends on."""
    return json.dumps([job.settings[name] for name in BUILT], sort_keys=True)


def _stack(curves: Sequence[tuple[Job, Origin]], ends: Sequence[End]) -> Stack:
    """The stack of these curves."""
    jobs = [job for job, _ in curves]
    origins = list({id(origin): origin for _, origin in curves}.values())
    row = {id(origin): i for i, origin in enumerate(origins)}
    tables: dict[int, int] = {}  # by the identity of their rows, which equal settings share
    for origin in origins:
        tables.setdefault(id(origin.built.x), len(tables))
    shown = {tables[id(origin.built.x)]: origin for origin in reversed(origins)}
    built, settings = origins[0].built, jobs[0].settings
    of = np.array([row[id(origin)] for _, origin in curves])
    return Stack(
        predictor=copy.deepcopy(built.predictor),
        gradient=built.gradient,
        loss=built.loss,
        updater=capabilities.of(settings, "updater", "vectorized"),
        settings=[_plain(job.settings["updater"]) for job in jobs],
        schedules=_schedules(jobs),
        tables=[_table(shown[i].built) for i in range(len(shown))],
        table=np.array([tables[id(origin.built.x)] for origin in origins])[of],
        start={name: np.stack([o.start[name] for o in origins])[of] for name in origins[0].start},
        seeds=[job.settings["seed"] for job in jobs],
        batch_size=built.batch_size,
        stops=[job.settings["stop"] for job in jobs],
        ends=ends,
        torch=is_torch_based(jobs[0]),
        device=str(getattr(built.x, "device", "cpu")),
    )


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if not name.startswith("_")}


def _schedules(jobs: Sequence[Job]) -> list[Any]:
    if jobs[0].settings["scheduler"]["_target_"] is None:
        return []
    keys = [json.dumps(job.settings["scheduler"], sort_keys=True) for job in jobs]
    distinct = dict(zip(keys, jobs, strict=True))
    made = {key: option(job, "scheduler") for key, job in distinct.items()}
    return [made[key] for key in keys]


def _table(built: Components) -> Table:
    x, y = predictors.to_numpy(built.x), predictors.to_numpy(built.y)
    kept = built.kept and (predictors.to_numpy(built.kept[0]), predictors.to_numpy(built.kept[1]))
    return Table(x, y, kept)


def result_of(stacked: Stacked, computed: StackResult, i: int) -> Result:
    """The result of run i, as it would have it alone."""
    job, origin = stacked.jobs[i], stacked.origins[i]
    built = _at(job, origin.built)
    predictors.overwrite(built.predictor, origin.start)
    result, transcript = begin(job, built)
    notes.before(job, built, result)
    transcript.prediction("before", result.prediction)
    trajectory = result.trajectory
    computed.fill(trajectory, i)
    if computed.interrupted[i]:
        transcript.epochs(trajectory)
        result.reason = f"after epoch {trajectory.length} of {job.settings['iters']}"
        result.transcript = transcript.text
        return result
    rules = Rules(job.settings["stop"])
    judge(result, rules)
    has_fit = result.outcome in ("completed", "converged")
    final = computed.final[i]
    if has_fit and rules.restores_best and computed.best is not None:
        final = computed.best[i]
        note_restored(result, best_epoch(trajectory))
    predictors.overwrite(built.predictor, computed.parameters(final))
    if built.scheduler is not None and trajectory.length:
        built.lr = float(trajectory.columns()["train/lr"][-1])
    with np.errstate(over="ignore", invalid="ignore"):
        prediction = built.prediction()
    conclude(job, built, result, prediction)
    if has_fit:
        fitted = Fitted.of(job, built)
        result.fitted = replace(fitted, state=copy.deepcopy(fitted.state))
    transcript.end(trajectory, prediction)
    result.transcript = transcript.text
    notes.diagnose(job, built, result)
    return result


def _at(job: Job, built: Components) -> Components:
    """The components with what the run has of its own: where f(x) is printed, its schedule."""
    at = predictors.cast(built.data.at(job.settings["predict_at"]), job.settings["dtype"])
    if hasattr(built.x, "detach"):
        from gdexp import pytorch

        (at,) = pytorch.tensors(at, device=str(built.x.device))
    own = replace(built, at=at)
    if built.scheduler is not None:
        from gdexp import pytorch

        given = SimpleNamespace(**scheduled(_plain(job.settings["updater"])))
        own.scheduler = pytorch.schedule(option(job, "scheduler"), given)
    return own
