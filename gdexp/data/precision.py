"""Refuse numbers that a run's precision cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdexp.data.dataset import Dataset
from gdexp.errors import ConfigError


def check_table(table: Dataset, dtype: str) -> None:
    """Refuse a table with a column that does not fit.

    Args:
        table: the table, as it is fitted.
        dtype: float32 or float64.

    Raises:
        ConfigError: as :func:`check_fits`.
    """
    if dtype == str(table.x.dtype) or not len(table.y):
        return
    x = table.x.reshape(len(table.y), table.width)
    extremes = np.maximum(x.max(axis=0), -x.min(axis=0))
    for name, largest in zip(table.features, extremes, strict=True):
        check_fits(f"data: column {name!r} holds", largest, dtype)
    check_fits(f"data: column {table.target!r} holds", np.abs(table.y).max(), dtype)


def check_fits(what: str, largest: Any, dtype: str) -> None:
    """Refuse a number that is infinite in a precision, or 0 though it is not.

    Args:
        what: the start of the sentence, such as "predict_at:".
        largest: the number, or an array of which the largest absolute value counts.
        dtype: float32 or float64.

    Raises:
        ConfigError: if it does not fit.

    >>> check_fits("predict_at:", 1e39, "float32")
    Traceback (most recent call last):
    gdexp.errors.ConfigError: predict_at: 1e+39, which does not fit in float32 (up to 3.4e+38). \
Type dtype=float64.
    """
    number = float(np.abs(largest).max())
    with np.errstate(over="ignore", under="ignore"):
        held = float(np.dtype(dtype).type(number))
    if np.isinf(held) or (number and not held):
        limits = np.finfo(dtype)
        bound = f"up to {limits.max:.2g}" if np.isinf(held) else f"from {limits.tiny:.2g}"
        way_out = "Type dtype=float64." if dtype == "float32" else "Give it another unit."
        raise ConfigError(f"{what} {number:g}, which does not fit in {dtype} ({bound}). {way_out}")
