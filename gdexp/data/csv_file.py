"""Read a CSV file as numbers and strings, and locate cells that are not numbers."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from gdexp.data.columns import CORRECT, Column, cut
from gdexp.data.numbers import BLANK, EMPTY, Notation
from gdexp.errors import ConfigError

if TYPE_CHECKING:
    from pandas import Series

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " "}


class CsvFile:
    """An open CSV file in UTF-8 whose first line names the columns.

    Args:
        path: the file's path.
        text: the open file; every read goes through it, so the file is opened once.
        separator: a name in SEPARATORS.

    Raises:
        ConfigError: if the file is empty or has another separator.
    """

    index: frozenset[str] = frozenset()  # columns that hold an index, but for those named so

    def __init__(self, path: Path, text: TextIO, separator: str) -> None:
        self.path = path
        self._text = text
        self._separator = SEPARATORS[separator]
        self._notation = Notation()
        _, names = next(self._lines(), (0, []))
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

    def text_columns(self, columns: tuple[str, ...]) -> frozenset[str]:
        """The columns whose first non-empty cell is neither a number nor true or false.

        No more of the file is read than it takes to see one such cell of each column.
        """
        unseen, words = {name: self.columns.index(name) for name in columns}, set()
        for _, cells in itertools.islice(self._lines(), 1, None):
            for name, index in list(unseen.items()):
                cell = cells[index].strip(BLANK) if index < len(cells) else ""
                if cell not in EMPTY:
                    del unseen[name]
                    if self._notation.is_text(cell):
                        words.add(name)
            if not unseen:
                break
        return frozenset(words)

    def read(
        self, columns: tuple[str, ...], rows: int, text: frozenset[str] = frozenset()
    ) -> Iterator[list[Column]]:
        """Read columns in chunks of at most ``rows`` rows.

        Args:
            columns: the names of the columns.
            rows: the rows of a chunk; the last may have fewer.
            text: the columns to read as strings.

        Returns:
            One array for each column, of shape (k,): float64 with NaN for an empty cell, 1 for true
            and 0 for false; or, of a column in ``text``, objects: strings with None for an empty
            cell.

        Raises:
            ConfigError: if a cell is not a number, a cell in ``text`` is one, or a line has more
                cells than the first.
        """
        import pandas

        self._check_first_row()
        indices = [self.columns.index(name) for name in columns]
        strings = {index for name, index in zip(columns, indices, strict=True) if name in text}
        seen = 0
        self._text.seek(0)
        # All columns are read: given usecols, pandas truncates lines that are too long.
        with pandas.read_csv(
            self._text,
            sep=self._separator,
            skipinitialspace=True,
            header=0,
            names=list(range(len(self.columns))),
            dtype=dict.fromkeys(strings, "object"),
            na_values=list(EMPTY),
            keep_default_na=False,
            low_memory=False,  # one type for a column throughout a chunk
            chunksize=rows,
        ) as frames:
            for frame in frames:
                yield [
                    (self._strings if index in strings else self._numbers)(
                        frame.iloc[:, index], index, seen
                    )
                    for index in indices
                ]
                seen += len(frame)

    def place(self, row: int, column: str) -> tuple[str, str]:
        """The line of a row, counted from 0, and its cell in a column as written in the file."""
        line, cells = self._row(row)
        index = self.columns.index(column)
        return f"line {line}", cut(cells[index] if index < len(cells) else "")

    def _check_first_row(self) -> None:
        """Refuse a first row with too many cells: pandas would silently take them as row names."""
        line, cells = self._row(0)
        if len(cells) > len(self.columns):
            raise ConfigError(
                f"data.path: {self.path.name}, line {line} has {len(cells)} cells, and the "
                f"first line names {len(self.columns)} columns. Give each column a name."
            )

    def _numbers(self, cells: Series[Any], index: int, before: int) -> NDArray[np.float64]:
        """A column as numbers, with 1 for true and 0 for false."""
        if cells.dtype.kind in "iufb":
            return cells.to_numpy(np.float64)
        numbers = [self._notation.number(cell) for cell in cells.to_numpy(object)]
        if None in numbers:
            self._refuse(before + numbers.index(None), index, f"is not a number. {CORRECT}")
        return np.array(numbers, dtype=np.float64)

    def _strings(self, cells: Series[Any], index: int, before: int) -> NDArray[np.object_]:
        """A column as strings, with None for empty cells."""
        strings = np.empty(len(cells), dtype=object)
        for row, cell in enumerate(cells.to_numpy(object)):
            cell = cell.strip(BLANK) if isinstance(cell, str) else ""
            if cell not in EMPTY:
                if not self._notation.is_text(cell):
                    why = f"is not text, as in the rows before. {CORRECT}"
                    self._refuse(before + row, index, why)
                strings[row] = cell
        return strings

    def _refuse(self, row: int, index: int, why: str) -> None:
        column = self.columns[index]
        where, value = self.place(row, column)
        raise ConfigError(f"data.path: {self.path.name}, {where}, column {column!r}: {value} {why}")

    def _row(self, row: int) -> tuple[int, list[str]]:
        """The line number and the cells of a row, counted from 0."""
        return next(itertools.islice(self._lines(), row + 1, None), (0, []))

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """The number and the cells of each line that pandas does not skip as blank."""
        read: list[str] = []

        def lines() -> Iterator[str]:
            for line in self._text:
                read.append(line)
                yield line

        self._text.seek(0)
        reader = csv.reader(lines(), delimiter=self._separator, skipinitialspace=True)
        for cells in reader:
            if len(cells) > 1 or "".join(read).strip(BLANK):
                yield reader.line_num, cells
            read.clear()


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
