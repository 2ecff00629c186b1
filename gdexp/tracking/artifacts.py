"""What a recorded run has left behind, as files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from mlflow.exceptions import MlflowException

from gdexp.descent.fitted import FILE, Fitted, is_told
from gdexp.errors import ConfigError, GdexpError
from gdexp.tracking.store import Store, hide_password

if TYPE_CHECKING:
    from mlflow.entities import Run

CHECKPOINTS = "checkpoints"


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
    with tempfile.TemporaryDirectory() as folder:
        content = Path(store.client.download_artifacts(run_id, newest, folder)).read_bytes()
    return f"{newest} of run {run_id}", content


def fitted_of(store: Store, run: Run) -> Fitted:
    """The predictor of a run: as it was kept, or told by its configuration and trajectory.

    Raises:
        GdexpError: the run diverged, or has not kept what is needed.
    """
    run_id, tags = run.info.run_id, run.data.tags
    outcome = tags.get("gdexp.outcome", run.info.status.lower())
    if outcome == "diverged":
        raise GdexpError(
            f"run {run_id} diverged: {tags.get('gdexp.reason')}. Name a run that did not."
        )
    names = {found.path for found in store.client.list_artifacts(run_id)}
    if FILE in names:
        return Fitted.unpacked(_content(store, run_id, FILE))
    if {"config.yaml", "trajectory.parquet"} <= names:
        settings = yaml.safe_load(_content(store, run_id, "config.yaml"))
        last = _end(_content(store, run_id, "trajectory.parquet"))
        if is_told(settings) and last:
            return Fitted.told(settings, last)
    raise GdexpError(
        f"run {run_id} ({outcome}) has not kept its predictor: there is no {FILE} among its "
        "artifacts. Run it again, to its end."
    )


def _content(store: Store, run_id: str, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return Path(store.client.download_artifacts(run_id, name, folder)).read_bytes()


def _end(parquet: bytes) -> dict[str, float]:
    """The parameters after the last epoch of a trajectory, by name; none where it is empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(parquet))
    prefix = "param/"
    return {
        name.removeprefix(prefix): table[name][-1].as_py()
        for name in table.column_names
        if name.startswith(prefix) and len(table)
    }
