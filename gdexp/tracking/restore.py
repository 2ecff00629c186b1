"""Reading the artifacts of a recorded run: its newest checkpoint and its predictor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from gdexp.errors import ConfigError, GdexpError, UntrustedError, brief
from gdexp.tracking.curves import read_parquet
from gdexp.tracking.describe import CHECKPOINTS
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store

CONFIG, TRAJECTORY, TRANSCRIPT = "config.yaml", "trajectory.parquet", "transcript.txt"
COEF, CHECK, FORECAST = "coef/", "check/", "forecast/"
REASON = "gdexp.reason"
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
    with _reading(TRAJECTORY, run.run_id):
        trajectory = read_parquet(store.read(run, TRAJECTORY), int(run.params["iters"]))
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
    with _reading(CONFIG, run.run_id):
        recorded = read_config(store.read(run, CONFIG), trust)
        sections = {
            name: {**asdict(section()), **check_mapping(recorded.get(name, {}), name)}
            for name, section in SECTIONS.items()
        }
        settings = asdict(Settings()) | {"scheduler": {"_target_": None}} | recorded | sections
    settings["tracking"] = {"enabled": False}
    settings.pop("sweep", None)
    groups = ("step", *GROUPS)
    choices = {name: run.params.get(name, _class_name(settings.get(name))) for name in groups}
    return Job(settings, choices, sweep_id=run.tags.get("gdexp.sweep_id"))


def result_of(store: Store, run: RecordedRun) -> Result:
    """The result of a run, read from its trajectory and its transcript, without data and predictor.

    Raises:
        GdexpError: these artifacts are missing or damaged.
    """
    trajectory = trajectory_of(store, run)
    with _reading(TRANSCRIPT, run.run_id):
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
        behaviour=run.tags.get("gdexp.behaviour", ""),
        decades=_numbers(run.tags.get("gdexp.decades", "")),
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
    run_id = run.run_id
    if run.outcome == "diverged":
        reason = run.tags.get("gdexp.reason")
        raise GdexpError(f"run {run_id} diverged: {reason}. Choose a run that did not diverge.")
    with _reading("the artifacts", run_id):
        names = set(store.files(run))
    if FILE in names:
        with _reading(FILE, run_id):
            return read_fitted(store.read(run, FILE), trust)
    if {CONFIG, TRAJECTORY} <= names:
        with _reading(CONFIG, run_id):
            settings = read_config(store.read(run, CONFIG), trust)
        with _reading(TRAJECTORY, run_id):
            if last := _last_epoch(store, run, settings):
                return Fitted.rebuilt(settings, last)
    raise GdexpError(
        f"run {run_id} ({run.outcome}) has no {FILE} among its artifacts, so its predictor is "
        "lost. Run it again, to its end."
    )


def _last_epoch(store: Store, run: RecordedRun, settings: Mapping[str, Any]) -> dict[str, float]:
    """The final parameters by name, if the predictor can be rebuilt from them; else {}.

    Raises:
        ValueError: the trajectory ends with other values than the store has.
    """
    if not is_rebuildable(settings):
        return {}
    last = read_last_epoch(store.read(run, TRAJECTORY), settings["iters"])
    for name, value in last.items():
        recorded = run.metrics.get(f"param/{name}", value)
        if value != recorded and run.outcome in ("completed", "converged"):
            raise ValueError(f"it ends with {name} = {value}, but the store has {recorded}")
    return last


@contextmanager
def _reading(name: str, run_id: str) -> Iterator[None]:
    """Turn errors in reading an artifact into sentences that name the artifact and the run."""
    what = f"{name} of run {run_id}"
    try:
        yield
    except UntrustedError as error:
        raise GdexpError(f"{what}: {error}") from error
    except ValueError as error:
        # A ConfigError comes from a component that has changed since the run.
        problem = "cannot be rebuilt" if isinstance(error, ConfigError) else "is damaged"
        raise GdexpError(f"{what} {problem}: {str(error).rstrip('.')}. Run it again.") from error
    except Exception as error:  # from MLflow or the disk
        raise GdexpError(f"{what} cannot be read: {brief(error)}.") from error
