"""Data sources: each yields a Dataset of NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import ConfigError


@dataclass(frozen=True)
class Dataset:
    """A table to fit: inputs x of shape (n,), targets y of shape (n,), and what they are called."""

    x: NDArray[Any]
    y: NDArray[Any]
    name: str

    def astype(self, dtype: str) -> Dataset:
        """The same table in another precision."""
        return Dataset(self.x.astype(dtype), self.y.astype(dtype), self.name)


def points(x: Sequence[float], y: Sequence[float], name: str) -> Dataset:
    """A table written out in the configuration.

    Args:
        x: the inputs, n numbers.
        y: the targets, n numbers.
        name: what the table is called in MLflow.

    Raises:
        ConfigError: the two differ in length, are empty, or hold what is no finite number.
    """
    for key, values in (("data.x", x), ("data.y", y)):
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ConfigError(f"{key}: {values!r} is not a list of numbers. Type {key}=[1,2,3].")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{key}: {value!r} is not a number. Type {key}=[1,2,3].")
            if not math.isfinite(value):
                raise ConfigError(f"{key}: {value} is not a finite number.")
    if len(x) != len(y):
        raise ConfigError(
            f"data.x has {len(x)} numbers and data.y has {len(y)}: give each input one target."
        )
    return Dataset(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64), name)
