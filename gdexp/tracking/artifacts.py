"""What a recorded run has left behind, as files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from gdexp.descent.fitted import FILE, Fitted, is_told
from gdexp.descent.fitted_files import read_config, read_fitted, read_last_epoch
from gdexp.errors import ConfigError, GdexpError, first_line
from gdexp.tracking.store import Store, hide_password

if TYPE_CHECKING:
    from mlflow.entities import Run

CHECKPOINTS = "checkpoints"
CONFIG, TRAJECTORY = "config.yaml", "trajectory.parquet"


def newest_checkpoint(store: Store, run_id: str) -> tuple[str, bytes]:
    """The newest checkpoint of a run: its name and what it holds.

    Raises:
        ConfigError: there is no such run, or it has no checkpoint.
    """
    try:
        listed = store.client.list_artifacts(run_id, CHECKPOINTS)
    except MlflowException as error:
        raise ConfigError(
            f"continue_from: {run_id!r} is no file here, and no run in {hide_password(store.uri)}. "
            "python -m gdexp compare --all lists the runs."
        ) from error
    if not listed:
        raise ConfigError(
            f"continue_from: run {run_id} has no checkpoint. Runs with checkpoint.every have."
        )
    newest = max(found.path for found in listed)
    return f"{newest} of run {run_id}", _content(store, run_id, newest)


def fitted_of(store: Store, run: Run) -> Fitted:
    """The predictor of a run: as it was kept, or told by its configuration and trajectory.

    Raises:
        GdexpError: the run diverged, has not kept what is needed, or it is damaged.
    """
    run_id, tags = run.info.run_id, run.data.tags
    outcome = tags.get("gdexp.outcome", run.info.status.lower())
    if outcome == "diverged":
        raise GdexpError(
            f"run {run_id} diverged: {tags.get('gdexp.reason')}. Name a run that did not."
        )
    with _reading("the artifacts", run_id):
        names = {file.path for file in store.client.list_artifacts(run_id)}
    if FILE in names:
        content = _content(store, run_id, FILE)
        with _reading(FILE, run_id):
            return read_fitted(content)
    if {CONFIG, TRAJECTORY} <= names:
        content, trajectory = (_content(store, run_id, name) for name in (CONFIG, TRAJECTORY))
        with _reading(CONFIG, run_id):
            settings = read_config(content)
        with _reading(TRAJECTORY, run_id):
            last = read_last_epoch(trajectory, settings["iters"]) if is_told(settings) else {}
            if outcome in ("completed", "converged"):
                _check_recorded(last, run.data.metrics)
            if last:
                return Fitted.told(settings, last)
    raise GdexpError(
        f"run {run_id} ({outcome}) has not kept its predictor: there is no {FILE} among its "
        "artifacts. Run it again, to its end."
    )


def _check_recorded(last: Mapping[str, float], metrics: Mapping[str, float]) -> None:
    """Refuse a trajectory that does not end where the run's curves in the store do."""
    for name, value in last.items():
        recorded = metrics.get(f"param/{name}", value)
        if value != recorded:
            raise ValueError(f"it ends with {name} = {value}, and the store has {recorded}")


def _content(store: Store, run_id: str, name: str) -> bytes:
    with _reading(name, run_id), tempfile.TemporaryDirectory() as folder:
        return Path(store.client.download_artifacts(run_id, name, folder)).read_bytes()


@contextmanager
def _reading(name: str, run_id: str) -> Iterator[None]:
    """Turn what is wrong with a run's file into a sentence that names both."""
    what = f"{name} of run {run_id}"
    try:
        yield
    except ConfigError as error:  # of a component, which may have changed since the run
        reason = str(error).rstrip(".")
        raise GdexpError(f"{what} cannot be rebuilt: {reason}. Run it again.") from error
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise GdexpError(f"{what} is damaged: {reason}. Run it again.") from error
    except (OSError, MlflowException) as error:
        raise GdexpError(f"{what} cannot be read: {first_line(error).rstrip('.')}.") from error
