"""The job that continues a checkpoint: the settings of the checkpoint's run, and the typed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from gdexp.config.job import Job
from gdexp.config.overrides import assignment, parse
from gdexp.config.schema import FAMILIES, HINTS, shown
from gdexp.config.settings import SECTIONS, Stop, default_of, is_float
from gdexp.config.trust import Trust, check, named_in
from gdexp.descent.archive import check_mapping
from gdexp.descent.build import Components
from gdexp.descent.checkpoint_files import Checkpoint
from gdexp.descent.compute import new_trajectory
from gdexp.descent.sizes import check_sizes
from gdexp.descent.stopping import Rules
from gdexp.errors import ConfigError, UntrustedError

OWN = ("continue_from", "trust", "tracking", "sweep")  # sections that are never the checkpoint's
FREE = (
    *OWN,
    "iters",
    "checkpoint",
    "print_every",
    "stop",
    "check",
    "plots",
)  # those that may be typed anew
COMPONENTS = ("data", *FAMILIES, "scheduler")


def continued(job: Job, checkpoint: Checkpoint) -> Job:
    """The job with every setting that was not typed taken from the run of the checkpoint.

    A setting that follows iters, such as the length of a schedule, follows the new iters.

    Raises:
        ConfigError: a typed setting differs, names each that does; or the checkpoint names code
            that is neither of gdexp and torch nor of this job, and that is not trusted.
    """
    _check_trusted(job, checkpoint)
    typed = _typed_keys(job)
    before = checkpoint.settings
    differences = [
        f"{key} is {old} in the checkpoint and {new} here"
        for key in typed
        if key.partition(".")[0] not in FREE
        for old, new in [_values(key, job, checkpoint)]
        if old != new
    ]
    if differences:
        raise ConfigError(
            f"continue_from: {checkpoint.label} has other settings: {'; '.join(differences)}. "
            "Leave them out: they are taken from the run."
        )
    settings = {
        key: value if key in OWN else _merged(key, value, before)
        for key, value in job.settings.items()
    }
    for key in typed:
        if key.partition(".")[0] in FREE:
            _set(settings, key, _get(job.settings, key))
    following = job.following if checkpoint.following is None else checkpoint.following
    for key in following:
        if key not in typed and _get(before, key) == before["iters"]:
            _set(settings, key, settings["iters"])
    choices = job.choices | _choices(job, checkpoint)
    return replace(job, settings=settings, choices=choices, following=tuple(following))


def _check_trusted(job: Job, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that names code which the user has neither typed nor trusted.

    The user's own is what this job names in the same place, and what the YAML files of their folder
    of options name.
    """
    taken = {key: value for key, value in checkpoint.settings.items() if key not in OWN}
    trust = Trust(tuple(job.settings["trust"]), typed="'trust=[{}]'", own=named_in(job.folders))
    try:
        check(taken, trust, job.settings)
        check_sizes(taken, check_mapping(checkpoint.state, "its state").get("predictor"))
    except UntrustedError as error:
        raise UntrustedError(f"continue_from: {checkpoint.label}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"continue_from: {checkpoint.label} is damaged: {error}.") from error


def without_met_rules(job: Job, built: Components, saved: Checkpoint) -> Job:
    """The job without the stop rules that the checkpoint meets: it is to go on from there."""
    trajectory = new_trajectory(job, built)
    trajectory.restore(saved.table)
    if Rules(job.settings["stop"]).ended(trajectory) is None:
        return job
    return replace(job, settings=job.settings | {"stop": asdict(Stop())})


def announcement(job: Job, saved: Checkpoint) -> str:
    """Where the run goes on, and which settings follow the new iters."""
    text = f"continues {saved.label} at epoch {saved.epoch + 1}"
    values = [f"{key}={shown(_get(job.settings, key))}" for key in job.following]
    return f"{text}, with {' and '.join(values)}, which follows iters" if values else text


def _typed_keys(job: Job) -> list[str]:
    """The keys of the overrides, without duplicates."""
    keys = []
    for text in job.typed:
        pair = assignment(text)
        keys.append(pair[0] if pair is not None else str(parse(text).key_or_group))
    return list(dict.fromkeys(keys))


def _values(key: str, job: Job, checkpoint: Checkpoint) -> tuple[str, str]:
    """What a typed key is in the checkpoint and in the job, in words."""
    if key in job.choices:
        after = job.choices[key]
        return _choices(job, checkpoint).get(key, after), after
    old = _get(checkpoint.settings, key, default_of(key))
    return shown(old), shown(_get(job.settings, key))


def _choices(job: Job, checkpoint: Checkpoint) -> dict[str, str]:
    """The options of the checkpoint's run.

    An older checkpoint has only the classes: those of this job, or else the name of the class.
    """
    if checkpoint.choices is not None:
        taken = {*OWN, *FREE}
        return {k: v for k, v in checkpoint.choices.items() if "/" not in k and k not in taken}
    targets = {family: checkpoint.settings[family]["_target_"] for family in COMPONENTS}
    return {
        family: job.choices[family]
        if target == job.settings[family]["_target_"]
        else str(target).rpartition(".")[2]
        for family, target in targets.items()
    }


def _merged(key: str, value: Any, before: Mapping[str, Any]) -> Any:
    """A setting or section of the checkpoint; what an older checkpoint lacks has its default."""
    if key in SECTIONS:
        return asdict(SECTIONS[key]()) | before.get(key, {})
    value = before.get(key, default_of(key) if key in HINTS else value)
    is_whole = type(value) is int and abs(value) < 2**1000  # within the range of floats
    return float(value) if is_whole and is_float(key) else value


def _get(settings: Mapping[str, Any], key: str, default: Any = None) -> Any:
    node: Any = settings
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return default
        node = node[name]
    return node


def _set(settings: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        settings[parent] = dict(settings[parent])
        settings = settings[parent]
    settings[name] = value
