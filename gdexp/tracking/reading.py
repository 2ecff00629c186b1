"""What a recorded run has left behind, as files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow.exceptions import MlflowException

from gdexp.errors import ConfigError
from gdexp.tracking.store import Store, hide_password

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
            "python -m gdexp.compare --all lists the runs."
        ) from error
    if not listed:
        raise ConfigError(
            f"continue_from: run {run_id} has no checkpoint. Runs with checkpoint.every have."
        )
    newest = max(found.path for found in listed)
    with tempfile.TemporaryDirectory() as folder:
        content = Path(store.client.download_artifacts(run_id, newest, folder)).read_bytes()
    return f"{newest} of run {run_id}", content
