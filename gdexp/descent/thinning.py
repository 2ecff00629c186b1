"""Thinning a long curve to the points that a picture can show."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 200  # of epochs, each shown by its smallest and its largest value


def thin(values: NDArray[np.float64], buckets: int = BUCKETS) -> NDArray[np.int64]:
    """The indices of the points to draw: all finite ones, or the extremes of each bucket of them.

    The first and the last are always among them, and so are the smallest and the largest.

    >>> thin(np.array([1.0, np.nan, 3.0]))
    array([0, 2])
    >>> len(thin(np.linspace(0, 1, 100_000))) <= 2 * BUCKETS + 2
    True
    """
    indices: NDArray[Any] = np.flatnonzero(np.isfinite(values))
    if len(indices) <= 2 * buckets:
        return indices
    edges = np.linspace(0, len(indices), buckets + 1).astype(int)
    parts = [indices[a:b] for a, b in pairwise(edges)]
    extremes = {int(part[f(values[part])]) for part in parts for f in (np.argmin, np.argmax)}
    return np.array(sorted(extremes | {int(indices[0]), int(indices[-1])}))
