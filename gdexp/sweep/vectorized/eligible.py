"""Which runs can be vectorized, and which of them together."""

from __future__ import annotations

import json
from typing import Any

from gdexp.config import capabilities, schema
from gdexp.config.job import Job
from gdexp.config.settings import default_of
from gdexp.config.validation import is_torch_based

ONE_BY_ONE = ("continue_from", "checkpoint.every")  # unless they have their default
SPECIAL = ("foreach", "differentiable", "fused", "capturable")  # settings of torch's optimizers
NUMBERS = {  # the settings in which runs that are computed together may differ
    "": ("lr", "iters", "seed", "predict_at", "print_every", "stop", "sweep"),
    "predictor": ("init",),
}
UNCOUNTED = (  # settings that do not change a descent, but what is made of it
    *("iters", "predict_at", "print_every", "tracking", "sweep", "check", "plots", "trust"),
)
POINTS = {  # the forms of the tutorial's points
    "predictor": ("linear",),
    "gradient": ("mean", "sum", "autograd"),
    "loss": ("squares",),
    "updater": ("plain", "SGD"),
}
PLAIN = (  # what a run on the tutorial's points leaves at its default
    *("device", "stop.tolerance", "stop.patience", "stop.divergence"),
    *("data.standardize", "data.standardize_target", "data.validation"),
    *("data.batch_size", "data.compress"),
)


def obstacle(job: Job) -> str:
    """Why a job cannot be vectorized, as far as its settings tell, or "" if it can."""
    settings = job.settings
    for key in ONE_BY_ONE:
        if not _is_default(job, key):
            return f"{key}={schema.shown(_setting(job, key))} cannot be vectorized"
    if settings["check"]["gradient"] == "every":
        return "check.gradient=every cannot be vectorized"
    if settings["tracking"].get("log_model"):
        return "tracking.log_model=true cannot be vectorized"
    for family in _formed(job):
        if not capabilities.of(settings, family, "vectorized"):
            return f"{family}={job.choices[family]} cannot be vectorized"
    updater = settings["updater"]
    for key in SPECIAL:
        if updater.get(key):
            return f"updater.{key}={str(updater[key]).lower()} cannot be vectorized"
    if updater.get("nesterov") and not (updater.get("momentum") and updater.get("dampening") == 0):
        return "updater.nesterov=true needs momentum > 0 and dampening = 0"  # torch refuses it
    return ""


def _formed(job: Job) -> tuple[str, ...]:
    """The families that must have a vectorized form: with torch, vmap takes any module and loss."""
    return ("gradient", "updater") if is_torch_based(job) else schema.FAMILIES


def is_of_points(job: Job) -> bool:
    """Whether a job that can be vectorized is a line through the tutorial's points.

    Its whole table fits into the arithmetic of one epoch, so it has a faster program of its own.
    """
    if not capabilities.of(job.settings, "data", "inline"):
        return False
    if job.settings["scheduler"]["_target_"] is not None:
        return False
    if not all(_is_default(job, key) for key in PLAIN):
        return False
    return all(
        capabilities.of(job.settings, family, "vectorized") in forms
        for family, forms in POINTS.items()
    )


def group_key(job: Job) -> str:
    """What jobs that are computed together share: all settings but numbers."""
    settings, points = job.settings, is_of_points(job)
    kept = {key: value for key, value in settings.items() if key not in NUMBERS[""]}
    kept["predictor"] = {k: v for k, v in settings["predictor"].items() if k != "init"}
    for family in ("updater", "scheduler"):
        kept[family] = {k: v for k, v in settings[family].items() if not _is_number(v)}
    if not points:
        kept["data"] = {
            k: v for k, v in settings["data"].items() if k == "batch_size" or not _is_number(v)
        }
        kept["stop"] = {k: v for k, v in settings["stop"].items() if k == "restore_best"}
    return json.dumps([points, kept], sort_keys=True)


def curve_key(job: Job) -> str:
    """What jobs share of which one is the beginning of the other: all that changes a descent."""
    kept = {key: value for key, value in job.settings.items() if key not in UNCOUNTED}
    return json.dumps(kept, sort_keys=True)


def _is_number(value: Any) -> bool:
    """Whether a setting is a number, or several, as betas are."""
    if isinstance(value, list):
        return all(map(_is_number, value))
    return isinstance(value, int | float)


def _is_default(job: Job, key: str) -> bool:
    value: Any = _setting(job, key)
    return bool(value == default_of(key))


def _setting(job: Job, key: str) -> Any:
    section, _, name = key.rpartition(".")
    node = job.settings[section] if section else job.settings
    return node.get(name)
