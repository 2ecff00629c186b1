"""Pictures as a page shows them, in as much detail as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdexp.insight.pictures.picture import Picture
from gdexp.insight.report import inline, points
from gdexp.insight.report.view import Table, Value

WIDE = 7.5  # inches, above which two pictures beside each other are hard to read


class Detail(NamedTuple):
    """How much of a picture is shown.

    Attributes:
        svg: bytes above which a picture becomes PNG, if that is smaller.
        dpi: of the PNG.
        points: how many the cursor can read.
        rows: how many the table of its numbers has.
    """

    svg: int
    dpi: int
    points: int
    rows: int


DETAILS = (
    Detail(60_000, 110, 1200, 200),
    Detail(40_000, 100, 400, 100),
    Detail(20_000, 90, 150, 50),
    Detail(10_000, 70, 60, 20),
)


@dataclass(frozen=True)
class Illustration:
    """A picture as the page shows it.

    Attributes:
        title: what it shows.
        description: what can be seen in it.
        svg: its markup.
        points: what it says at which place.
        table: its numbers.
        is_wide: whether it needs the width of the page.
    """

    title: str
    description: str
    svg: str
    points: Sequence[points.Group]
    table: Table
    is_wide: bool

    @property
    def size(self) -> int:
        """The number of characters it takes, about."""
        cells = sum(len(str(value)) + 4 for row in self.table.rows for value in row)
        return len(self.svg) + cells + sum(len(str(group)) for group in self.points)


def illustrations(pictures: Sequence[Picture], room: int) -> list[Illustration]:
    """Draw pictures in the most detail with which all of them fit, or else the least.

    Args:
        pictures: the pictures.
        room: the number of characters that they may take.
    """
    vector = [inline.svg(picture, f"p{i}-") for i, picture in enumerate(pictures)]
    made: list[Illustration] = []
    for detail in DETAILS:
        made = [_illustration(*each, detail) for each in zip(pictures, vector, strict=True)]
        if sum(each.size for each in made) <= room:
            break
    return made


def _illustration(picture: Picture, vector: str, detail: Detail) -> Illustration:
    svg = vector
    if len(svg) > detail.svg:
        svg = min(svg, inline.raster(picture, vector, detail.dpi), key=len)
    return Illustration(
        picture.title,
        picture.description,
        inline.labelled(svg, picture.description),
        points.points(picture.figure, detail.points),
        numbers(picture, detail.rows),
        picture.figure.get_figwidth() > WIDE,
    )


def numbers(picture: Picture, most: int) -> Table:
    """The numbers of a picture: at most this many rows, evenly chosen, with the last."""
    table = {name: _plain(column) for name, column in picture.table.items()}
    count = max(map(len, table.values()), default=0)
    chosen = sorted({*range(0, count, max(1, -(-count // most))), *([count - 1] if count else [])})
    rows = [[column[i] if i < len(column) else None for column in table.values()] for i in chosen]
    part = f" ({len(rows)} of {count} rows)" if len(rows) < count else ""
    return Table(f"The numbers of this picture: {picture.title}{part}", list(table), rows)


def _plain(column: Any) -> list[Value]:
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    return [
        value if isinstance(value, bool | int | float | str | None) else str(value)
        for value in values
    ]
