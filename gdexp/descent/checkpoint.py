"""The state of a run between two epochs: written down, and taken up again bit for bit.

A checkpoint is a file as :mod:`gdexp.descent.archive` packs it, so that loading one runs no code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gdexp.config.compose import new_stamp
from gdexp.config.job import Job
from gdexp.config.paths import OUTPUTS, absolute
from gdexp.config.schema import shown
from gdexp.config.settings import default_of
from gdexp.descent.archive import pack, unpack
from gdexp.descent.build import Components
from gdexp.descent.trajectory import FloatArray, Trajectory
from gdexp.errors import ConfigError, first_line

Fetch: TypeAlias = Callable[[str], tuple[str, bytes]]
"""Reads the newest checkpoint of a recorded run: what to call it, and its content."""

FREE = ("iters", "continue_from", "checkpoint", "tracking", "print_every", "stop", "sweep")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that fits the run that continues it.

    Attributes:
        epoch: the last epoch that is in it.
        table: every epoch so far, as :attr:`gdexp.descent.trajectory.Trajectory.table`.
        state: of the predictor, the updater, the scheduler and the random draws.
    """

    epoch: int
    table: FloatArray
    state: Mapping[str, Any]


def contents(job: Job, built: Components, seen: Trajectory) -> tuple[str, bytes]:
    """The checkpoint after the last epoch of a run: the name of its file, and the file."""
    content = pack(
        {
            "epoch": seen.length,
            "settings": job.settings,
            "digest": built.data.digest,
            "table": seen.table,
            "state": built.state(),
        }
    )
    return f"{seen.length:08d}.npz", content


class Folder:
    """Where a run that is not recorded keeps its checkpoints; created for the first one."""

    def __init__(self) -> None:
        self._folder = absolute(OUTPUTS) / "checkpoints" / new_stamp()

    def keep(self, name: str, content: bytes) -> str:
        """Write a checkpoint; the answer is what continue_from takes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{name}"
        partial.write_bytes(content)
        partial.replace(self._folder / name)  # whole or not there
        return str(self._folder)


def restore(saved: Saved, built: Components, seen: Trajectory) -> None:
    """Put everything back as it was after the checkpoint's last epoch."""
    seen.restore(saved.table)
    built.load(saved.state)


def read(job: Job, built: Components, fetch: Fetch | None) -> Saved | None:
    """The checkpoint that a job continues; None if it starts from scratch.

    Args:
        job: the job.
        built: its components.
        fetch: reads the newest checkpoint of a recorded run; None: there is no store.

    Raises:
        ConfigError: there is none, it is of another configuration or other data, the run would end
            before it, or the updater does not expose its state.
    """
    named = job.settings["continue_from"]
    if named is not None or job.settings["checkpoint"]["every"]:
        _check_state(job, built)
    if named is None:
        return None
    path, content = _read_file(named, fetch)
    try:
        parts = unpack(content)
        if not isinstance(parts, Mapping):
            raise ValueError("it is not a mapping")
        saved = Saved(parts["epoch"], parts["table"], parts["state"])
        other, digest = dict(parts["settings"]), parts["digest"]
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(
            f"continue_from: {path} is not a gdexp checkpoint: {_reason(error)}."
        ) from error
    differing = list(_differences(other, job.settings))
    if differing:
        raise ConfigError(
            f"continue_from: the checkpoint {path} is of another configuration: "
            f"{'; '.join(differing)}. Type the same settings."
        )
    if digest != built.data.digest:
        raise ConfigError(f"continue_from: the data have changed since {path} was written.")
    try:
        _check_table(saved, built)
        _check_load(saved, built)
    except Exception as error:  # so may torch, on a state that is not its own
        raise ConfigError(f"continue_from: {path} is damaged: {_reason(error)}.") from error
    if saved.epoch >= job.settings["iters"]:
        raise ConfigError(
            f"iters: {job.settings['iters']} epochs are done already, for the checkpoint is of "
            f"epoch {saved.epoch}. Type for example iters={2 * saved.epoch}."
        )
    return saved


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else first_line(error).rstrip(".:")


def _check_table(saved: Saved, built: Components) -> None:
    """Refuse a table that is not of this run's curves, or not of so many epochs."""
    curves = 1 + 2 * len(Trajectory(built.predictor.parameters, 0).names)
    curves += (built.kept is not None) + (built.scheduler is not None)
    if type(saved.epoch) is not int or saved.epoch < 1:
        raise ValueError(f"its epoch is {saved.epoch!r}")
    shape = np.shape(saved.table)
    if shape != (curves, saved.epoch):
        raise ValueError(f"its table has shape {shape}, not {(curves, saved.epoch)}")
    if saved.table.dtype != np.float64 or not np.isfinite(saved.table).all():
        raise ValueError("its table does not hold finite numbers")


def _check_load(saved: Saved, built: Components) -> None:
    """Load the state and put the start back: what cannot be loaded is refused before the run."""
    if not isinstance(saved.state, Mapping):
        raise ValueError("its state is not a mapping")
    start = copy.deepcopy(built.state())
    for part in start:
        if part != "random" and part not in saved.state:
            raise ValueError(f"it has no state of the {part}")
    built.load(saved.state)
    built.load(start)


def _check_state(job: Job, built: Components) -> None:
    updater = getattr(built.updater, "updater", built.updater)
    if not (hasattr(updater, "state") and hasattr(updater, "load")):
        raise ConfigError(
            f"checkpoint.every: updater={job.choices['updater']} has no state() and load(), so "
            "a run could not go on from where it was. Give it both, or type checkpoint.every=null."
        )


def _read_file(named: str, fetch: Fetch | None) -> tuple[str, bytes]:
    """A file by its path, the newest in a folder, or the newest of a run, with what to call it.

    Raises:
        ConfigError: there is no such file or run, or it cannot be read.
    """
    path = absolute(named)
    if path.is_dir():
        newest = sorted(path.glob("*.npz"))
        if not newest:
            raise ConfigError(f"continue_from: the folder {path} has no checkpoint, *.npz, in it.")
        path = newest[-1]
    if path.is_file():
        try:
            return str(path), path.read_bytes()
        except OSError as error:
            raise ConfigError(f"continue_from: {path} cannot be read: {error.strerror}.") from error
    if fetch is None:
        raise ConfigError(
            f"continue_from: there is no file {path}, and with tracking=off no run to look for."
        )
    return fetch(named)


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The settings that differ; one that an older checkpoint lacks counts as its default."""
    before, now = _flat(there), _flat(here)
    pairs = {key: (before.get(key, default_of(key)), now.get(key)) for key in before | now}
    return [
        f"{key}: {shown(old)} there, {shown(new)} here"
        for key, (old, new) in pairs.items()
        if old != new
    ]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the result, those of a section as ``section.name``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in FREE:
            section = isinstance(value, dict)
            flat |= {f"{key}.{name}": v for name, v in value.items()} if section else {key: value}
    return flat
