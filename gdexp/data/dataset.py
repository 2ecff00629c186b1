"""A table in memory, and the option that writes it out in the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.categories import Categories, Encoding
from gdexp.errors import ConfigError, excerpt

CHUNK = 65536  # rows: a few MB, so little memory and few calls

Chunk = tuple[NDArray[Any], NDArray[Any]]
"""Some rows of a table: inputs of shape (k,) or (k, d), targets of shape (k,)."""


@dataclass(frozen=True)
class Dataset:
    """A table in memory.

    Attributes:
        x: the inputs, shape (n,) for one feature, (n, d) for d features.
        y: the targets, shape (n,).
        name: the table's name in MLflow.
        features: the names of the columns of x.
        target: the name of y.
        encoding: how text among the inputs became numbers; None if there was none.
        classes: the names of the classes 0, 1, … of y; none if y holds numbers.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    name: str
    features: tuple[str, ...] = ("x",)
    target: str = "y"
    encoding: Encoding | None = None
    classes: Categories = ()

    @property
    def width(self) -> int:
        """The number of features, d."""
        return len(self.features)

    def load(self) -> Dataset:
        """The table itself, like :meth:`gdexp.data.Source.load`."""
        return self

    def open(self) -> AbstractContextManager[Dataset]:
        """The table itself, like :meth:`gdexp.data.Source.open`."""
        return nullcontext(self)

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """The table in chunks of at most ``rows`` rows, inputs of shape (k, d), without a copy."""
        x = self.x.reshape(len(self.y), self.width)
        for start in range(0, len(self.y), rows):
            yield x[start : start + rows], self.y[start : start + rows]


def points(x: Sequence[float], y: Sequence[float], name: str) -> Dataset:
    """A table written out in the configuration.

    Args:
        x: the inputs, n numbers.
        y: the targets, n numbers.
        name: the table's name in MLflow.

    Raises:
        ConfigError: if they differ in length, are empty, or contain a value that is not finite.
    """
    for key, values in (("data.x", x), ("data.y", y)):
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ConfigError(
                f"{key}: {excerpt(values)} is not a list of numbers. Type {key}=[1,2,3]."
            )
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{key}: {excerpt(value)} is not a number. Type {key}=[1,2,3].")
            if not math.isfinite(value):
                raise ConfigError(f"{key}: {value} is not a finite number.")
    if len(x) != len(y):
        raise ConfigError(
            f"data.x has {len(x)} numbers and data.y has {len(y)}: give each input one target."
        )
    return Dataset(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64), name)


vars(points)["inline"] = True  # a declaration, see gdexp.config.capabilities
