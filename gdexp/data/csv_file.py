"""Read a CSV file as numbers, and locate cells that are not numbers."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from gdexp.data.columns import ENCODE, cut
from gdexp.errors import ConfigError

if TYPE_CHECKING:
    from pandas import Series

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " "}
TRUTH = {"True": "1", "TRUE": "1", "true": "1", "False": "0", "FALSE": "0", "false": "0"}


class CsvFile:
    """An open CSV file in UTF-8 whose first line names the columns.

    Args:
        path: the file's path.
        text: the open file; every read goes through it, so the file is opened once.
        separator: a name in SEPARATORS.

    Raises:
        ConfigError: if the file is empty or has another separator.
    """

    def __init__(self, path: Path, text: TextIO, separator: str) -> None:
        self.path = path
        self._text = text
        self._separator = SEPARATORS[separator]
        _, names = self._line(0)
        self.columns = [name.strip() for name in names]
        if not names:
            raise ConfigError(f"data.path: {path} is empty.")
        other = [word for word, sign in SEPARATORS.items() if sign in names[0]]
        if len(names) == 1 and other:
            raise ConfigError(
                f"data.separator: no {separator} separates the names in the first line of "
                f"{path.name}, {cut(names[0])}. Did you mean data.separator={other[0]}?"
            )

    @classmethod
    @contextmanager
    def open(cls, path: Path, separator: str) -> Iterator[CsvFile]:
        """Open the file.

        Raises:
            ConfigError: if it cannot be read, is not UTF-8 text, or is not CSV.
        """
        with _refusing(path), path.open(encoding="utf-8-sig", newline="") as text:
            yield cls(path, text, separator)

    def read(self, columns: tuple[str, ...], rows: int) -> Iterator[NDArray[np.float64]]:
        """Read columns in chunks of at most ``rows`` rows; an empty cell is NaN.

        Raises:
            ConfigError: if a cell is not a number, or a line has more cells than the first.
        """
        import pandas

        self._check_first_row()
        indices = [self.columns.index(name) for name in columns]
        seen = 0
        self._text.seek(0)
        # All columns are read: given usecols, pandas truncates lines that are too long.
        with pandas.read_csv(
            self._text,
            sep=self._separator,
            skipinitialspace=True,
            low_memory=False,  # one type for a column throughout a chunk
            chunksize=rows,
        ) as frames:
            for frame in frames:
                table = np.empty((len(frame), len(columns)))
                for position, index in enumerate(indices):
                    table[:, position] = self._numbers(frame.iloc[:, index], index, seen)
                yield table
                seen += len(frame)

    def place(self, row: int, column: str) -> tuple[str, str]:
        """The line of a row, counted from 0, and its cell in a column as written in the file."""
        line, cells = self._line(row + 1)
        index = self.columns.index(column)
        return f"line {line}", cut(cells[index] if index < len(cells) else "")

    def _check_first_row(self) -> None:
        """Refuse a first row with too many cells: pandas would silently take them as row names."""
        line, cells = self._line(1)
        if len(cells) > len(self.columns):
            raise ConfigError(
                f"data.path: {self.path.name}, line {line} has {len(cells)} cells, and the "
                f"first line names {len(self.columns)} columns. Give each column a name."
            )

    def _numbers(self, cells: Series, index: int, before: int) -> NDArray[np.float64]:
        """A column as numbers, with 1 for true and 0 for false."""
        import pandas

        if cells.dtype.kind in "iufb":
            return cells.to_numpy(np.float64)
        numbers = pandas.to_numeric(cells.astype(object).replace(TRUTH), errors="coerce")
        for row in np.flatnonzero(numbers.isna() & cells.notna())[:1]:
            where, value = self.place(before + int(row), self.columns[index])
            raise ConfigError(
                f"data.path: {self.path.name}, {where}, column {self.columns[index]!r}: {value} "
                f"is not a number. {ENCODE}"
            )
        return numbers.to_numpy(np.float64)

    def _line(self, number: int) -> tuple[int, list[str]]:
        """The line number and the cells of a line, counted from 0 without blank lines."""
        self._text.seek(0)
        reader = csv.reader(self._text, delimiter=self._separator, skipinitialspace=True)
        filled = (cells for cells in reader if len(cells) > 1 or "".join(cells).strip())
        cells = next(itertools.islice(filled, number, None), [])
        return reader.line_num, cells


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn a reader's exception into a ConfigError about the file."""
    from pandas.errors import EmptyDataError, ParserError

    try:
        yield
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"data.path: {path} is not UTF-8 text. Save it as CSV in UTF-8; for a Parquet file, "
            "type data=parquet."
        ) from error
    except (csv.Error, ParserError, EmptyDataError) as error:
        reason = str(error).split("C error: ")[-1].strip().rstrip(".")
        raise ConfigError(f"data.path: {path} is not a CSV file: {reason}.") from error
    except OSError as error:
        raise ConfigError(f"data.path: {path} cannot be read: {error.strerror}.") from error
