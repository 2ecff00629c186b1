"""Find a data file, and choose the target and the features among its columns."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.config.paths import absolute
from gdexp.errors import ConfigError, cut, did_you_mean

SHOWN = 12  # columns named in a sentence
LONGEST = 40  # characters of a cell shown in one

Column: TypeAlias = NDArray[np.float64] | NDArray[np.object_]
"""The cells of a column: numbers with NaN for an empty cell, or strings with None for one."""

INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*")  # pandas' names for an index


def find(path: str | None, ending: str, *, folders: bool = False) -> Path:
    """The absolute path of a data file; a relative one starts from the working folder.

    Args:
        path: the path as typed.
        ending: the usual ending of such a file's name.
        folders: whether it may be a folder.

    Raises:
        ConfigError: if no path is given or the file does not exist.
    """
    if not path:
        raise ConfigError(f"data.path: name the file to read, as in data.path=table.{ending}.")
    if "://" in path:
        raise ConfigError(f"data.path: {path} is a URL. Download the file, and name the copy.")
    file = absolute(os.path.expanduser(path))
    if file.is_dir() and folders:
        return file
    if file.is_dir():
        raise ConfigError(
            f"data.path: {file} is a folder. Name a file in it; a folder of Parquet files is "
            "data=parquet."
        )
    if file.exists() and not file.is_file():
        raise ConfigError(
            f"data.path: {file} is a pipe or a device. Name a file that holds the table."
        )
    if not file.is_file():
        names = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        folder = path[: path.rfind("/") + 1]  # as typed
        nearest = did_you_mean(file.name, names, prefix=f"data.path={folder}")
        raise ConfigError(f"data.path: there is no file {file}.{nearest}")
    return file


def choose(
    columns: Sequence[str],
    target: str | int | None,
    features: Sequence[Any] | None,
    drop: Sequence[Any] = (),
    index: Collection[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """The names of the target and the features.

    Args:
        columns: all columns of the file.
        target: the column to predict.
        features: the columns to predict it from; None for all others, but for the index of a pandas
            data frame.
        drop: columns to leave out.
        index: further columns that hold an index.

    Raises:
        ConfigError: if a name is missing, unknown or duplicated, or there are no features.
    """
    duplicates = [name for name, count in Counter(columns).items() if count > 1 and name]
    if duplicates:
        raise ConfigError(
            f"data.path: two columns are named {duplicates[0]!r}. Rename one of them."
        )
    if target is None:
        if "null" in columns:
            raise ConfigError(
                "data.target: for the column called null, type 'data.target=\"null\"'"
            )
        raise ConfigError(
            f"data.target: name the column to predict, as in data.target={columns[-1]}. "
            + _list_columns(columns)
        )
    target = str(target)
    _check_known("data.target", target, columns)
    dropped = _names("data.drop", drop, columns, target)
    others = [
        name
        for position, name in enumerate(columns)
        if name not in (target, *dropped, *index) and not _is_index(name, position)
    ]
    chosen = others if features is None else _names("data.features", features, columns, target)
    if "" in chosen:
        raise ConfigError(
            f"data.features: column {[*columns[1:], ''].index('') + 2} of the file has no name. "
            "Give it one, or name the columns to use, as in data.features=[a,b]."
        )
    for name in chosen:
        if name in dropped:
            raise ConfigError(
                f"data.drop: {name!r} is listed in data.features too. Leave it out of one of them."
            )
    if not chosen:
        raise ConfigError(
            "data.features: name one column or more, or type null for all but the target."
            if features is not None
            else "data.drop: no column is left to predict from. Leave fewer out."
            if dropped
            else f"data.features: {target!r} is the file's only column, so there is nothing to "
            "predict it from."
        )
    return target, tuple(chosen)


def _names(key: str, names: Sequence[Any], columns: Sequence[str], target: str) -> list[str]:
    """The columns listed in a setting, checked."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ConfigError(f"{key}: {names!r} is not a list of columns. Type {key}=[{names}].")
    listed = [str(name) for name in names]
    for name in listed:
        _check_known(key, name, columns)
        if name == target:
            raise ConfigError(
                f"{key}: {name!r} is the column to predict, data.target. Leave it out."
            )
        if listed.count(name) > 1:
            raise ConfigError(f"{key}: {name!r} is listed twice. List it once.")
    return listed


def _is_index(name: str, position: int) -> bool:
    """Whether a column is named as pandas and R name the row names that they write to a file."""
    return INDEX.fullmatch(name) is not None or (name == "" and position == 0)


def quoted(value: Any) -> str:
    """A cell as it is in the file, in quotes, truncated if it is long."""
    return repr(cut(str(value), LONGEST))


def _check_known(key: str, name: str, columns: Sequence[str]) -> None:
    if name not in columns:
        raise ConfigError(
            f"{key}: the file has no column {name!r}. {_list_columns(columns)}"
            + did_you_mean(name, columns)
        )


def _list_columns(columns: Sequence[str]) -> str:
    names = ", ".join(columns[:SHOWN])
    more = len(columns) - SHOWN
    return f"It has: {names}{f' and {more} more' if more > 0 else ''}."
