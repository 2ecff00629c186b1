"""Checkpoints: the state of a run between two epochs, saved and restored bit for bit.

A checkpoint is packed by :mod:`gdexp.descent.archive`, so that loading one runs no code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from gdexp.config.compose import new_stamp
from gdexp.config.job import Job
from gdexp.config.paths import OUTPUTS, absolute
from gdexp.descent import predictors
from gdexp.descent.archive import check_mapping, pack, unpack_parts
from gdexp.descent.best import Best
from gdexp.descent.build import Components
from gdexp.descent.trajectory import FloatArray, Trajectory
from gdexp.errors import ConfigError, first_line

Fetch: TypeAlias = Callable[[str], tuple[str, bytes]]
"""Reads the newest checkpoint of a recorded run; returns (label, content)."""

PARTS = ("epoch", "table", "state", "settings", "digest")
NEWER = ("choices", "following")  # parts that older checkpoints lack


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read, not yet compared with a run.

    Attributes:
        label: where it was read from.
        epoch: its last epoch.
        table: its trajectory, as :attr:`gdexp.descent.trajectory.Trajectory.table`.
        state: the state of the components, as :meth:`gdexp.descent.build.Components.state`.
        settings: the settings of its run.
        digest: the digest of its data.
        choices: the options of its run; None in older checkpoints.
        following: its :attr:`gdexp.config.job.Job.following`; None in older checkpoints.
    """

    label: str
    epoch: int
    table: FloatArray
    state: Mapping[str, Any]
    settings: Mapping[str, Any]
    digest: str
    choices: Mapping[str, str] | None
    following: tuple[str, ...] | None


@dataclass(frozen=True)
class Saved:
    """A checkpoint that fits the run that continues it.

    Attributes:
        label: where it was read from.
        epoch: its last epoch.
        table: its trajectory, as :attr:`gdexp.descent.trajectory.Trajectory.table`.
        state: the state of the components, as :meth:`gdexp.descent.build.Components.state`, and
            as "best" the predictor's state in the best epoch, if the run was to restore it.
    """

    label: str
    epoch: int
    table: FloatArray
    state: Mapping[str, Any]


def contents(
    job: Job, built: Components, trajectory: Trajectory, best: Best | None = None
) -> tuple[str, bytes]:
    """The checkpoint after the trajectory's last epoch: (file name, content)."""
    state = built.state()
    if best is not None and best.state is not None:
        state["best"] = best.state
    content = pack(
        {
            "epoch": trajectory.length,
            "table": trajectory.table,
            "state": state,
            "settings": job.settings,
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


def read(named: str, fetch: Fetch | None) -> Checkpoint:
    """Read the checkpoint that a value of continue_from names.

    Args:
        named: a file, a folder of checkpoints, or the id of a recorded run.
        fetch: reads the newest checkpoint of a recorded run; None if there is no store.

    Raises:
        ConfigError: if it does not exist or is damaged.
    """
    label, content = _read_file(named, fetch)
    try:
        parts = unpack_parts(content, PARTS, NEWER)
        check_mapping(parts[PARTS.index("settings")], "settings")
    except ValueError as error:
        reason = str(error).rstrip(".:")
        raise ConfigError(f"continue_from: {label} is not a gdexp checkpoint: {reason}.") from error
    return Checkpoint(label, *parts)


def fit(job: Job, built: Components, checkpoint: Checkpoint) -> Saved:
    """Check that a checkpoint fits the run that continues it.

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
    saved = Saved(label, epoch, checkpoint.table, checkpoint.state)
    try:
        _check_table(saved, built)
        _check_state(saved, built)
    except Exception as error:  # torch may raise anything when it loads a state
        reason = first_line(error).rstrip(".:")
        raise ConfigError(f"continue_from: {label} is damaged: {reason}.") from error
    if epoch >= iters:
        raise ConfigError(
            f"iters: the checkpoint is already at epoch {epoch}, so iters must be more than that, "
            f"not {iters}. Type for example iters={2 * epoch}."
        )
    if job.settings["scheduler"] == checkpoint.settings["scheduler"]:
        return saved
    # The schedule follows iters, so its length has changed.
    schedule = built.scheduler.replayed(epoch)
    schedule["numbers"] = saved.state["scheduler"]["numbers"] | schedule["numbers"]
    return replace(saved, state={**saved.state, "scheduler": schedule})


def _check_table(saved: Saved, built: Components) -> None:
    """Raise ValueError if the table does not have the run's curves and the checkpoint's epochs."""
    curves = 1 + 2 * len(Trajectory(built.predictor.parameters, 0).names)
    curves += (built.kept is not None) + (built.scheduler is not None)
    if type(saved.epoch) is not int or saved.epoch < 1:
        raise ValueError(f"its epoch is {saved.epoch!r}")
    shape = np.shape(saved.table)
    if shape != (curves, saved.epoch):
        raise ValueError(f"its table has shape {shape}, not {(curves, saved.epoch)}")
    if saved.table.dtype != np.float64 or not np.isfinite(saved.table).all():
        raise ValueError("its table does not hold finite numbers")


def _check_state(saved: Saved, built: Components) -> None:
    """Raise if the state cannot be loaded; the components are left at their start."""
    check_mapping(saved.state, "its state")
    start = copy.deepcopy(built.state())
    for part in start:
        if part != "random" and part not in saved.state:
            raise ValueError(f"it has no state of the {part}")
    if "best" in saved.state:
        predictors.load_state(built.predictor, saved.state["best"])
    built.load(saved.state)
    built.load(start)


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


def _read_file(named: str, fetch: Fetch | None) -> tuple[str, bytes]:
    """Read a file, the newest file in a folder, or a run's newest; returns (label, content).

    Raises:
        ConfigError: if there is no such file or run, or it cannot be read.
    """
    path = absolute(named)
    if path.is_dir():
        newest = sorted(path.glob("*.npz"))
        if not newest:
            raise ConfigError(f"continue_from: the folder {path} contains no checkpoint, *.npz.")
        path = newest[-1]
    if path.is_file():
        try:
            return str(path), path.read_bytes()
        except OSError as error:
            raise ConfigError(f"continue_from: {path} cannot be read: {error.strerror}.") from error
    if fetch is None:
        raise ConfigError(
            f"continue_from: there is no file {path}, and tracking=off rules out recorded runs."
        )
    return fetch(named)
