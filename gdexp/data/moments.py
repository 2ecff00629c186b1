"""Mean and standard deviation of columns of any magnitude, and which can be standardized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import ConfigError

Floats: TypeAlias = NDArray[np.float64]

LEAST, LARGEST = 1e-304, 1e304  # beyond them, float64 has no room for differences and sums


def deviations(x: Floats, of: Callable[[Floats], Floats]) -> Floats:
    """The standard deviation of each column, also where its square has no place in a float64.

    Args:
        x: the columns, shape (n, d).
        of: computes the deviations, shape (d,), from columns whose squares are ordinary numbers;
            those of c times a column are c times its own.
    """
    exponents = np.frexp(np.abs(x).max(axis=0))[1]
    exponents[np.abs(exponents) < 400] = 0
    scaled = of(np.ldexp(x, -exponents) if exponents.any() else x)
    # A tiny deviation may be rounded to 0, but only a constant column has none.
    return np.maximum(np.ldexp(scaled, exponents), np.where(scaled > 0, 5e-324, 0.0))


def check_range(setting: str, name: str, mean: float, scale: float) -> None:
    """Refuse a column whose deviations or sums may have no place in a float64.

    Raises:
        ConfigError: the standard deviation is too small or too large, or the mean too large.
    """
    if not (scale >= LEAST and max(abs(mean), scale) <= LARGEST):
        raise ConfigError(
            f"{setting}: column {name!r} has the mean {mean:.3g} and the standard deviation "
            f"{scale:.3g}; deviations from {LEAST:g} and numbers up to {LARGEST:g} can be "
            f"standardized. Give the column another unit, or type {setting}=false."
        )


def check_finite(values: Floats, names: Sequence[str], scales: Floats) -> None:
    """Refuse rows held back that are too far from the training rows for a float64."""
    for j in np.flatnonzero(~np.isfinite(values).all(axis=0))[:1]:
        raise ConfigError(
            f"data.validation: column {names[j]!r} of the rows held back is too far from the rows "
            f"to train on, whose standard deviation is {scales[j]:.3g}. Correct the table, or type "
            "data.validation=0."
        )


def means_of(x: NDArray[Any]) -> Floats:
    """The mean of each column, also where their sum has no place in a float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.atleast_1d(x.mean(axis=0, dtype=np.float64))
    if np.isfinite(means).all():
        return means
    return np.atleast_1d(np.ldexp(np.ldexp(x, -64).mean(axis=0, dtype=np.float64), 64))
