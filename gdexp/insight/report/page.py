"""Rendering a report: a :class:`View` becomes one HTML page without any reference elsewhere.

The template, the style and the script are files of this folder; Jinja2 escapes every value.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gdexp.descent.numbers import short
from gdexp.insight.report import inline, points
from gdexp.insight.report.view import Drawing, Table, Value, View

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

MARK = b'<meta name="generator" content="gdexp report">'
"""What distinguishes a report from other HTML files; near its start."""

ROWS = 200  # of the table of a picture


def page(view: View) -> str:
    """The page as HTML."""
    return _template().render(view=view)


def is_report(start: bytes) -> bool:
    """Whether a file is a report that :func:`page` has rendered.

    Args:
        start: the first kilobyte of its content.
    """
    return MARK in start


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "cell": cell,
        "drawn": drawn,
        "cells": cells_of,
        "texts": texts_of,
    }
    own = {
        "mark": _own_text(MARK.decode()),
        "style": _own("style.css"),
        "script": _own("script.js"),
    }
    return environment.from_string(str(_own("page.html")), globals=own)


def _own(name: str) -> Markup:
    """A file of this folder."""
    return _own_text(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _own_text(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)


def cell(value: Value) -> str:
    """A value as a table shows it: six digits of a number that is not whole.

    >>> cell(0.123456789), cell(20), cell(True), cell(None), cell(float("nan")), cell(2.0)
    ('0.123457', '20', 'true', '–', 'NaN', '2')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return short(value) if math.isfinite(value) else str(value).replace("nan", "NaN")
    return str(value)


def texts_of(table: Table) -> list[int]:
    """The columns, from 1, that are not numbers, and so stand left."""
    return [
        number
        for number, cells in enumerate(zip(*table.rows, strict=True), 1)
        if any(isinstance(value, str | bool) for value in cells)
    ]


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it.

    Attributes:
        svg: its markup.
        points: what it says at which place, see :mod:`gdexp.insight.report.points`.
    """

    svg: Markup
    points: Sequence[points.Group]


def drawn(drawing: Drawing) -> Drawn:
    """Draw a picture, with the numbers that the cursor reads in it."""
    picture = drawing.picture
    svg = inline.inline(picture, prefix=f"{picture.name}-")
    return Drawn(_own_text(svg), points.points(picture.figure))


def cells_of(drawing: Drawing) -> Table:
    """The numbers of a picture as a table of at most 200 rows, evenly chosen."""
    table: dict[str, Any] = {name: _plain(column) for name, column in drawing.picture.table.items()}
    count = max(map(len, table.values()), default=0)
    step = max(1, -(-count // ROWS))
    chosen = sorted({*range(0, count, step), *([count - 1] if count else [])})
    rows = [[column[i] if i < len(column) else None for column in table.values()] for i in chosen]
    caption = f"The numbers of this picture: {drawing.picture.title}"
    if step > 1:
        caption += f" ({len(rows)} of {count} rows)"
    return Table(caption, list(table), rows, is_folded=True)


def _plain(column: Any) -> list[Value]:
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    return [
        value if isinstance(value, bool | int | float | str | None) else str(value)
        for value in values
    ]
