"""Tables in CSV and Parquet files, read in chunks of finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np

from gdexp.data.columns import choose, find
from gdexp.data.csv_file import CsvFile
from gdexp.data.csv_format import Format
from gdexp.data.dataset import CHUNK, Chunk, Dataset
from gdexp.data.open_table import OpenTable
from gdexp.data.parquet_file import ParquetFile

Missing = Annotated[str, Literal["refuse", "drop"]]
Separator = Annotated[str, Literal["comma", "semicolon", "tab", "space", "pipe"]]
Decimal = Annotated[str, Literal["point", "comma"]]
Thousands = Annotated[str | None, Literal["comma", "point", "space", "apostrophe"]]


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
            target, columns = choose(file.columns, *chosen, file.index)
            yield OpenTable(file, self.name, columns, target, self.missing).with_categories()

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
        names = table.name, table.features, table.target, table.encoding, table.classes
        return Dataset(x, np.concatenate(ys), *names)

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
