"""What a report says, as plain values; :func:`gdexp.insight.report.page.page` renders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from gdexp.insight.pictures.picture import Picture


class Setting(float):
    """A number that was typed, of which a table shows every digit."""


Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: what it shows.
        columns: the names of its columns.
        rows: the cells of each row, as many as there are columns; None: there is no value.
        is_sortable: whether readers can sort it by a column.
        is_folded: whether it is shown only when someone asks.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    is_sortable: bool = False
    is_folded: bool = False


@dataclass(frozen=True)
class Sentence:
    """A sentence or two."""

    kind: ClassVar[str] = "sentence"
    text: str


@dataclass(frozen=True)
class Code:
    """Commands, or the content of a file.

    Attributes:
        caption: what it is.
        text: the lines.
        is_folded: whether it is shown only when someone asks.
    """

    kind: ClassVar[str] = "code"
    caption: str
    text: str
    is_folded: bool = False


@dataclass(frozen=True)
class Drawing:
    """A picture, shown with its description and its numbers."""

    kind: ClassVar[str] = "drawing"
    picture: Picture


Block: TypeAlias = Table | Sentence | Code | Drawing


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Attributes:
        name: its anchor on the page.
        title: its heading.
        blocks: what it shows.
    """

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class View:
    """Everything that a page says.

    Attributes:
        title: what the page is about.
        command: what was asked: the command of the run or sweep; "" if it is not known.
        answer: what came of it, in a sentence.
        notes: what to know about it, in sentences.
        sections: the rest; those without blocks are left out.
        source: where the numbers are recorded, and when the page was made.
        limit: the bytes that the page should not exceed; pictures lose detail first.
    """

    title: str
    command: str
    answer: str
    notes: Sequence[str]
    sections: Sequence[Section]
    source: str
    limit: int = 150_000
