"""Text columns as categories: a column of zeros and ones for each text that occurs in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import ConfigError, did_you_mean

MOST = 1000  # categories of a column
FEW = 20  # categories that may be as many as there are rows
SHOWN = 12  # categories listed in a sentence

Categories = tuple[str, ...]


class UnknownCategoryError(ConfigError):
    """A text that did not occur in the data of the fit.

    Attributes:
        row: its row, counted from 0.
        column: its column.
    """

    def __init__(self, row: int, column: str, text: Any, known: Categories) -> None:
        what = "the cell is empty" if text is None else f"{text!r} is not one of its categories"
        near = did_you_mean(str(text), known) if text else ""
        super().__init__(f"column {column!r}: {what}. The run knows {listed(known)}.{near}")
        self.row, self.column = row, column


@dataclass(frozen=True)
class Encoding:
    """How the columns of a table become numbers: a text column becomes one column per category.

    The category Oslo of the column city becomes the feature ``city=Oslo``, which is 1 in the rows
    that hold this text and 0 in all others. Columns of numbers stay as they are.

    Attributes:
        columns: the names of the columns, in order.
        categories: the sorted categories of each text column.
    """

    columns: tuple[str, ...]
    categories: Mapping[str, Categories]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the columns of numbers."""
        return tuple(
            name
            for column in self.columns
            for name in (
                [f"{column}={text}" for text in self.categories[column]]
                if column in self.categories
                else [column]
            )
        )

    @cached_property
    def indicators(self) -> NDArray[np.bool_]:
        """Which features are those of a category, shape (d,)."""
        kinds = [
            [column in self.categories] * len(self.categories.get(column, (column,)))
            for column in self.columns
        ]
        return np.concatenate(kinds)

    def apply(self, cells: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """The numbers in some rows, shape (k, d).

        Args:
            cells: each column's, shape (k,): numbers, or strings in a text column.

        Raises:
            UnknownCategoryError: if a text is none of its column's categories.
        """
        x = np.zeros((len(cells[0]), len(self.features)))
        first = 0
        for column, values in zip(self.columns, cells, strict=True):
            if column in self.categories:
                known = self.categories[column]
                x[np.arange(len(x)), first + codes(values, known, column)] = 1
                first += len(known)
            else:
                x[:, first] = values
                first += 1
        return x

    def undo(self, x: NDArray[np.float64]) -> list[NDArray[Any]]:
        """The cells that become these numbers; of a mean of rows, the most frequent category."""
        cells: list[NDArray[Any]] = []
        first = 0
        for column in self.columns:
            known = self.categories.get(column)
            width = len(known or (column,))
            part = x[:, first : first + width]
            texts = np.array(known, dtype=object)
            cells.append(part[:, 0] if known is None else texts[part.argmax(axis=1)])
            first += width
        return cells


def check_few(column: str, texts: int, rows: int, is_target: bool) -> None:
    """Refuse a column of text that holds names, dates or sentences rather than categories.

    Args:
        column: its name.
        texts: how many different texts the rows so far hold.
        rows: the number of these rows.
        is_target: whether it is the target.

    Raises:
        ConfigError: if there are too many texts, or most rows have one of their own.
    """
    if texts > MOST or (texts > FEW and 2 * texts > rows):
        way_out = "Name another." if is_target else f"Type data.drop=[{column}] to leave it out."
        raise ConfigError(
            f"data.{'target' if is_target else 'features'}: column {column!r} holds {texts} "
            f"different texts in {rows} rows, too many for categories. {way_out}"
        )


def check_unique(features: Sequence[str]) -> None:
    """Refuse two features of one name.

    Raises:
        ConfigError: if a column is named like a category of another.
    """
    for name, count in Counter(features).items():
        if count > 1:
            raise ConfigError(
                f"data.features: {name!r} is the name of a column and of a category. Rename the "
                "column."
            )


def codes(texts: NDArray[Any], known: Categories, column: str) -> NDArray[np.int64]:
    """The position of each text among the categories of its column.

    Raises:
        UnknownCategoryError: if a text is none of them.
    """
    positions = {text: k for k, text in enumerate(known)}
    numbers = np.array([positions.get(text, -1) for text in texts.tolist()], dtype=np.int64)
    for row in np.flatnonzero(numbers < 0)[:1]:
        raise UnknownCategoryError(int(row), column, texts[row], known)
    return numbers


def numbered(classes: Sequence[str]) -> str:
    """The classes with their numbers, in words.

    >>> numbered(["no", "yes"])
    "0 is 'no', 1 is 'yes'"
    """
    return ", ".join(f"{number} is {name!r}" for number, name in enumerate(classes))


def listed(texts: Sequence[str]) -> str:
    """The texts in words, no more than a sentence can hold.

    >>> listed(["Oslo", "Rome"])
    "'Oslo', 'Rome'"
    """
    more = len(texts) - SHOWN
    words = ", ".join(map(repr, texts[:SHOWN]))
    return f"{words} and {more} more" if more > 0 else words
