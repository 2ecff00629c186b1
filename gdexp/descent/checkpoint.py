"""Checkpoints: the state of a run between two epochs, saved and restored bit for bit.

A checkpoint is packed by :mod:`gdexp.descent.archive`, so that loading one runs no code.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from gdexp.config.compose import new_stamp
from gdexp.config.job import Job
from gdexp.config.paths import OUTPUTS, absolute
from gdexp.descent import generators
from gdexp.descent.archive import check_mapping, pack
from gdexp.descent.best import Best
from gdexp.descent.build import Components
from gdexp.descent.checkpoint_files import Checkpoint
from gdexp.descent.trajectory import Trajectory
from gdexp.errors import ConfigError, brief, excerpt


def contents(
    job: Job, built: Components, trajectory: Trajectory, best: Best | None = None
) -> tuple[str, bytes]:
    """The checkpoint after the trajectory's last epoch: (file name, content)."""
    state = built.state()
    if best is not None and best.state is not None:
        state["best"] = best.state
    if drawn := generators.saved(job):
        state["generators"] = drawn
    content = pack(
        {
            "epoch": trajectory.length,
            "table": trajectory.saved,
            "state": state,
            "settings": {key: value for key, value in job.settings.items() if key != "trust"},
            "digest": built.data.digest,
            "choices": job.choices,
            "following": job.following,
        }
    )
    return f"{trajectory.length:08d}.npz", content


class Folder:
    """The folder of an unrecorded run's checkpoints, created with the first one."""

    def __init__(self) -> None:
        self._folder = absolute(OUTPUTS) / "checkpoints" / new_stamp()

    def keep(self, name: str, content: bytes) -> str:
        """Write a checkpoint; return the value of continue_from that finds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{name}"
        partial.write_bytes(content)
        partial.replace(self._folder / name)  # atomic: no half-written checkpoint
        return str(self._folder)


def fit(job: Job, built: Components, checkpoint: Checkpoint) -> Checkpoint:
    """Check that a checkpoint fits the run that continues it; its schedule becomes the run's.

    Args:
        job: the run, with the settings of the checkpoint; see :mod:`gdexp.descent.continuing`.
        built: its components.
        checkpoint: the checkpoint.

    Raises:
        ConfigError: if it is damaged, of other data, or not before the run's last epoch.
    """
    label, epoch, iters = checkpoint.label, checkpoint.epoch, job.settings["iters"]
    if checkpoint.digest != built.data.digest:
        raise ConfigError(f"continue_from: the data have changed since {label} was written.")
    with _loading(label):
        _check_table(checkpoint, built)
    if epoch >= iters:
        raise ConfigError(
            f"iters: the checkpoint is already at epoch {epoch}, so iters must be more than that, "
            f"not {iters}. Type for example iters={2 * epoch}."
        )
    with _loading(label):
        if job.settings["scheduler"] != checkpoint.settings["scheduler"]:
            checkpoint = _rescheduled(checkpoint, built)
        _check_state(job, checkpoint, built)
    return checkpoint


@contextmanager
def _loading(label: str) -> Iterator[None]:
    """Turn any exception into a ConfigError: torch may raise anything when it loads a state."""
    try:
        yield
    except Exception as error:
        reason = brief(error.__cause__ or error).rstrip(":")
        raise ConfigError(f"continue_from: {label} is damaged: {reason}.") from error


def _rescheduled(checkpoint: Checkpoint, built: Components) -> Checkpoint:
    """With the schedule of the new length: the schedule follows iters."""
    schedule = built.scheduler.replayed(checkpoint.epoch)
    schedule["numbers"] = checkpoint.state["scheduler"]["numbers"] | schedule["numbers"]
    return replace(checkpoint, state={**checkpoint.state, "scheduler": schedule})


def _check_table(checkpoint: Checkpoint, built: Components) -> None:
    """Raise ValueError if the table does not have the run's curves and the checkpoint's epochs."""
    curves = 1 + 2 * len(Trajectory(built.predictor.parameters, 0).names)
    curves += (built.kept is not None) + (built.scheduler is not None)
    if type(checkpoint.epoch) is not int or checkpoint.epoch < 1:
        raise ValueError(f"its epoch is {excerpt(checkpoint.epoch)}")
    shape = np.shape(checkpoint.table)
    if shape != (curves, checkpoint.epoch):
        raise ValueError(f"its table has shape {shape}, not {(curves, checkpoint.epoch)}")
    if checkpoint.table.dtype != np.float64 or not np.isfinite(checkpoint.table).all():
        raise ValueError("its table does not hold finite numbers")


def _check_state(job: Job, checkpoint: Checkpoint, built: Components) -> None:
    """Raise if the state cannot be loaded, or the next update fails with it."""
    from gdexp.descent import trial

    check_mapping(checkpoint.state, "its state")
    for part in built.state():
        if part != "random" and part not in checkpoint.state:
            raise ValueError(f"it has no state of the {part}")
    trial.check_state(job, copy.deepcopy(checkpoint.state))


def check_updater(job: Job, built: Components) -> None:
    """Refuse checkpoints of an updater whose state cannot be saved.

    Raises:
        ConfigError: says what the updater lacks.
    """
    if job.settings["continue_from"] is None and not job.settings["checkpoint"]["every"]:
        return
    updater = getattr(built.updater, "updater", built.updater)
    if not (hasattr(updater, "state") and hasattr(updater, "load")):
        raise ConfigError(
            f"checkpoint.every: updater={job.choices['updater']} has no state() and load(), so "
            "its runs cannot be continued. Give it both, or type checkpoint.every=null."
        )
