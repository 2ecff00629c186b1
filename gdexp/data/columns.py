"""Which columns of a file are fitted: the target, the features, and sentences about both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gdexp.errors import ConfigError, did_you_mean

SHOWN = 12  # columns named in a sentence
LONGEST = 40  # characters of a cell shown in one
ENCODE = "Encode classes as numbers 0, 1, …, or name the columns to use, as in data.features=[a,b]."


def find(path: str | None, ending: str) -> Path:
    """The file at a path relative to the working folder.

    Raises:
        ConfigError: no path is given, or there is no file of that name.
    """
    if not path:
        raise ConfigError(f"data.path: name the file to read, as in data.path=table.{ending}.")
    found = Path(path).expanduser().absolute()
    if found.is_dir():
        raise ConfigError(f"data.path: {found} is a folder. Name a file in it.")
    if found.exists() and not found.is_file():
        raise ConfigError(
            f"data.path: {found} is a pipe or a device. Name a file that holds the table."
        )
    if not found.is_file():
        names = [entry.name for entry in found.parent.iterdir()] if found.parent.is_dir() else []
        nearest = did_you_mean(found.name, names, prefix=f"data.path={_folder(path)}")
        raise ConfigError(f"data.path: there is no file {found}.{nearest}")
    return found


def choose(
    columns: Sequence[str], target: str | int | None, features: Sequence[Any] | None
) -> tuple[str, tuple[str, ...]]:
    """The target and the features among the columns of a file.

    Args:
        columns: every column of the file.
        target: the one to predict.
        features: those to predict it from; None: all others.

    Raises:
        ConfigError: a name is missing, unknown or there twice, or nothing is left to predict from.
    """
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise ConfigError(f"data.path: two columns are called {twice[0]!r}. Rename one of them.")
    if target is None:
        raise ConfigError(
            f"data.target: name the column to predict, as in data.target={columns[-1]}. "
            + _there(columns)
        )
    target = str(target)
    _known("data.target", target, columns)
    others = [name for name in columns if name != target]
    chosen = others if features is None else _listed(features)
    if "" in chosen:
        raise ConfigError(
            f"data.features: column {columns.index('') + 1} of the file has no name. Give it one, "
            "or name the columns to use, as in data.features=[a,b]."
        )
    for name in chosen:
        _known("data.features", name, columns)
        if name == target:
            raise ConfigError(
                f"data.features: {name!r} is the column to predict, data.target. Leave it out."
            )
        if chosen.count(name) > 1:
            raise ConfigError(f"data.features: {name!r} is named twice. Name it once.")
    if not chosen:
        raise ConfigError(
            f"data.features: {target!r} is the file's only column, so there is nothing to predict "
            "it from."
            if features is None
            else "data.features: name one column or more, or type null for all but the target."
        )
    return target, tuple(chosen)


def cut(value: Any) -> str:
    """A cell as it stands in the file, cut where it is long."""
    text = str(value)
    return repr(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def _listed(features: Any) -> list[str]:
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise ConfigError(
            f"data.features: {features!r} is not a list of columns. Type "
            f"data.features=[{features}]."
        )
    return [str(name) for name in features]


def _known(key: str, name: str, columns: Sequence[str]) -> None:
    if name not in columns:
        raise ConfigError(
            f"{key}: the file has no column {name!r}. {_there(columns)}"
            + did_you_mean(name, columns)
        )


def _there(columns: Sequence[str]) -> str:
    names = ", ".join(columns[:SHOWN])
    more = len(columns) - SHOWN
    return f"It has: {names}{f' and {more} more' if more > 0 else ''}."


def _folder(path: str) -> str:
    """What is typed before a file's name."""
    return path[: path.rfind("/") + 1]
