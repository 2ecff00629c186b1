"""Read a Parquet file, or a folder of them, as numbers and strings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from gdexp.data.advice import CORRECT, NO_TEXT, advice, text_columns
from gdexp.data.columns import Column, quoted
from gdexp.data.numbers import BLANK, EMPTY, Notation
from gdexp.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow import Table, parquet

ENDINGS = (".parquet", ".pq", ".parq")
MISSING = "__HIVE_DEFAULT_PARTITION__"


class ParquetFile:
    """An open Parquet file, or a folder of parts with the same columns.

    Below a folder ``year=2026``, each row also has a column ``year``.

    Args:
        path: the path of the file or the folder.
        parts: the files, one or more, in the order of their rows.
        first: the first part, open; the others are opened one after the other.
    """

    def __init__(self, path: Path, parts: list[Path], first: parquet.ParquetFile) -> None:
        self.path = path
        self._parts = parts
        self._first = first
        names = first.schema_arrow.names
        self.columns: list[str] = [*names, *(n for n in self._folders(parts[0]) if n not in names)]

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[ParquetFile]:
        """Open the file, or the first part in a folder.

        Raises:
            ConfigError: if it cannot be read or is not a Parquet file, or the folder has none.
        """
        from pyarrow import parquet

        parts = parts_of(path) if path.is_dir() else [path]
        if not parts:
            raise ConfigError(
                f"data.path: the folder {path} holds no file that ends in .parquet. Name a file or "
                "a folder of Parquet files."
            )
        with _refusing(parts[0]), parquet.ParquetFile(parts[0]) as first:
            yield cls(path, parts, first)

    @property
    def index(self) -> frozenset[str]:
        """The columns that hold the index of a pandas data frame."""
        metadata = self._first.schema_arrow.metadata or {}
        with suppress(ValueError, AttributeError, TypeError):  # what another program wrote
            described = json.loads(metadata.get(b"pandas", b"{}")).get("index_columns", [])
            return frozenset(name for name in described if isinstance(name, str))
        return frozenset()

    def text_columns(self, columns: tuple[str, ...]) -> frozenset[str]:
        """The columns of text, as :meth:`gdexp.data.csv_file.CsvFile.text_columns` tells them."""
        schema = self._first.schema_arrow
        strings = [n for n in columns if n not in schema.names or _is_text(schema.field(n).type)]
        rows = (
            dict(zip(strings, cells, strict=True))
            for batch in (self._batches(1000, strings) if strings else ())
            for cells in zip(*(_strings(batch[name]) for name in strings), strict=True)
        )
        return text_columns(strings, rows, Notation())

    def read(
        self, columns: tuple[str, ...], rows: int, text: frozenset[str] = frozenset()
    ) -> Iterator[list[Column]]:
        """Read columns in chunks of at most ``rows`` rows.

        Arguments and result are those of :meth:`gdexp.data.csv_file.CsvFile.read`. A number may be
        stored as a string.

        Raises:
            ConfigError: if a column holds neither numbers nor strings, a cell is not a number, a
                cell in ``text`` is one, or a file cannot be read or lacks a column.
        """
        seen = 0
        for batch in self._batches(rows, columns):
            yield [self._column(batch[name], name, name in text, seen) for name in columns]
            seen += len(batch[columns[0]])

    def table(self) -> Table:
        """The whole table, as it is stored."""
        import pyarrow as pa

        schema = self._first.schema_arrow
        tables = []
        for batch in self._batches(65536, self.columns):
            tables.append(pa.table([batch[name] for name in self.columns], self.columns))
        if not tables:
            return schema.empty_table()
        whole = pa.concat_tables(tables, promote_options="permissive")
        return whole.replace_schema_metadata(schema.metadata)

    def place(self, row: int, column: str) -> tuple[str, str]:
        """The number of a row, counted from 0, in words; its cells need not be quoted."""
        del column
        return f"row {row + 1}", "the cell"

    def _batches(self, rows: int, columns: Iterable[str]) -> Iterator[Mapping[str, Any]]:
        """The cells of at most ``rows`` rows, as Arrow arrays by column."""
        import pyarrow as pa

        for part, file in self._open_parts():
            folders, names = self._folders(part), set(file.schema_arrow.names)
            stored = [name for name in columns if name in names]
            for name in columns:
                if name not in names and name not in folders:
                    raise ConfigError(
                        f"data.path: {part} has no column {name!r}, but {self._parts[0].name} has."
                    )
            for batch in file.iter_batches(rows, columns=stored or None):
                yield {
                    name: batch.column(name)
                    if name in names
                    else pa.array([folders[name]] * len(batch), pa.string())
                    for name in columns
                }

    def _open_parts(self) -> Iterator[tuple[Path, parquet.ParquetFile]]:
        from pyarrow import parquet

        yield self._parts[0], self._first
        for part in self._parts[1:]:
            with _refusing(part), parquet.ParquetFile(part) as file:
                yield part, file

    def _folders(self, part: Path) -> dict[str, str | None]:
        """The columns that the folders of a part hold, such as ``year`` below ``year=2026``."""
        folders = part.relative_to(self.path).parts[:-1]
        pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
        return {unquote(n): None if value == MISSING else unquote(value) for n, value in pairs}

    def _column(self, cells: Any, name: str, text: bool, before: int) -> Column:
        if not _is_text(cells.type):
            if text:
                raise ConfigError(
                    f"data.path: {self.path.name}, row {before + 1}, column {name!r}: its type is "
                    f"{cells.type} from here on, in a column of text. {CORRECT}"
                )
            return self._numbers(cells, name)
        strings, notation = _strings(cells), Notation()
        values = [notation.number(cell) for cell in strings]
        for row, (cell, value) in enumerate(zip(strings, values, strict=True)):
            if cell is not None and (value is None) != text:
                why = NO_TEXT.format("") if text else f"is not a number. {_advice(cell)}"
                raise ConfigError(
                    f"data.path: {self.path.name}, row {before + row + 1}, column {name!r}: "
                    f"{quoted(cell)} {why}"
                )
        return strings if text else np.array(values, dtype=np.float64)

    def _numbers(self, cells: Any, name: str) -> NDArray[np.float64]:
        from pyarrow import compute, types

        if types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        kinds = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        if not any(is_kind(cells.type) for is_kind in kinds):
            raise ConfigError(
                f"data.path: {self.path.name}, column {name!r}: its type, {cells.type}, is not "
                f"numeric. {CORRECT}"
            )
        cast = compute.cast(cells, "float64", safe=False)
        numbers: NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
        return numbers


def _advice(cell: str) -> str:
    """What to do about a string that is not a number; the settings of a CSV file do not apply."""
    typed = advice(cell, Notation())
    return CORRECT if "data.decimal" in typed or "data.thousands" in typed else typed


def _is_text(kind: Any) -> bool:
    """Whether an Arrow type is a string, a category of strings or, since it tells nothing, null."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_null(kind) or any(
        (types.is_string(kind), types.is_large_string(kind), types.is_string_view(kind))
    )


def _strings(cells: Any) -> NDArray[np.object_]:
    """Strings with None for empty cells."""
    strings = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells.to_pylist()):
        stripped = "" if cell is None else cell.strip(BLANK)
        strings[row] = None if stripped in EMPTY else stripped
    return strings


def parts_of(folder: Path) -> list[Path]:
    """The Parquet files in a folder, at any depth, except hidden ones; empty if not a folder."""
    shown = [
        file
        for file in (folder.rglob("*") if folder.is_dir() else ())
        if file.suffix in ENDINGS and file.is_file()
        if not any(name[0] in "._" for name in file.relative_to(folder).parts)
    ]
    return sorted(shown, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts part-2 before part-10."""
    pieces = re.split("([0-9]+)", str(path))
    return [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn a reader's exception into a ConfigError about the file."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"data.path: {path} cannot be read as Parquet: {reason}. For a CSV file, type data=csv."
        ) from error
