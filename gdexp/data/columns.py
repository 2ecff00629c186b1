"""Find a data file, and choose the target and the features among its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gdexp.config.paths import absolute
from gdexp.errors import ConfigError, did_you_mean

SHOWN = 12  # columns named in a sentence
LONGEST = 40  # characters of a cell shown in one
ENCODE = "Encode classes as numbers 0, 1, …, or name the columns to use, as in data.features=[a,b]."


def find(path: str | None, ending: str) -> Path:
    """The absolute path of a data file; a relative one starts from the working folder.

    Raises:
        ConfigError: if no path is given or the file does not exist.
    """
    if not path:
        raise ConfigError(f"data.path: name the file to read, as in data.path=table.{ending}.")
    file = absolute(Path(path).expanduser())
    if file.is_dir():
        raise ConfigError(f"data.path: {file} is a folder. Name a file in it.")
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
    columns: Sequence[str], target: str | int | None, features: Sequence[Any] | None
) -> tuple[str, tuple[str, ...]]:
    """The names of the target and the features.

    Args:
        columns: all columns of the file.
        target: the column to predict.
        features: the columns to predict it from; None for all others.

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
    others = [name for name in columns if name != target]
    if isinstance(features, str) or not isinstance(features, Sequence | None):
        raise ConfigError(
            f"data.features: {features!r} is not a list of columns. Type "
            f"data.features=[{features}]."
        )
    chosen = others if features is None else [str(name) for name in features]
    if "" in chosen:
        raise ConfigError(
            f"data.features: column {columns.index('') + 1} of the file has no name. Give it one, "
            "or name the columns to use, as in data.features=[a,b]."
        )
    for name in chosen:
        _check_known("data.features", name, columns)
        if name == target:
            raise ConfigError(
                f"data.features: {name!r} is the column to predict, data.target. Leave it out."
            )
        if chosen.count(name) > 1:
            raise ConfigError(f"data.features: {name!r} is listed twice. List it once.")
    if not chosen:
        raise ConfigError(
            f"data.features: {target!r} is the file's only column, so there is nothing to predict "
            "it from."
            if features is None
            else "data.features: name one column or more, or type null for all but the target."
        )
    return target, tuple(chosen)


def cut(value: Any) -> str:
    """A cell as it is in the file, truncated if it is long."""
    text = str(value)
    return repr(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


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
