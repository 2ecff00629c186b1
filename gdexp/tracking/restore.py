"""Reading the artifacts of a recorded run: its newest checkpoint and its predictor."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gdexp.config.job import Job
from gdexp.config.settings import FAMILIES, SECTIONS, Settings
from gdexp.config.trust import ONLY_OURS, Trust
from gdexp.credentials import without_password
from gdexp.descent.archive import check_mapping
from gdexp.descent.fitted import FILE, Fitted, is_rebuildable
from gdexp.descent.fitted_files import read_config, read_fitted, read_last_epoch
from gdexp.descent.result import Result
from gdexp.descent.trajectory import Trajectory
from gdexp.errors import ConfigError, GdexpError
from gdexp.tracking.curves import read_parquet
from gdexp.tracking.describe import CHECKPOINTS
from gdexp.tracking.reading import files_of, iters_of, reading
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import BEHAVIOUR, DECADES, REASON, SWEEP

CONFIG, TRAJECTORY, TRANSCRIPT = "config.yaml", "trajectory.parquet", "transcript.txt"
COEF, CHECK, FORECAST = "coef/", "check/", "forecast/"
GROUPS = ("data", *FAMILIES, "scheduler")
LOSSES = ("final/loss", "final/log10_loss", "best/loss", "best/epoch")  # known by the trajectory
RESTORED, PREDICTION = "final/epoch", "final/prediction"
_AT = re.compile(r"training: f\(([^()\n]{1,99})\) = ")


def newest_checkpoint(store: Store, run_id: str) -> tuple[str, bytes]:
    """The newest checkpoint of the run whose id is, or begins with, run_id.

    Returns:
        (label, content)

    Raises:
        ConfigError: there is no such run, there are several, or it has no checkpoint.
    """
    runs = store.runs(id_prefix=run_id, limit=2, everywhere=True) if run_id.isalnum() else []
    if not runs:
        raise ConfigError(
            f"continue_from: {run_id!r} is neither a file nor a run in "
            f"{without_password(store.uri)}. python -m gdexp compare --all lists the runs."
        )
    if len(runs) > 1:
        raise ConfigError(
            f"continue_from: the ids of several runs start with {run_id!r}. Type more characters."
        )
    (run,) = runs
    names = store.files(run, CHECKPOINTS)
    if not names:
        raise ConfigError(
            f"continue_from: run {run.run_id} has no checkpoint. Only runs with checkpoint.every "
            "have."
        )
    return f"{max(names)} of run {run.run_id}", store.read(run, max(names))


def trajectory_of(store: Store, run: RecordedRun) -> Trajectory:
    """Every epoch of a run.

    Raises:
        GdexpError: the artifact is missing or damaged.
    """
    with reading(TRAJECTORY, run):
        trajectory = read_parquet(store.read(run, TRAJECTORY), iters_of(run))
        if run.outcome in ("completed", "converged") and not trajectory.length:
            raise ValueError("it has no epoch")
    trajectory.diverged = run.tags.get(REASON, "").startswith("a value was not finite")
    return trajectory


def job_of(store: Store, run: RecordedRun, trust: Trust | None = ONLY_OURS) -> Job:
    """The job of a run, with its recorded settings, except that it is not to be recorded.

    What an older version did not record has its default.

    Args:
        store: the store that has the run.
        run: the run.
        trust: the code, besides that of gdexp and torch, that its settings may name; None: any,
            if nothing is built from them.

    Raises:
        GdexpError: config.yaml is missing or damaged, or names other code.
    """
    with reading(CONFIG, run):
        settings = _settings(store, run, trust)
    settings["tracking"] = {"enabled": False}
    settings.pop("sweep", None)
    groups = ("step", *GROUPS)
    choices = {name: run.params.get(name, _class_name(settings.get(name))) for name in groups}
    return Job(settings, choices, sweep_id=run.tags.get(SWEEP))


def _settings(store: Store, run: RecordedRun, trust: Trust | None) -> dict[str, Any]:
    """The recorded settings; those that an older version did not record have their defaults.

    Raises:
        ValueError: they are damaged.
    """
    recorded = read_config(store.read(run, CONFIG), trust)
    sections = {
        name: {**asdict(section()), **check_mapping(recorded.get(name, {}), name)}
        for name, section in SECTIONS.items()
    }
    return asdict(Settings()) | {"scheduler": {"_target_": None}} | recorded | sections


def result_of(store: Store, run: RecordedRun) -> Result:
    """The result of a run, read from its trajectory and its transcript, without data and predictor.

    Raises:
        GdexpError: these artifacts are missing or damaged.
    """
    trajectory = trajectory_of(store, run)
    with reading(TRANSCRIPT, run):
        transcript = store.read(run, TRANSCRIPT).decode()
    at = _AT.search(transcript)
    known = {*trajectory.columns(), *LOSSES}
    single = {name: value for name, value in run.metrics.items() if name not in known}
    reason = run.tags.get(REASON, "")
    restored = single.pop(RESTORED, None)
    result = Result(
        run.outcome,
        reason,
        trajectory,
        transcript,
        prediction=single.pop(PREDICTION, math.nan),
        at=at[1] if at else "",
        restored=None if restored is None else int(restored),
        coefficients=_taken(single, COEF),
        checks=_taken(single, CHECK),
        forecast=_taken(single, FORECAST),
        scores=single,
        behaviour=run.tags.get(BEHAVIOUR, ""),
        decades=_numbers(run.tags.get(DECADES, "")),
        run_id=run.run_id,
        started=run.start_ms / 1000,
    )
    if result.epoch:
        curves = trajectory.parameters.items()
        result.parameters = {name: float(values[result.epoch - 1]) for name, values in curves}
    return result


def _numbers(text: str) -> tuple[int, ...]:
    """The epochs that a tag lists."""
    return tuple(int(word) for word in text.split() if word.isdecimal() and len(word) < 10)


def _class_name(node: Any) -> str:
    """What to call an option whose name is not recorded."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return "none" if target is None else str(target).rpartition(".")[2]


