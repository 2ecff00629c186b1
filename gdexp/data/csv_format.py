"""How a CSV file is written, and whether its first lines agree with that."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gdexp.data.advice import is_numeric
from gdexp.data.columns import quoted
from gdexp.data.numbers import BLANK, EMPTY, Notation
from gdexp.data.text_file import check_encoding
from gdexp.errors import ConfigError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "pipe": "|"}
COMMENTS = ("#", "%")
CLEAR = ("semicolon", "tab", "pipe")  # signs that are rare in names and numbers


@dataclass(frozen=True)
class Format:
    """How a CSV file is written.

    Attributes:
        separator: a name in SEPARATORS.
        decimal: a name in :data:`gdexp.data.numbers.DECIMALS`.
        thousands: a name in :data:`gdexp.data.numbers.THOUSANDS`; None if digits are not grouped.
        encoding: its encoding; None for UTF-8, or what its byte-order mark says.
        comment: lines that begin with it are skipped; None for no such lines.
        header: whether the first line names the columns; None if it does and no name is a number.

    Raises:
        ConfigError: if decimals and thousands have the same sign, or the encoding is unknown.
    """

    separator: str = "comma"
    decimal: str = "point"
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        if self.thousands == self.decimal:
            other = "comma" if self.decimal == "point" else "point"
            raise ConfigError(
                f"data.thousands: {self.thousands} is the decimal sign. Type "
                f"data.decimal={other} data.thousands={self.thousands}, or data.thousands=null."
            )
        if self.encoding is not None:
            check_encoding(self.encoding)
        if self.comment is not None and not str(self.comment).strip():
            raise ConfigError(
                f"data.comment: {self.comment!r} is not a sign that lines of comments begin with. "
                "Type for example data.comment='#'."
            )

    @cached_property
    def sign(self) -> str:
        """The sign between cells."""
        return SEPARATORS[self.separator]

    @cached_property
    def notation(self) -> Notation:
        """How numbers are written."""
        return Notation(self.decimal, self.thousands)

    def names(self, file: str, first: Sequence[str], second: Sequence[str]) -> list[str]:
        """The names of the columns, ``column_1``, … if the file has no header.

        Args:
            file: the file's name, for error messages.
            first: the cells of its first line, one or more.
            second: the cells of its second line; empty if it has none.

        Raises:
            ConfigError: if the lines show another separator, or the first one is a row.
        """
        self._check_comment(file, first, second)
        self._check_separator(file, first, second)
        if self.header is False:
            return [f"column_{number}" for number in range(1, len(first) + 1)]
        if self.header is None and self._is_row(first, second):
            raise ConfigError(
                f"data.header: the first line of {file}, {quoted(self.sign.join(first))}, looks "
                "like a row, not like names. Type data.header=false if it is a row (the columns "
                "are then column_1, column_2, …), or data.header=true if these are the names."
            )
        return [name.strip().lstrip("\ufeff") for name in first]

    def _is_row(self, first: Sequence[str], second: Sequence[str]) -> bool:
        """Whether names are all numbers; or some are, and cell by cell the next line is alike.

        Among others, numbers that count, as in 0,1,2,class, are names.
        """
        numbers = [is_numeric(name) for name in first]
        counted = [name for name, number in zip(first, numbers, strict=True) if number]
        if not counted or len(counted) == len(first):
            return bool(counted)
        if len(counted) > 2 and all(_follows(*pair) for pair in itertools.pairwise(counted)):
            return False
        filled = [
            (number, is_numeric(cell))
            for number, name, cell in zip(numbers, first, second, strict=False)
            if name.strip(BLANK) not in EMPTY and cell.strip(BLANK) not in EMPTY
        ]
        return bool(filled) and all(above == below for above, below in filled)

    def _check_comment(self, file: str, first: Sequence[str], second: Sequence[str]) -> None:
        line = self.sign.join(first).strip('" ')
        if line.lower().startswith("sep=") and len(line.rstrip(self.sign)) <= len("sep=;"):
            raise ConfigError(
                f"data.comment: the first line of {file}, {quoted(line)}, tells Excel the "
                "separator. Type data.comment=sep= to skip it."
            )
        sign = first[0].lstrip()[:1]
        if self.comment is None and sign in COMMENTS and len(first) != len(second):
            raise ConfigError(
                f"data.comment: the first line of {file}, {quoted(self.sign.join(first))}, looks "
                f"like a comment. Type data.comment='{sign}' to skip such lines."
            )

    def _check_separator(self, file: str, first: Sequence[str], second: Sequence[str]) -> None:
        for word, sign in SEPARATORS.items():
            name = next((name for name in first if sign in name), None)
            seen = name is not None and (not second or any(sign in cell for cell in second))
            if seen and sign != self.sign and (len(first) == 1 or word in CLEAR):
                what = f"no {self.separator} separates the names in the first line of {file}"
                if len(first) > 1:
                    what = f"a {word} is inside a name in the first line of {file}"
                raise ConfigError(
                    f"data.separator: {what}, {quoted(name)}. Did you mean data.separator={word}?"
                )


def _follows(name: str, following: str) -> bool:
    """Whether two names are whole numbers, one after the other."""
    return name.isdecimal() and following.isdecimal() and int(following) == int(name) + 1
