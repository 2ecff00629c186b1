"""Tables in CSV and Parquet files, read in chunks of finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from gdexp.data.columns import choose, find
from gdexp.data.csv_file import CsvFile
from gdexp.data.csv_format import Format
from gdexp.data.dataset import CHUNK, Chunk, Dataset
from gdexp.data.parquet_file import ParquetFile
from gdexp.errors import ConfigError

Matrix = NDArray[np.float64]
Missing = Annotated[str, Literal["refuse", "drop"]]
Separator = Annotated[str, Literal["comma", "semicolon", "tab", "space", "pipe"]]
Decimal = Annotated[str, Literal["point", "comma"]]
Thousands = Annotated[str | None, Literal["comma", "point", "space", "apostrophe"]]


@dataclass(frozen=True)
class OpenTable:
    """A table in an open file; its columns are checked, its cells are checked as they are read.

    Attributes:
        file: the open file.
        name: the table's name in MLflow.
        features: the columns of the inputs.
        target: the column to predict.
        missing: "refuse" empty cells, or "drop" their rows.
    """

    file: CsvFile | ParquetFile
    name: str
    features: tuple[str, ...]
    target: str
    missing: str

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """See :meth:`Source.chunks`."""
        seen = kept = 0
        for columns in self.file.read((*self.features, self.target), rows):
            table: Matrix = np.column_stack(columns)
            full = self._finite(table, seen)
            seen, kept = seen + len(table), kept + len(full)
            if len(full):
                yield full[:, :-1], full[:, -1]
        if not kept:
            why = ": each has an empty cell" if seen else ""
            raise ConfigError(f"data.path: {self.file.path} has no rows to fit{why}.")

    def _finite(self, table: Matrix, before: int) -> Matrix:
        """The rows without empty cells; raises ConfigError if a cell is infinite."""
        if np.isfinite(table).all():
            return table
        empty = np.isnan(table)
        self._refuse(np.isinf(table), before, "is not finite. Correct it.")
        if self.missing == "refuse":
            why = "is empty. Fill it in, or type data.missing=drop to leave such rows out."
            self._refuse(empty, before, why)
        return table[~empty.any(axis=1)]

    def _refuse(self, cells: NDArray[np.bool_], before: int, why: str) -> None:
        for row, position in np.argwhere(cells)[:1]:
            column = (*self.features, self.target)[position]
            where, cell = self.file.place(before + int(row), column)
            raise ConfigError(
                f"data.path: {self.file.path.name}, {where}, column {column!r}: {cell} {why}"
            )


@dataclass(frozen=True)
class Source:
    """A table in a file; each read opens the file once.

    Attributes:
        open_file: opens the file.
        name: the table's name in MLflow.
        target: the column to predict; None is refused when the file is opened.
        features: the columns to predict it from; None for all others.
        missing: "refuse" empty cells, or "drop" their rows.
        drop: columns to leave out.
    """

    open_file: Callable[[], AbstractContextManager[CsvFile | ParquetFile]]
    name: str
    target: str | int | None
    features: Sequence[str] | None
    missing: str
    drop: Sequence[str] | None = None

    @contextmanager
    def open(self) -> Iterator[OpenTable]:
        """Open the file and check its columns.

        Raises:
            ConfigError: if it cannot be read, or a column does not exist.
        """
        with self.open_file() as file:
            chosen = self.target, self.features, self.drop or ()
            target, features = choose(file.columns, *chosen, file.index)
            yield OpenTable(file, self.name, features, target, self.missing)

    def load(self) -> Dataset:
        """The whole table.

        Raises:
            ConfigError: as :meth:`open`, or if a cell is empty, infinite or not a number, or there
                are no rows.
        """
        with self.open() as table:
            xs, ys = zip(*table.chunks(), strict=True)
        x = np.concatenate(xs)
        x = x[:, 0] if len(table.features) == 1 else x
        return Dataset(x, np.concatenate(ys), self.name, table.features, table.target)

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """Read the table in chunks of at most ``rows`` rows: inputs (k, d), targets (k,), float64.

        Raises:
            ConfigError: as :meth:`load`.
        """
        with self.open() as table:
            yield from table.chunks(rows)


def csv(
    path: str | None = None,
    target: str | int | None = None,
    features: list[str] | None = None,
    separator: Separator = "comma",
    missing: Missing = "refuse",
    name: str | None = None,
    drop: list[str] | None = None,
    decimal: Decimal = "point",
    thousands: Thousands = None,
    encoding: str | None = None,
    comment: str | None = None,
    header: bool | None = None,
) -> Source:
    """A table in a CSV file, which may be compressed: gzip, zip, bzip2 or xz.

    Args:
        path: the file, relative to the working folder.
        target: the column to predict.
        features: the columns to predict it from; None for all others.
        separator: the separator of the cells.
        missing: "refuse" empty cells, or "drop" their rows.
        name: the table's name in MLflow; None for the file's name.
        drop: columns to leave out.
        decimal: the decimal sign.
        thousands: the sign between groups of three digits; None for none.
        encoding: the encoding; None for UTF-8, or what the byte-order mark says.
        comment: lines that begin with this sign are skipped; None for none.
        header: whether the first line names the columns; False names them column_1, …; None if it
            does, and no name is a number.

    Raises:
        ConfigError: if the file does not exist, or the settings contradict each other.
            Its content is checked when it is read.
    """
    file = find(path, "csv")
    written = Format(separator, decimal, thousands, encoding, comment, header)
    opener = partial(CsvFile.open, file, written)
    return Source(opener, name or file.stem, target, features, missing, drop)


def parquet(
    path: str | None = None,
    target: str | int | None = None,
    features: list[str] | None = None,
    missing: Missing = "refuse",
    name: str | None = None,
    drop: list[str] | None = None,
) -> Source:
    """A table in a Parquet file or a folder of parts; arguments and errors as in :func:`csv`."""
    file = find(path, "parquet", folders=True)
    opener = partial(ParquetFile.open, file)
    return Source(opener, name or file.stem, target, features, missing, drop)
