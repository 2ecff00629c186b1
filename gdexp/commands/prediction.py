"""Add a column of predictions to a table, which is read by the same rules as for a fit."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.advice import CORRECT
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
        GdexpError: there is no such file, or it is a folder without Parquet files.
    """
    file = Path(path).expanduser()
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
    """The table with an added column of predictions, written as it was.

    Args:
        path: a CSV or Parquet file, or a folder of Parquet files.
        written: how a CSV file is written.
        fitted: the run's predictor.

    Returns:
        (content, encoding); the encoding is empty for Parquet.

    Raises:
        GdexpError: the table cannot be read, lacks a column that the run was fitted to, has a cell
            that is not a finite number, or already has predictions.
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


def _predictions(file: CsvFile | ParquetFile, fitted: Fitted) -> list[Any]:
    """The prediction for each row.

    Raises:
        GdexpError: see :func:`predict`.
    """
    if ADDED in file.columns:
        raise GdexpError(f"{file.path.name} already has a column {ADDED!r}. Rename it.")
    for name in fitted.features:
        _check_column(file, name)
    chunks: list[NDArray[np.float64]] = [np.empty((0, len(fitted.features)))]
    for columns in file.read(tuple(fitted.features), CHUNK):
        chunks.append(np.column_stack(columns))
    x = np.concatenate(chunks)
    for row, position in np.argwhere(~np.isfinite(x))[:1]:
        name = fitted.features[position]
        where, cell = file.place(int(row), name)
        raise GdexpError(
            f"{file.path.name}, {where}, column {name!r}: {cell} is not a finite number. "
            "Correct it."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        values = fitted.answers(x)["prediction"]
    for row in np.flatnonzero(~np.isfinite(values))[:1]:
        where, _ = file.place(int(row), fitted.features[0])
        raise GdexpError(
            f"{file.path.name}, {where}: the prediction is not finite, since a number is too large "
            f"for {fitted.settings['dtype']}. Correct it."
        )
    return [int(v) for v in values] if fitted.task == "classes" else list(values.tolist())


def _check_column(file: CsvFile | ParquetFile, name: str) -> None:
    columns = file.columns
    if name not in columns:
        raise GdexpError(
            f"{file.path.name} has no column {name!r}, which the run was fitted to. "
            f"It has: {', '.join(columns[:12])}.{did_you_mean(name, columns)}"
        )
    if columns.count(name) > 1:
        raise GdexpError(f"{file.path.name}: two columns are called {name!r}. Rename one of them.")


def _csv(file: CsvFile, rows: Sequence[list[str]], values: Sequence[Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=file.format.sign, lineterminator="\n")
    if file.format.header is not False:
        writer.writerow([*file.columns, ADDED])
    point = DECIMALS[file.format.decimal]
    for row, value in zip(rows, values, strict=True):
        writer.writerow([*row, str(value).replace(".", point)])
    return text.getvalue()


def _parquet(file: ParquetFile, values: Sequence[Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    content = pa.BufferOutputStream()
    parquet.write_table(file.table().append_column(ADDED, pa.array(values)), content)
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
