"""Read a Parquet file as numbers and strings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.advice import CORRECT, NO_TEXT, advice, text_columns
from gdexp.data.columns import Column, cut
from gdexp.data.numbers import EMPTY, Notation
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

    @property
    def index(self) -> frozenset[str]:
        """The columns that hold the index of a pandas data frame."""
        metadata = self._file.schema_arrow.metadata or {}
        described = json.loads(metadata.get(b"pandas", b"{}")).get("index_columns", [])
        return frozenset(name for name in described if isinstance(name, str))

    def text_columns(self, columns: tuple[str, ...]) -> frozenset[str]:
        """The columns of text, as :meth:`gdexp.data.csv_file.CsvFile.text_columns` tells them."""
        strings = [name for name in columns if self._is_text(name)]
        batches = self._file.iter_batches(1000, columns=strings) if strings else ()
        rows = (
            dict(zip(strings, cells, strict=True))
            for batch in batches
            for cells in zip(*(_strings(batch.column(name)) for name in strings), strict=True)
        )
        return text_columns(strings, rows, Notation())

    def read(
        self, columns: tuple[str, ...], rows: int, text: frozenset[str] = frozenset()
    ) -> Iterator[list[Column]]:
        """Read columns in chunks of at most ``rows`` rows.

        Arguments and result are those of :meth:`gdexp.data.csv_file.CsvFile.read`. A number may be
        stored as a string.

        Raises:
            ConfigError: if a column holds neither numbers nor strings, a cell is not a number, a
                cell in ``text`` is one, or the file cannot be read.
        """
        self._check(columns)
        seen = 0
        for batch in self._file.iter_batches(rows, columns=list(columns)):
            yield [self._column(batch.column(name), name, name in text, seen) for name in columns]
            seen += len(batch)

    def place(self, row: int, column: str) -> tuple[str, str]:
        """The number of a row, counted from 0, in words; its cells need not be quoted."""
        del column
        return f"row {row + 1}", "the cell"

    def _column(self, cells: Any, name: str, text: bool, before: int) -> Column:
        from pyarrow import compute

        if not self._is_text(name):
            decoded = cells.dictionary_decode() if hasattr(cells, "dictionary") else cells
            cast = compute.cast(decoded, "float64", safe=False)
            numbers: NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
            return numbers
        strings, notation = _strings(cells), Notation()
        values = [notation.number(cell) for cell in strings]
        for row, (cell, value) in enumerate(zip(strings, values, strict=True)):
            if cell is not None and (value is None) != text:  # a word among numbers, or vice versa
                why = f"is not a number. {advice(cell, notation)}"
                raise ConfigError(
                    f"data.path: {self.path.name}, row {before + row + 1}, column {name!r}: "
                    f"{cut(cell)} {NO_TEXT if text else why}"
                )
        return strings if text else np.array(values, dtype=np.float64)

    def _is_text(self, name: str) -> bool:
        """Whether a column's type is a string, or a category of strings."""
        from pyarrow import types

        kind = self._file.schema_arrow.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        tests = (types.is_string, types.is_large_string, types.is_string_view)
        return any(test(kind) for test in tests)

    def _check(self, columns: tuple[str, ...]) -> None:
        """Raise ConfigError if a column holds neither numbers nor strings."""
        from pyarrow import types

        numeric = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        for name in columns:
            kind = self._file.schema_arrow.field(name).type
            inner = kind.value_type if types.is_dictionary(kind) else kind
            if not (types.is_null(inner) or self._is_text(name) or any(t(inner) for t in numeric)):
                raise ConfigError(
                    f"data.path: {self.path.name}, column {name!r}: its type, {kind}, is not "
                    f"numeric. {CORRECT}"
                )


def _strings(cells: Any) -> NDArray[np.object_]:
    """Strings with None for empty cells."""
    strings = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells.to_pylist()):
        stripped = "" if cell is None else cell.strip()
        strings[row] = None if stripped in EMPTY else stripped
    return strings


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
