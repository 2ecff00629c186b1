"""What can be rebuilt from the files of a recorded run: its predictor, its newest checkpoint."""

from __future__ import annotations

import yaml

from gdexp.descent.fitted import FILE, Fitted, is_told
from gdexp.errors import ConfigError, GdexpError
from gdexp.tracking.describe import CHECKPOINTS
from gdexp.tracking.location import hide_password
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store


def newest_checkpoint(store: Store, run_id: str) -> tuple[str, bytes]:
    """The newest checkpoint of a run: its name and its content.

    Raises:
        ConfigError: there is no such run, or it has no checkpoint.
    """
    runs = store.runs(id_prefix=run_id, limit=1, everywhere=True) if run_id.isalnum() else []
    if not runs or runs[0].run_id != run_id:
        raise ConfigError(
            f"continue_from: {run_id!r} is neither a file here nor a run in "
            f"{hide_password(store.uri)}. python -m gdexp compare --all lists the runs."
        )
    names = store.files(runs[0], CHECKPOINTS)
    if not names:
        raise ConfigError(
            f"continue_from: run {run_id} has no checkpoint. Runs with checkpoint.every have."
        )
    return f"{max(names)} of run {run_id}", store.read(runs[0], max(names))


def fitted_of(store: Store, run: RecordedRun) -> Fitted:
    """The predictor of a run: as it was kept, or rebuilt from its configuration and trajectory.

    Raises:
        GdexpError: the run diverged, or has not kept what is needed.
    """
    run_id = run.run_id
    if run.outcome == "diverged":
        reason = run.tags.get("gdexp.reason")
        raise GdexpError(f"run {run_id} diverged: {reason}. Name a run that did not.")
    names = set(store.files(run))
    if FILE in names:
        return Fitted.unpacked(store.read(run, FILE))
    if {"config.yaml", "trajectory.parquet"} <= names:
        settings = yaml.safe_load(store.read(run, "config.yaml"))
        last = _end(store.read(run, "trajectory.parquet"))
        if is_told(settings) and last:
            return Fitted.told(settings, last)
    raise GdexpError(
        f"run {run_id} ({run.outcome}) has not kept its predictor: there is no {FILE} among its "
        "artifacts. Run it again, to its end."
    )


def _end(parquet: bytes) -> dict[str, float]:
    """The parameters after the last epoch of a trajectory, by name; none if it is empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(parquet))
    prefix = "param/"
    return {
        name.removeprefix(prefix): table[name][-1].as_py()
        for name in table.column_names
        if name.startswith(prefix) and len(table)
    }
