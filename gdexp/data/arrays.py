"""Tables that a data source of one's own returns as ``(x, y)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.dataset import Dataset
from gdexp.errors import ConfigError

EXPECTED = (
    "A data source returns (x, y): x of shape (n,) or (n, d), y of shape (n,), as arrays, lists, "
    "tensors or data frames; or a gdexp.data.Dataset."
)


def as_source(value: Any, target: str) -> Any:
    """A data source's own Dataset or Source, or its ``(x, y)`` as a Dataset.

    The columns of a data frame give the features their names.

    Args:
        value: what the source returned.
        target: its path, for the table's name and for messages.

    Raises:
        ConfigError: it is neither, or x and y are not numbers of fitting shapes.

    >>> table = as_source(([[1, 2], [3, 4], [5, 6]], [1, 2, 3]), "mine.table")
    >>> table.name, table.features, table.x.shape
    ('table', ('x1', 'x2'), (3, 2))
    """
    if hasattr(value, "load") and hasattr(value, "open"):
        return value
    if not (isinstance(value, tuple | list) and len(value) == 2):
        frame = hasattr(value, "columns")
        example = " For a data frame: (table.drop(columns='y'), table['y'])." if frame else ""
        raise ConfigError(f"data: {target} returns {_kind(value)}. {EXPECTED}{example}")
    x, y = (_numbers(part, name, target) for part, name in zip(value, "xy", strict=True))
    if x.ndim == 2 and x.shape[1] == 1:
        x = x[:, 0]
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if x.ndim not in (1, 2) or y.ndim != 1 or len(x) != len(y) or not x.size:
        raise ConfigError(
            f"data: {target} returns x of shape {x.shape} and y of shape {y.shape}. {EXPECTED}"
        )
    features = _names(value[0]) or _default_names(x)
    goal = _names(value[1]) or ("y",)
    return Dataset(x, y, target.rpartition(".")[2], features, goal[0])


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _numbers(part: Any, name: str, target: str) -> NDArray[np.float64]:
    """The numbers of an array, a list, a tensor or a data frame.

    Raises:
        ConfigError: they are not numbers, or not finite.
    """
    try:
        raw = part.detach().cpu().numpy() if hasattr(part, "detach") else np.asarray(part)
        if raw.dtype.kind not in "fiubO":
            raise ValueError(f"its type is {raw.dtype}")
        if raw.dtype == object:  # a data frame with columns of several types
            words = [cell for cell in raw.flat if isinstance(cell, str)]
            if words:
                raise ValueError(f"it contains {words[0]!r}")
        array: NDArray[np.float64] = raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"data: {target} returns {name} that cannot be read as numbers: {error}. {EXPECTED}"
        ) from error
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0]) + 1
        raise ConfigError(
            f"data: {target} returns {name} with a number in row {row} that is "
            "not finite. Drop such rows."
        )
    return array


def _names(part: Any) -> tuple[str, ...]:
    """The columns of a data frame, or the name of a series; empty for anything else."""
    if hasattr(part, "columns"):
        return tuple(map(str, part.columns))
    name = getattr(part, "name", None)
    return () if name is None or not hasattr(part, "to_numpy") else (str(name),)


def _default_names(x: NDArray[np.float64]) -> tuple[str, ...]:
    return ("x",) if x.ndim == 1 else tuple(f"x{i}" for i in range(1, x.shape[1] + 1))
