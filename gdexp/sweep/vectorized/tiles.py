"""The tiles of a vectorized descent: a few epochs of many runs, computed, then judged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCHS = 64  # per tile


def totals(part: NDArray[np.float64], reads: int, kind: Any = np.float64) -> NDArray[Any]:
    """The sum of each epoch's numbers, in the order of :meth:`Trajectory.extend`, (epochs, runs).

    Args:
        part: a tile, shape (epochs, columns, runs), with the columns of
            :class:`gdexp.descent.trajectory.Trajectory`.
        reads: the number of columns that the parameters take.
        kind: the precision of a run alone; Python's floats have double precision.
    """
    total: NDArray[Any] = part[:, 0].astype(kind)
    for i in range(1, 1 + reads):
        total += (part[:, i] + part[:, i + reads]).astype(kind, copy=False)
    return total


def note_divergence(total: NDArray[Any], first: NDArray[np.int64], begin: int) -> None:
    """Note the first epoch of each run that is not finite.

    Args:
        total: the sum of each epoch's numbers, shape (epochs, runs).
        first: the first such epoch of each run, or one that bounds it, shape (runs,); changed.
        begin: the first epoch of the tile.
    """
    bad = ~np.isfinite(total)
    fresh = np.flatnonzero(bad.any(axis=0) & (first >= begin))
    first[fresh] = np.minimum(begin + bad[:, fresh].argmax(axis=0), first[fresh])
