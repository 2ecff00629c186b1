"""Add a column of predictions to a table, which is read by the same rules as for a fit."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.advice import CORRECT
from gdexp.data.categories import UnknownCategoryError
from gdexp.data.csv_file import CsvFile
from gdexp.data.csv_format import Format
from gdexp.data.dataset import CHUNK
from gdexp.data.numbers import DECIMALS
from gdexp.data.parquet_file import ParquetFile, parts_of
from gdexp.errors import ConfigError, GdexpError, did_you_mean

if TYPE_CHECKING:
    from gdexp.descent.fitted import Fitted

ADDED = "prediction"
SETTING = re.compile(r"data\.(separator|decimal|thousands|encoding|comment|header)(=|(?=:))")


def find(path: str) -> Path:
    """The path of a table.

    Raises:
        GdexpError: the file does not exist, or is a folder without Parquet files.
    """
    file = Path(os.path.expanduser(path))
    try:
        if file.is_dir() and not parts_of(file):
            raise GdexpError(f"{path} is a folder without Parquet files. Name a file.")
        if not file.exists():
            folder = file.absolute().parent
            names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
            raise GdexpError(f"there is no file {path}.{did_you_mean(file.name, names)}")
    except (OSError, ValueError) as error:  # too long, or with a null byte
        if isinstance(error, GdexpError):
            raise
        raise GdexpError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error
    return file


def is_parquet(path: Path) -> bool:
    """Whether a table is a folder of Parquet files, or one of them."""
    if not path.is_file():
        return path.is_dir()
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def predict(path: Path, written: Format, fitted: Fitted) -> tuple[bytes, str]:
    """The table with added columns of predictions, written as it was.

    Args:
        path: a CSV or Parquet file, or a folder of Parquet files.
        written: how a CSV file is written.
        fitted: the run's predictor.

    Returns:
        (content, encoding); the encoding is empty for Parquet.

    Raises:
        GdexpError: the table cannot be read, lacks a column that the run was fitted to, has a cell
            that is not a finite number or no category of the run, or already has predictions.
    """
    if is_parquet(path):
        with ParquetFile.open(path) as parquet_file:
            return _parquet(parquet_file, _predictions(parquet_file, fitted)), ""
    with CsvFile.open(path, written) as csv_file:
        rows = list(_rows(csv_file))
        text = _csv(csv_file, rows, _predictions(csv_file, fitted))
        return text.encode(csv_file.encoding), csv_file.encoding


def _rows(file: CsvFile) -> Iterator[list[str]]:
    """The cells of each row, as they are in the file.

    Raises:
        GdexpError: a row has fewer or more cells than there are columns.
    """
    for line, cells in file.cells():
        if len(cells) != len(file.columns):
            raise GdexpError(
                f"{file.path.name}, line {line} has {len(cells)} cells, and the first line "
                f"{file.verb} {len(file.columns)} columns. Give each row one cell per column."
            )
        yield cells


def _predictions(file: CsvFile | ParquetFile, fitted: Fitted) -> dict[str, list[Any]]:
    """The columns to add: the prediction for each row and, of two named classes, a probability.

    Raises:
        GdexpError: see :func:`predict`.
    """
    for name in fitted.columns:
        _check_column(file, name)
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        answers = fitted.answers(_inputs(file, fitted))
    for values in answers.values():
        if values.dtype != object:
            for row in np.flatnonzero(~np.isfinite(values))[:1]:
                where, _ = file.place(int(row), fitted.columns[0])
                raise GdexpError(
                    f"{file.path.name}, {where}: the prediction is not finite, since a number is "
                    f"too large for {fitted.settings['dtype']}. Correct it."
                )
    if fitted.task == "classes":
        values = answers[ADDED]
        answers = {ADDED: values if fitted.classes else values.astype(np.int64)}
    for name in answers:
        if name in file.columns:
            raise GdexpError(f"{file.path.name} already has a column {name!r}. Rename it.")
    return {name: values.tolist() for name, values in answers.items()}


def _inputs(file: CsvFile | ParquetFile, fitted: Fitted) -> NDArray[np.float64]:
    """The inputs of the predictor, shape (n, d).

    Raises:
        GdexpError: a cell is not a finite number, or none of the categories of the run.
    """
    chunks = [np.empty((0, len(fitted.features)))]
    before = 0
    for cells in file.read(fitted.columns, CHUNK, fitted.text):
        for name, values in zip(fitted.columns, cells, strict=True):
            valid = values != None if values.dtype == object else np.isfinite(values)  # noqa: E711
            for row in np.flatnonzero(~valid)[:1]:
                where, cell = file.place(before + int(row), name)
                kind = "one of the run's categories" if name in fitted.text else "a finite number"
                raise GdexpError(
                    f"{file.path.name}, {where}, column {name!r}: {cell} is not {kind}. Correct it."
                )
        try:
            chunks.append(fitted.inputs(cells))
        except UnknownCategoryError as error:
            where, _ = file.place(before + error.row, error.column)
            raise GdexpError(f"{file.path.name}, {where}, {error}") from error
        before += len(cells[0])
    return np.concatenate(chunks)


def _check_column(file: CsvFile | ParquetFile, name: str) -> None:
    columns = file.columns
    if name not in columns:
        raise GdexpError(
            f"{file.path.name} has no column {name!r}, which the run was fitted to. "
            f"It has: {', '.join(columns[:12])}.{did_you_mean(name, columns)}"
        )
    if columns.count(name) > 1:
        raise GdexpError(f"{file.path.name}: two columns are called {name!r}. Rename one of them.")


def _csv(file: CsvFile, rows: Sequence[list[str]], added: Mapping[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=file.format.sign, lineterminator="\n")
    if file.format.header is not False:
        writer.writerow([*file.columns, *added])
    point = DECIMALS[file.format.decimal]
    for row, *values in zip(rows, *added.values(), strict=True):
        cells = (v if isinstance(v, str) else str(v).replace(".", point) for v in values)
        writer.writerow([*row, *cells])
    return text.getvalue()


def _parquet(file: ParquetFile, added: Mapping[str, list[Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    content, table = pa.BufferOutputStream(), file.table()
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    parquet.write_table(table, content)
    return bytes(content.getvalue())


@contextmanager
def as_options() -> Iterator[None]:
    """Word the errors of the readers for a command that has options instead of settings."""
    try:
        yield
    except ConfigError as error:
        message = str(error).removeprefix("data.path: ").replace(CORRECT, "Correct it.")
        replaced = SETTING.sub(lambda m: f"--{m[1]}{' ' if m[2] else ''}", message)
        raise GdexpError(replaced) from error
