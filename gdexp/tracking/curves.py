"""Thinning curves to a number of points, and writing Parquet files without pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.fitted_files import open_trajectory
from gdexp.descent.trajectory import Trajectory
from gdexp.errors import brief


def curve_epochs(iters: int, points: int) -> NDArray[np.int64]:
    """The epochs of a curve: all, or this many, evenly spaced, with the first and the last.

    >>> curve_epochs(5, 1000)
    array([1, 2, 3, 4, 5])
    >>> curve_epochs(1_000_000, 3)
    array([      1,  500000, 1000000])
    """
    if iters <= points:
        return np.arange(1, iters + 1)
    return np.linspace(1, iters, points).astype(np.int64)


def epoch_times(epochs: NDArray[np.int64], started: float, pace: float) -> NDArray[np.int64]:
    """When epochs were reached, in ms since 1970: interpolated, as the loop reads no clock.

    Args:
        epochs: the epochs.
        started: when the first began, in seconds since 1970.
        pace: seconds per epoch.
    """
    return ((started + pace * epochs) * 1000).astype(np.int64)


def parquet(trajectory: Trajectory) -> bytes:
    """Every epoch as a Parquet file: epoch, train/loss, param/<name>, grad/<name>."""
    import pyarrow as pa

    arrays = {"epoch": _numbers(trajectory.epochs, pa.int64())}
    columns = trajectory.columns().items()
    arrays |= {name: _numbers(values, pa.float64()) for name, values in columns}
    return _file(arrays)


def read_parquet(content: bytes, iters: int) -> Trajectory:
    """The trajectory in the content of a file that :func:`parquet` wrote.

    Args:
        content: the file's, which may be damaged.
        iters: the epochs that it has at most.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    import pyarrow as pa

    file = open_trajectory(content, iters)
    if not {*file.schema_arrow.types} <= {pa.int64(), pa.float64()}:
        raise ValueError("it has columns that are not numbers")
    try:
        columns = file.read(use_threads=False)
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"it cannot be read as Parquet ({brief(error)})") from error
    names = [name for name in columns.column_names if name != "epoch"]
    parameters = tuple(n.removeprefix("param/") for n in names if n.startswith("param/"))
    expected = [f"{kind}/{name}" for kind in ("param", "grad") for name in parameters]
    if names[: 1 + len(expected)] != ["train/loss", *expected] or len({*names}) < len(names):
        raise ValueError(f"its columns are {', '.join(columns.column_names)}")
    counted = np.arange(1, columns.num_rows + 1)
    if "epoch" not in columns.column_names or not np.array_equal(
        columns["epoch"].to_numpy(), counted
    ):
        raise ValueError(f"its column epoch does not count from 1 to {columns.num_rows}")
    table = np.array([columns[name].to_numpy() for name in names])
    if table.dtype != np.float64:
        raise ValueError("its columns are not all numbers in double precision")
    measures = names[1 + 2 * len(parameters) :]
    return Trajectory.of(table, parameters, columns.num_rows, False, measures)


def table_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file: all-number columns as float64, others as strings, missing as null."""
    import pyarrow as pa

    arrays = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(name) for row in rows]
        if all(cell is None or isinstance(cell, int | float) for cell in cells):
            numbers = np.array([np.nan if cell is None else cell for cell in cells], float)
            arrays[name] = _numbers(numbers, pa.float64(), [cell is not None for cell in cells])
        else:
            arrays[name] = _strings([None if cell is None else str(cell) for cell in cells])
    return _file(arrays)


def _numbers(values: NDArray[Any], kind: Any, valid: Sequence[bool] | None = None) -> Any:
    """An Arrow array over the same memory; ``pa.array`` would import pandas for it."""
    import pyarrow as pa

    mask = None if valid is None or all(valid) else _bits(valid)
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [mask, data])


def _strings(values: Sequence[str | None]) -> Any:
    import pyarrow as pa

    encoded = [(value or "").encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [_bits([v is not None for v in values]), pa.py_buffer(ends)]
    return pa.Array.from_buffers(
        pa.string(), len(values), [*buffers, pa.py_buffer(b"".join(encoded))]
    )


def _bits(valid: Sequence[bool]) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.array(valid, bool), bitorder="little"))


def _file(arrays: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(list(arrays.values()), names=list(arrays)), file)
    content: bytes = file.getvalue().to_pybytes()
    return content