def _taken(metrics: dict[str, float], prefix: str) -> dict[str, float]:
    """Remove the metrics with this prefix; returns them without it."""
    names = [name for name in metrics if name.startswith(prefix)]
    return {name.removeprefix(prefix): metrics.pop(name) for name in names}


def fitted_of(store: Store, run: RecordedRun, trust: Trust = ONLY_OURS) -> Fitted:
    """The predictor of a run, read from its file or rebuilt from configuration and trajectory.

    Args:
        store: the store that has the run.
        run: the run.
        trust: the code, besides that of gdexp and torch, that its artifacts may name.

    Raises:
        GdexpError: the run diverged, or the artifacts that this needs are missing or damaged.
    """
    if run.outcome == "diverged":
        reason = run.tags.get(REASON)
        raise GdexpError(f"run {run.run_id} diverged: {reason}. Choose a run that did not diverge.")
    names = files_of(store, run)
    if FILE in names:
        with reading(FILE, run):
            return read_fitted(store.read(run, FILE), trust)
    nor, last = "", dict[str, float]()
    if CONFIG in names:
        with reading(CONFIG, run):
            settings = _settings(store, run, trust)
            is_enough = is_rebuildable(settings)
        if is_enough and TRAJECTORY in names:
            with reading(TRAJECTORY, run):
                last = _last_epoch(store, run, settings)
        elif is_enough:
            nor = f", nor {TRAJECTORY}"
    elif TRAJECTORY in names:
        nor = f", nor {CONFIG}"
    if last:
        try:
            return Fitted.rebuilt(settings, last)
        except ValueError as error:  # a ConfigError, if it is the settings' fault
            with reading(CONFIG if isinstance(error, ConfigError) else TRAJECTORY, run):
                raise
    raise GdexpError(
        f"run {run.run_id} ({run.outcome}) has no {FILE} among its artifacts{nor}, so its "
        "predictor is lost. Run it again, to its end."
    )


def _last_epoch(store: Store, run: RecordedRun, settings: Mapping[str, Any]) -> dict[str, float]:
    """The final parameters by name; {} if the run has no epoch.

    Raises:
        ValueError: the trajectory ends with other values than the store has.
    """
    last = read_last_epoch(store.read(run, TRAJECTORY), settings["iters"])
    for name, value in last.items():
        recorded = run.metrics.get(f"param/{name}", value)
        if value != recorded and run.outcome in ("completed", "converged"):
            raise ValueError(f"it ends with {name} = {value}, but the store has {recorded}")
    return last
