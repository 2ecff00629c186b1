"""The cells of a Parquet file as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdexp.data.columns import ENCODE
from gdexp.errors import ConfigError


class ParquetFile:
    """A Parquet file.

    Args:
        path: the file.

    Raises:
        ConfigError: it is no Parquet file.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self.path = path
        with _refusing(path):
            self._types = pyarrow.parquet.read_schema(path)
        self.columns: list[str] = self._types.names

    def check(self, columns: tuple[str, ...]) -> None:
        """Refuse columns that hold no numbers.

        Raises:
            ConfigError: a column holds texts, dates, lists, …
        """
        from pyarrow import types

        numeric = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        for name in columns:
            kind = self._types.field(name).type
            if not (types.is_null(kind) or any(test(kind) for test in numeric)):
                raise ConfigError(
                    f"data.path: {self.path.name}, column {name!r}: its type, {kind}, is no "
                    f"number's. {ENCODE}"
                )

    def read(self, columns: tuple[str, ...], rows: int) -> Iterator[NDArray[np.float64]]:
        """These columns in pieces of so many rows; an empty cell is NaN.

        Raises:
            ConfigError: the file cannot be read.
        """
        import pyarrow.compute
        import pyarrow.parquet

        with _refusing(self.path), pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(rows, columns=list(columns)):
                table = np.empty((len(batch), len(columns)))
                for position, name in enumerate(columns):
                    numbers = pyarrow.compute.cast(batch.column(name), "float64", safe=False)
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
