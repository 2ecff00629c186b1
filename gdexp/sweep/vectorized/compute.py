"""From jobs to programs and back: which jobs can be vectorized, and the result of each."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gdexp.config import capabilities, schema
from gdexp.config.job import Job
from gdexp.config.settings import default_of
from gdexp.config.validation import is_torch_based
from gdexp.descent import predictors
from gdexp.descent.build import Components, build
from gdexp.descent.compute import conclude, judge, new_transcript
from gdexp.descent.result import Result
from gdexp.descent.signals import signalled
from gdexp.insight import notes
from gdexp.sweep.vectorized.program import Program, ProgramResult
from gdexp.sweep.workers.engines import Engine, Local

LAST = 1.0  # seconds for runs that a signal has interrupted
MEMORY = 256 * 2**20  # bytes of curves held in memory before they are written
SGD = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
ONE_BY_ONE = (  # settings that cannot be vectorized, unless they have their default
    *("device", "continue_from", "checkpoint.every"),
    *("stop.tolerance", "stop.patience", "stop.divergence"),
    *("data.standardize", "data.standardize_target", "data.validation"),
    *("data.batch_size", "data.compress"),
)
NUMBERS = {  # the settings in which the runs of a program may differ
    "": ("lr", "iters", "seed", "predict_at", "print_every"),
    "predictor": ("init",),
    "updater": ("lr", *SGD),
}


def obstacle(job: Job) -> str:
    """Why a job cannot be vectorized, or "" if it can."""
    if not capabilities.of(job.settings, "data", "inline"):
        return f"data={job.choices['data']} cannot be vectorized"
    for key in ONE_BY_ONE:
        section, _, name = key.rpartition(".")
        node = job.settings[section] if section else job.settings
        if node.get(name) != default_of(key):
            return f"{key}={schema.shown(node[name])} cannot be vectorized"
    if job.settings["check"]["gradient"] == "every":
        return "check.gradient=every cannot be vectorized"
    if job.settings["scheduler"]["_target_"] is not None:
        return f"scheduler={job.choices['scheduler']} cannot be vectorized"
    if job.settings["tracking"].get("log_model"):
        return "tracking.log_model=true cannot be vectorized"
    for family in schema.FAMILIES:
        if not capabilities.of(job.settings, family, "vectorized"):
            return f"{family}={job.choices[family]} cannot be vectorized"
    updater = job.settings["updater"]
    for key in ("foreach", "differentiable", "fused"):
        if updater.get(key):
            return f"updater.{key}={str(updater[key]).lower()} cannot be vectorized"
    if updater.get("nesterov") and not (updater.get("momentum") and updater.get("dampening") == 0):
        return "updater.nesterov=true needs momentum > 0 and dampening = 0"  # torch refuses it
    return ""


def group_key(job: Job) -> str:
    """What the jobs of one program share: all settings except the numbers."""
    kept = {key: value for key, value in job.settings.items() if key not in NUMBERS[""]}
    for family in ("predictor", "updater"):
        kept[family] = {k: v for k, v in kept[family].items() if k not in NUMBERS[family]}
    kept.pop("sweep", None)
    return json.dumps(kept, sort_keys=True)


def compute(
    jobs: Sequence[Job], on_progress: Callable[[int], None], engine: Engine | None = None
) -> Iterator[tuple[Job, Result]]:
    """Compute jobs with the same group key, shard by shard, and yield them in any order.

    After a signal, the runs that had begun are yielded as interrupted, for a second: many take
    longer to describe than anybody waits.

    Args:
        jobs: the jobs.
        on_progress: called with the number of jobs computed so far.
        engine: computes the shards; None: this process does.
    """
    engine = engine or Local()
    built = build(jobs[0])
    parts = list(_parts(jobs, engine.shards))
    shards = (_program(part, built) for part in parts)
    for computed in engine.compute(shards, on_progress):
        part, start = parts[computed.number], time.monotonic()
        for i, job in sorted(enumerate(part), key=lambda pair: pair[1].number or 0):
            if computed.result.interrupted[i] and (
                not computed.result.length[i] or time.monotonic() > start + LAST
            ):
                continue
            result = _result(job, built, computed.result, i)
            result.started, result.seconds = computed.started, computed.seconds
            result.together, result.computed_on = len(part), computed.computed_on
            yield job, result
        if signalled():
            return


def _parts(jobs: Sequence[Job], shards: int) -> Iterator[Sequence[Job]]:
    """Split jobs into that many parts, or more if their curves would not fit in memory.

    Jobs that differ only in iters stay together, because they share one curve.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[_but_iters(job)].append(job)
    ordered = list(groups.values())
    width = 3 if not jobs[0].settings["predictor"].get("bias") else 5
    longest = max(job.settings["iters"] for job in jobs)
    memory = max(MEMORY // shards, MEMORY // 16) // (8 * width * longest)
    size = max(1, min(memory, -(-len(ordered) // shards)))
    for start in range(0, len(ordered), size):
        yield [job for group in ordered[start : start + size] for job in group]


def _but_iters(job: Job) -> str:
    settings = job.settings
    updater = {k: v for k, v in settings["updater"].items() if k in NUMBERS["updater"]}
    numbers = [settings["lr"], settings["seed"], settings["predictor"].get("init"), updater]
    return json.dumps(numbers, sort_keys=True)


def _program(jobs: Sequence[Job], built: Components) -> Program:
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

    return pytorch.initial("b" in names, job.settings["seed"])


def _result(job: Job, built: Components, computed: ProgramResult, i: int) -> Result:
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
