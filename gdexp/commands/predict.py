"""``python -m gdexp predict``: what a recorded run predicts for the rows of a CSV file."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdexp.commands import common
from gdexp.config.paths import absolute
from gdexp.data.columns import cut
from gdexp.data.csv_format import SEPARATORS
from gdexp.errors import GdexpError, did_you_mean

if TYPE_CHECKING:
    from gdexp.descent.fitted import Fitted

ADDED = "prediction"


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("predict", single=True)
    parser.add_argument("file", help="a CSV file with one column per feature")
    parser.add_argument("--out", metavar="FILE", help="a new file to write to (default: stdout)")
    parser.add_argument(
        "--separator",
        choices=SEPARATORS,
        default="comma",
        help="the separator of the cells (default: comma)",
    )
    args = parser.parse_args(argv)
    return common.guarded(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> int:
    table = read(args.file, SEPARATORS[args.separator])
    out = None if args.out is None else new_file(args.out)
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select
    from gdexp.tracking.restore import fitted_of

    store = open_existing(args.uri, args.experiment)
    fitted = fitted_of(store, select(store, args.runs)[0])
    text = predicted(table, fitted)
    if out:
        try:
            with out.open("x", encoding="utf-8", newline="") as file:
                file.write(text + "\n")
        except OSError as error:
            raise GdexpError(f"--out: {out} cannot be written: {error.strerror}.") from error
    else:
        common.show(text)
    return 0


def new_file(path: str) -> Path:
    """The absolute path of an output file.

    Raises:
        GdexpError: it already exists, or its folder does not.
    """
    out = absolute(path)
    try:
        why = "already exists" if out.exists() else ""
        if not why and not out.parent.is_dir():
            why = f"cannot be written, since the folder {out.parent} does not exist"
    except (OSError, ValueError) as error:  # too long, or with a null byte
        why = f"is not a file name ({getattr(error, 'strerror', error)})"
    if why:
        raise GdexpError(f"--out: {path} {why}. Name a new file in a folder that exists.")
    return out


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file, as strings.

    Attributes:
        name: the file's name.
        separator: the separator of the cells.
        columns: the names of the columns.
        lines: the line number of each row in the file.
        rows: the cells of each row, one per column.
    """

    name: str
    separator: str
    columns: list[str]
    lines: list[int]
    rows: list[list[str]]

    def numbers(self, features: Sequence[str]) -> NDArray[np.float64]:
        """The numbers in these columns, shape (rows, features).

        Raises:
            GdexpError: a column is missing or duplicated, or a cell is not a finite number.
        """
        indices = [self._index(name) for name in features]
        numbers = np.empty((len(self.rows), len(indices)))
        for position, index in enumerate(indices):
            numbers[:, position] = [_number(row[index]) for row in self.rows]
            for i in np.flatnonzero(~np.isfinite(numbers[:, position]))[:1]:
                raise GdexpError(
                    f"{self.name}, line {self.lines[i]}, column {self.columns[index]!r}: "
                    f"{cut(self.rows[i][index])} is not a finite number. Correct it."
                )
        return numbers

    def _index(self, name: str) -> int:
        if name not in self.columns:
            raise GdexpError(
                f"{self.name} has no column {name!r}, which the run was fitted to. "
                f"It has: {', '.join(self.columns[:12])}.{did_you_mean(name, self.columns)}"
            )
        if self.columns.count(name) > 1:
            raise GdexpError(f"{self.name}: two columns are called {name!r}. Rename one of them.")
        return self.columns.index(name)


def read(path: str, separator: str) -> Table:
    """Read a CSV file in UTF-8 whose first line names the columns.

    Raises:
        GdexpError: the file does not exist, is not CSV, or its rows differ in length.
    """
    table = Path(path).expanduser()
    lines, rows = [], []
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            for row in reader:
                if any(row):
                    lines.append(reader.line_num)
                    rows.append(row)
    except IsADirectoryError as error:
        raise GdexpError(f"{path} is a folder. Name a CSV file.") from error
    except FileNotFoundError as error:
        folder = table.absolute().parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise GdexpError(f"there is no file {path}.{did_you_mean(table.name, names)}") from error
    except UnicodeDecodeError as error:
        raise GdexpError(f"{path} is not UTF-8 text. Save it as CSV in UTF-8.") from error
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise GdexpError(f"{path} cannot be read: {reason}.") from error
    if not rows:
        raise GdexpError(f"{path} is empty. Its first line names the columns.")
    columns = [name.strip() for name in rows[0]]
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(columns):
            raise GdexpError(
                f"{table.name}, line {line} has {len(row)} cells, and the first line names "
                f"{len(columns)} columns. Give each row one cell per column."
            )
    return Table(table.name, separator, columns, lines[1:], rows[1:])


def predicted(table: Table, fitted: Fitted) -> str:
    """The table with an added column of predictions, as CSV.

    Raises:
        GdexpError: it already has that column, or lacks one that the run was fitted to.
    """
    if ADDED in table.columns:
        raise GdexpError(f"{table.name} already has a column {ADDED!r}. Rename it.")
    values = fitted.answers(table.numbers(fitted.features))["prediction"].tolist()
    if fitted.task == "classes":
        values = [int(value) for value in values]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=table.separator, lineterminator="\n")
    writer.writerow([*table.columns, ADDED])
    writer.writerows([*row, value] for row, value in zip(table.rows, values, strict=True))
    return text.getvalue().rstrip("\n")


def _number(cell: str) -> float:
    """The number in a cell, 1 for true and 0 for false; NaN if it is not a number."""
    try:
        return {"True": 1.0, "true": 1.0, "False": 0.0, "false": 0.0}.get(cell) or float(cell)
    except ValueError:
        return math.nan
