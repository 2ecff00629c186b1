"""A trajectory as the store gets it: curves of so many points, and a file with every epoch."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.trajectory import Trajectory


def curve_epochs(iters: int, points: int) -> NDArray[np.int64]:
    """The epochs a curve shows: all of them, or as many as points, first and last included.

    >>> curve_epochs(5, 1000)
    array([1, 2, 3, 4, 5])
    >>> curve_epochs(1_000_000, 3)
    array([      1,  500000, 1000000])
    """
    if iters <= points:
        return np.arange(1, iters + 1)
    return np.linspace(1, iters, points).astype(np.int64)


def epoch_times(epochs: NDArray[np.int64], started: float, pace: float) -> NDArray[np.int64]:
    """When epochs were reached, in ms since 1970: interpolated, for the loop reads no clock.

    Args:
        epochs: the epochs.
        started: when the first began, in seconds since 1970.
        pace: seconds for an epoch.
    """
    return ((started + pace * epochs) * 1000).astype(np.int64)


def parquet(trajectory: Trajectory) -> bytes:
    """Every epoch in one Parquet file: epoch, train/loss, param/<name>, grad/<name>."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"epoch": trajectory.epochs, **trajectory.columns()}
    file = io.BytesIO()
    pq.write_table(pa.table({n: pa.array(v) for n, v in columns.items()}), file)
    return file.getvalue()
