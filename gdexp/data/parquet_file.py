"""Read a Parquet file as numbers."""

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
        path: the file's path.
        file: the open file; every read goes through it, so the file is opened once.
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
            ConfigError: if it cannot be read or is not a Parquet file.
        """
        from pyarrow import parquet

        with _refusing(path), parquet.ParquetFile(path) as file:
            yield cls(path, file)

    def _check(self, columns: tuple[str, ...]) -> None:
        """Raise ConfigError if a column does not hold numbers."""
        from pyarrow import types

        numeric = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        for name in columns:
            kind = self._file.schema_arrow.field(name).type
            if not (types.is_null(kind) or any(test(kind) for test in numeric)):
                raise ConfigError(
                    f"data.path: {self.path.name}, column {name!r}: its type, {kind}, is not "
                    f"numeric. {ENCODE}"
                )

    def read(self, columns: tuple[str, ...], rows: int) -> Iterator[NDArray[np.float64]]:
        """Read columns in chunks of at most ``rows`` rows; an empty cell is NaN.

        Raises:
            ConfigError: if a column does not hold numbers, or the file cannot be read.
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
        """The number of a row, counted from 0, in words; its cells need not be quoted."""
        del column
        return f"row {row + 1}", "the cell"


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn a reader's exception into a ConfigError about the file."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"data.path: {path} cannot be read as Parquet: {reason}. For a CSV file, type data=csv."
        ) from error
