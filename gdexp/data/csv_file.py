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

from gdexp.data.advice import NO_TEXT, advice, is_text, text_columns
from gdexp.data.columns import Column, quoted
from gdexp.data.csv_format import Format
from gdexp.data.numbers import BLANK, DECIMALS, EMPTY
from gdexp.data.text_file import open_text
from gdexp.errors import ConfigError

if TYPE_CHECKING:
    from pandas import Series


class CsvFile:
    """An open CSV file.

    Args:
        path: the file's path.
        text: the open file; every read goes through it, so the file is opened once.
        written: how it is written.
        encoding: its encoding.

    Raises:
        ConfigError: if the file is empty, or is written in another way.
    """

    index: frozenset[str] = frozenset()  # columns that hold an index, but for those named so

    def __init__(self, path: Path, text: TextIO, written: Format, encoding: str = "utf-8") -> None:
        self.path = path
        self.format = written
        self.encoding = encoding
        self._text = text
        lines = [cells for _, cells in itertools.islice(self._lines(), 2)]
        if not lines:
            raise ConfigError(f"data.path: {path} is empty.")
        self.columns = written.names(path.name, lines[0], lines[1] if lines[1:] else [])
        self._header = 0 if written.header is False else 1  # lines
        self.verb = "names" if self._header else "has"  # what the first line does with columns

    @classmethod
    @contextmanager
    def open(cls, path: Path, written: Format) -> Iterator[CsvFile]:
        """Open the file.

        Raises:
            ConfigError: if it cannot be read or decoded, or is not CSV.
        """
        with (
            _refusing(path),
            open_text(path, written.encoding, written.comment) as (text, encoding),
        ):
            yield cls(path, text, written, encoding)

    def cells(self) -> Iterator[tuple[int, list[str]]]:
        """The line number of each row, and its cells as they are in the file."""
        return itertools.islice(self._lines(), self._header, None)

    def text_columns(self, columns: tuple[str, ...]) -> frozenset[str]:
        """The columns of text, such as classes: their first cell that says so is a word.

        No more of the file is read than it takes to see one such cell of each column.
        """
        indices = {name: self.columns.index(name) for name in columns}
        rows = (
            {name: cells[index] for name, index in indices.items() if index < len(cells)}
            for _, cells in self.cells()
        )
        return text_columns(columns, rows, self.format.notation)

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
            sep=r"\s+" if self.format.sign == " " else self.format.sign,
            decimal=DECIMALS[self.format.decimal],
            skipinitialspace=True,
            header=0 if self._header else None,
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
        return f"line {line}", quoted(cells[index] if index < len(cells) else "")

    def _check_first_row(self) -> None:
        """Refuse a first row with too many cells: pandas would silently take them as row names."""
        line, cells = self._row(0)
        if len(cells) > len(self.columns):
            raise ConfigError(
                f"data.path: {self.path.name}, line {line} has {len(cells)} cells, and the "
                f"first line {self.verb} {len(self.columns)} columns. Give "
                "each column a name."
            )

    def _numbers(self, cells: Series[Any], index: int, before: int) -> NDArray[np.float64]:
        """A column as numbers, with 1 for true and 0 for false."""
        if cells.dtype.kind in "iufb":
            return cells.to_numpy(np.float64)
        numbers = [self.format.notation.number(cell) for cell in cells.to_numpy(object)]
        if None in numbers:
            row = numbers.index(None)
            hint = advice(str(cells.iloc[row]), self.format.notation)
            self._refuse(before + row, index, f"is not a number. {hint}")
        return np.array(numbers, dtype=np.float64)

    def _strings(self, cells: Series[Any], index: int, before: int) -> NDArray[np.object_]:
        """A column as strings, with None for empty cells."""
        strings = np.empty(len(cells), dtype=object)
        for row, cell in enumerate(cells.to_numpy(object)):
            cell = cell.strip(BLANK) if isinstance(cell, str) else ""
            if cell not in EMPTY:
                if self.format.notation.number(cell) is not None:
                    self._refuse(before + row, index, self._no_text(index))
                strings[row] = cell
        return strings

    def _no_text(self, index: int) -> str:
        """That a cell is a number among text, and which text makes the column one."""
        for line, cells in self.cells():
            if index < len(cells) and is_text(cells[index], self.format.notation):
                return NO_TEXT.format(f", like {quoted(cells[index])} in line {line}")
        return NO_TEXT.format("")

    def _refuse(self, row: int, index: int, why: str) -> None:
        column = self.columns[index]
        where, value = self.place(row, column)
        raise ConfigError(f"data.path: {self.path.name}, {where}, column {column!r}: {value} {why}")

    def _row(self, row: int) -> tuple[int, list[str]]:
        """The line number and the cells of a row, counted from 0."""
        return next(itertools.islice(self.cells(), row, None), (0, []))

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """The number and the cells of each line that pandas does not skip as blank."""
        read: list[str] = []
        spaces = self.format.sign == " "

        def lines() -> Iterator[str]:
            for line in self._text:
                read.append(line.replace("\t", " ") if spaces else line)
                yield read[-1]

        self._text.seek(0)
        reader = csv.reader(lines(), delimiter=self.format.sign, skipinitialspace=True)
        for cells in reader:
            if spaces and cells and not cells[-1]:  # spaces end the line
                cells.pop()
            if len(cells) > 1 or "".join(read).strip(BLANK):
                yield reader.line_num, cells
            read.clear()


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn a reader's exception into a ConfigError about the file."""
    from pandas.errors import EmptyDataError, ParserError

    try:
        yield
    except (csv.Error, ParserError, EmptyDataError) as error:
        reason = str(error).split("C error: ")[-1].strip().rstrip(".")
        raise ConfigError(f"data.path: {path} is not a CSV file: {reason}.") from error
