"""A table in an open file, read in chunks of finite numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gdexp.data.categories import Categories, Encoding, check_few, check_unique, codes
from gdexp.data.columns import Column
from gdexp.data.csv_file import CsvFile
from gdexp.data.dataset import CHUNK, Chunk
from gdexp.data.parquet_file import ParquetFile
from gdexp.errors import ConfigError


@dataclass(frozen=True)
class OpenTable:
    """A table in an open file; its columns are checked, its cells are checked as they are read.

    Attributes:
        file: the open file.
        name: the table's name in MLflow.
        columns: the columns of the inputs.
        target: the column to predict.
        missing: "refuse" empty cells, or "drop" their rows.
        categories: the categories of each column of text, the target's included.
    """

    file: CsvFile | ParquetFile
    name: str
    columns: tuple[str, ...]
    target: str
    missing: str
    categories: Mapping[str, Categories] = field(default_factory=dict)

    @cached_property
    def encoding(self) -> Encoding | None:
        """How text among the inputs becomes numbers; None if there is none."""
        own = {name: self.categories[name] for name in self.columns if name in self.categories}
        return Encoding(self.columns, own) if own else None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the inputs, with one for each category."""
        return self.columns if self.encoding is None else self.encoding.features

    @property
    def classes(self) -> Categories:
        """The names of the target's classes; none if it holds numbers."""
        return self.categories.get(self.target, ())

    def with_categories(self) -> OpenTable:
        """The same table with the categories of its columns of text, for which it is read once.

        Raises:
            ConfigError: if a column has too many of them, or two columns of numbers have one name.
        """
        text = self.file.text_columns((*self.columns, self.target))
        if not text:
            return self
        texts: dict[str, set[str]] = {name: set() for name in text}
        rows = 0
        for cells in replace(self, categories=dict.fromkeys(text, ()))._rows(CHUNK):
            rows += len(cells[0])
            for name, values in zip((*self.columns, self.target), cells, strict=True):
                if name in text:
                    texts[name].update(values.tolist())
                    check_few(name, len(texts[name]), rows, name == self.target)
        table = replace(self, categories={name: tuple(sorted(texts[name])) for name in text})
        check_unique(table.features)
        return table

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """See :meth:`Source.chunks`."""
        for cells in self._rows(rows):
            *inputs, y = cells
            x = np.column_stack(inputs) if self.encoding is None else self.encoding.apply(inputs)
            yield x, codes(y, self.classes, self.target).astype(float) if self.classes else y

    def _rows(self, rows: int) -> Iterator[list[Column]]:
        """The cells of each column, in chunks, without the rows that have an empty one."""
        seen = kept = 0
        names = (*self.columns, self.target)
        for cells in self.file.read(names, rows, frozenset(self.categories)):
            full = self._full(cells, seen)
            seen, kept = seen + len(cells[0]), kept + len(full[0])
            if len(full[0]):
                yield full
        if not kept:
            why = ": each has an empty cell" if seen else ""
            raise ConfigError(f"data.path: {self.file.path} has no rows to fit{why}.")

    def _full(self, cells: list[Column], before: int) -> list[Column]:
        """The rows without empty cells; raises ConfigError if a cell is infinite."""
        empty = np.column_stack([_empty(column) for column in cells])
        infinite = np.column_stack([_infinite(column) for column in cells])
        self._refuse(infinite, before, "is not finite. Correct it.")
        if not empty.any():
            return cells
        if self.missing == "refuse":
            why = "is empty. Fill it in, or type data.missing=drop to leave such rows out."
            self._refuse(empty, before, why)
        full = ~empty.any(axis=1)
        return [column[full] for column in cells]

    def _refuse(self, cells: NDArray[np.bool_], before: int, why: str) -> None:
        for row, position in np.argwhere(cells)[:1]:
            column = (*self.columns, self.target)[position]
            where, cell = self.file.place(before + int(row), column)
            raise ConfigError(
                f"data.path: {self.file.path.name}, {where}, column {column!r}: {cell} {why}"
            )


def _empty(column: Column) -> NDArray[np.bool_]:
    if column.dtype == object:
        return np.array([cell is None for cell in column.tolist()], dtype=bool)
    empty: NDArray[np.bool_] = np.isnan(column)
    return empty


def _infinite(column: Column) -> NDArray[np.bool_]:
    if column.dtype == object:
        return np.zeros(len(column), dtype=bool)
    infinite: NDArray[np.bool_] = np.isinf(column)
    return infinite
