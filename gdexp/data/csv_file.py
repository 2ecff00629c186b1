"""The cells of a CSV file as numbers, and the place in the file of a cell that is not one."""

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
    """An open CSV file in UTF-8 with the names of its columns in the first line.

    Args:
        path: the file.
        text: the same file, open; every read goes through it, so the file is opened once.
        separator: one of SEPARATORS, by name.

    Raises:
        ConfigError: it is empty, or something else separates its cells.
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
            ConfigError: it cannot be read, is not UTF-8 text, or is not CSV.
        """
        with _refusing(path), path.open(encoding="utf-8-sig", newline="") as text:
            yield cls(path, text, separator)

    def read(self, columns: tuple[str, ...], rows: int) -> Iterator[NDArray[np.float64]]:
        """These columns in pieces of so many rows; an empty cell is NaN.

        Raises:
            ConfigError: a cell is a text, or a line has more cells than there are names.
        """
        import pandas

        self._check_first_row()
        indices = [self.columns.index(name) for name in columns]
        seen = 0
        self._text.seek(0)
        # Every column is read: told which to use, pandas cuts lines that are too long.
        with pandas.read_csv(
            self._text,
            sep=self._separator,
            skipinitialspace=True,
            low_memory=False,  # one type for a column throughout a piece
            chunksize=rows,
        ) as frames:
            for frame in frames:
                table = np.empty((len(frame), len(columns)))
                for position, index in enumerate(indices):
                    table[:, position] = self._numbers(frame.iloc[:, index], index, seen)
                yield table
                seen += len(frame)

    def place(self, row: int, column: str) -> tuple[str, str]:
        """Where a row, counted from 0, is in the file, and how its cell in a column reads there."""
        line, cells = self._line(row + 1)
        index = self.columns.index(column)
        return f"line {line}", cut(cells[index] if index < len(cells) else "")

    def _check_first_row(self) -> None:
        """Pandas takes the cells a first row has too many as names of the rows, silently."""
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
        """A line's number in the file and its cells; 0 is the names', blank lines do not count."""
        self._text.seek(0)
        reader = csv.reader(self._text, delimiter=self._separator, skipinitialspace=True)
        filled = (cells for cells in reader if len(cells) > 1 or "".join(cells).strip())
        cells = next(itertools.islice(filled, number, None), [])
        return reader.line_num, cells


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn a reader's complaint into a sentence about the file."""
    from pandas.errors import EmptyDataError, ParserError

    try:
        yield
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"data.path: {path} is no text in UTF-8. Save it as CSV in UTF-8; a Parquet file is "
            "read by data=parquet."
        ) from error
    except (csv.Error, ParserError, EmptyDataError) as error:
        reason = str(error).split("C error: ")[-1].strip().rstrip(".")
        raise ConfigError(f"data.path: {path} is no CSV file: {reason}.") from error
    except OSError as error:
        raise ConfigError(f"data.path: {path} cannot be read: {error.strerror}.") from error
