"""Tables in files, CSV and Parquet, read in pieces of finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gdexp.data.columns import choose, find
from gdexp.data.csv_file import CsvFile
from gdexp.data.dataset import CHUNK, Chunk, Dataset
from gdexp.data.parquet_file import ParquetFile
from gdexp.errors import ConfigError

Matrix = NDArray[np.float64]
Missing = Annotated[str, Literal["refuse", "drop"]]
Separator = Annotated[str, Literal["comma", "semicolon", "tab", "space"]]


class Cells(Protocol):
    """An open file whose cells can be read as numbers."""

    path: Path
    columns: list[str]

    def read(self, columns: tuple[str, ...], rows: int) -> Iterator[Matrix]:
        """These columns in pieces of at most so many rows; an empty cell is NaN."""

    def place(self, row: int, column: str) -> tuple[str, str]:
        """Where a row, counted from 0, is in the file, and how its cell in a column reads there."""


@dataclass(frozen=True)
class OpenTable:
    """The table in an open file: its columns have been checked, its cells are as they are read.

    Attributes:
        file: the cells.
        name: what the table is called in MLflow.
        features: the names of the inputs' columns.
        target: the name of the column to predict.
        missing: "refuse" an empty cell, or "drop" its row.
    """

    file: Cells
    name: str
    features: tuple[str, ...]
    target: str
    missing: str

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """See :meth:`Source.chunks`."""
        seen = kept = 0
        for table in self.file.read((*self.features, self.target), rows):
            full = self._finite(table, seen)
            seen, kept = seen + len(table), kept + len(full)
            if len(full):
                yield full[:, :-1], full[:, -1]
        if not kept:
            which = "no row without an empty cell" if seen else "no row"
            raise ConfigError(f"data.path: {self.file.path} has {which}, so nothing can be fitted.")

    def _finite(self, table: Matrix, before: int) -> Matrix:
        """The rows without an empty cell; no cell may be infinite."""
        if np.isfinite(table).all():
            return table
        empty = np.isnan(table)
        self._refuse(np.isinf(table), before, "is not finite. Correct it.")
        if self.missing == "refuse":
            way_out = "is empty. Fill it in, or type data.missing=drop to leave such rows out."
            self._refuse(empty, before, way_out)
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
    """A table in a file that is opened once for each time it is read.

    Attributes:
        open_file: opens it.
        name: what the table is called in MLflow.
        target: the column to predict; None is refused.
        features: the columns to predict it from; None: all others.
        missing: "refuse" an empty cell, or "drop" its row.
    """

    open_file: Callable[[], AbstractContextManager[Cells]]
    name: str
    target: str | int | None
    features: Sequence[str] | None
    missing: str

    @contextmanager
    def open(self) -> Iterator[OpenTable]:
        """Open the file and check its columns.

        Raises:
            ConfigError: it cannot be read, or there is no such column.
        """
        with self.open_file() as file:
            target, features = choose(file.columns, self.target, self.features)
            yield OpenTable(file, self.name, features, target, self.missing)

    def load(self) -> Dataset:
        """The whole table.

        Raises:
            ConfigError: as :meth:`open`, or a cell is empty, not a number or infinite, or there
                is no row.
        """
        with self.open() as table:
            xs, ys = zip(*table.chunks(), strict=True)
        x = np.concatenate(xs)
        x = x[:, 0] if len(table.features) == 1 else x
        return Dataset(x, np.concatenate(ys), self.name, table.features, table.target)

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """The table in pieces of at most so many rows, float64; the file is never read whole.

        Yields:
            Inputs, shape (k, d), and targets, shape (k,).

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
) -> Source:
    """A table in a CSV file in UTF-8, with the columns' names in its first line.

    Args:
        path: the file, from the working folder.
        target: the column to predict.
        features: the columns to predict it from; None: all others.
        separator: what stands between two cells.
        missing: "refuse" an empty cell, or "drop" its row.
        name: what the table is called in MLflow; None: as the file.

    Raises:
        ConfigError: there is no such file. What is in it is checked when it is read.
    """
    file = find(path, "csv")
    opener = partial(CsvFile.open, file, separator)
    return Source(opener, name or file.stem, target, features, missing)


def parquet(
    path: str | None = None,
    target: str | int | None = None,
    features: list[str] | None = None,
    missing: Missing = "refuse",
    name: str | None = None,
) -> Source:
    """A table in a Parquet file.

    Args:
        path: the file, from the working folder.
        target: the column to predict.
        features: the columns to predict it from; None: all others.
        missing: "refuse" an empty cell, or "drop" its row.
        name: what the table is called in MLflow; None: as the file.

    Raises:
        ConfigError: there is no such file. What is in it is checked when it is read.
    """
    file = find(path, "parquet")
    opener = partial(ParquetFile.open, file)
    return Source(opener, name or file.stem, target, features, missing)
