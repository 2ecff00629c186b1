"""Reading a checkpoint: from a file, the newest in a folder, or the newest of a recorded run.

The bytes may be damaged, or written by somebody else; no code in them is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gdexp.config.paths import absolute
from gdexp.config.settings import SECTIONS
from gdexp.config.trust import BUILT
from gdexp.descent.archive import check_mapping, unpack_parts
from gdexp.descent.trajectory import FloatArray
from gdexp.errors import ConfigError, excerpt

Fetch: TypeAlias = Callable[[str], tuple[str, bytes]]
"""Reads the newest checkpoint of a recorded run; returns (label, content)."""

PARTS = ("epoch", "table", "state", "settings", "digest")
NEWER = ("choices", "following")  # parts that older checkpoints lack


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint; :func:`gdexp.descent.checkpoint.fit` compares it with the run to continue.

    Attributes:
        label: where it was read from.
        epoch: its last epoch.
        table: its trajectory, as :attr:`gdexp.descent.trajectory.Trajectory.table`.
        state: the state of the components, as :meth:`gdexp.descent.build.Components.state`, and
            as "best" the predictor's state in the best epoch, if the run was to restore it.
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


def read(named: str, fetch: Fetch | None) -> Checkpoint:
    """Read the checkpoint that a value of continue_from names.

    Args:
        named: a file, a folder of checkpoints, or the id of a recorded run.
        fetch: reads the newest checkpoint of a recorded run; None without a store.

    Raises:
        ConfigError: if it does not exist or is damaged.
    """
    label, content = _read_file(named, fetch)
    try:
        checkpoint = Checkpoint(label, *unpack_parts(content, PARTS, NEWER))
        _check_parts(checkpoint)
    except ValueError as error:
        reason = str(error).rstrip(".:")
        raise ConfigError(f"continue_from: {label} is not a gdexp checkpoint: {reason}.") from error
    return checkpoint


def _check_parts(checkpoint: Checkpoint) -> None:
    """Raise ValueError if a part of a checkpoint, apart from its state, is of the wrong kind."""
    settings = check_mapping(checkpoint.settings, "settings")
    for family in BUILT:
        node = check_mapping(settings.get(family), family)
        known = str if family != "scheduler" else str | None
        if "_target_" not in node or not isinstance(node["_target_"], known):
            raise ValueError(f"{family} has no _target_")
    for section in SECTIONS:
        check_mapping(settings.get(section, {}), section)
    if type(settings.get("iters")) is not int:
        raise ValueError(f"its iters is {excerpt(settings.get('iters'))}")
    choices = {} if checkpoint.choices is None else checkpoint.choices
    choices = check_mapping(choices, "its choices")
    if not all(isinstance(text, str) for pair in choices.items() for text in pair):
        raise ValueError("its choices are not names")
    following = () if checkpoint.following is None else checkpoint.following
    keys = [f"scheduler.{name}" for name in settings["scheduler"]]
    if not (isinstance(following, tuple) and all(key in keys for key in following)):
        raise ValueError("the settings that follow iters are not those of a scheduler")


def _read_file(named: str, fetch: Fetch | None) -> tuple[str, bytes]:
    """Read a file, the newest file in a folder, or a run's newest; returns (label, content).

    Raises:
        ConfigError: the file or run does not exist or cannot be read.
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
