"""The cells of a Parquet file as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdexp.data.columns import ENCODE
from gdexp.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow import parquet


class ParquetFile:
    """An open Parquet file.

    Args:
        path: the file.
        file: the same file, open; schema and cells are read through it, so it is opened once.
    """

    def __init__(self, path: Path, file: parquet.ParquetFile) -> None:
        self.path = path
        self._file = file
        self.columns: list[str] = file.schema_arrow.names

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[ParquetFile]:
        """Open the file.

        Raises:
            ConfigError: it cannot be read, or is not a Parquet file.
        """
        from pyarrow import parquet

        with _refusing(path), parquet.ParquetFile(path) as file:
            yield cls(path, file)

    def _check(self, columns: tuple[str, ...]) -> None:
        """Refuse columns of strings, dates or lists."""
        from pyarrow import types

        numeric = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        for name in columns:
            kind = self._file.schema_arrow.field(name).type
            if not (types.is_null(kind) or any(test(kind) for test in numeric)):
                raise ConfigError(
                    f"data.path: {self.path.name}, column {name!r}: its type, {kind}, is no "
                    f"number's. {ENCODE}"
                )

    def read(self, columns: tuple[str, ...], rows: int) -> Iterator[NDArray[np.float64]]:
        """These columns in pieces of so many rows; an empty cell is NaN.

        Raises:
            ConfigError: a column does not hold numbers, or the file cannot be read.
        """
        from pyarrow import compute

        self._check(columns)
        for batch in self._file.iter_batches(rows, columns=list(columns)):
            table = np.empty((len(batch), len(columns)))
            for position, name in enumerate(columns):
                numbers = compute.cast(batch.column(name), "float64", safe=False)
                table[:, position] = numbers.to_numpy(zero_copy_only=False)
            yield table

    def place(self, row: int, column: str) -> tuple[str, str]:
        """Where a row, counted from 0, is in the file, and how its cell in a column reads there."""
        del column
        return f"row {row + 1}", "the cell"


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn a reader's complaint into a sentence about the file."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"data.path: {path} is no Parquet file that can be read: {reason}. A CSV file is read "
            "by data=csv."
        ) from error
