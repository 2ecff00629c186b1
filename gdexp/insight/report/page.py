"""Rendering a report: a :class:`View` becomes one HTML page without any reference elsewhere.

The template, the style and the script are files of this folder; Jinja2 escapes every value.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

from gdexp.descent.numbers import exact, short
from gdexp.insight.report.illustrations import Illustration, illustrations
from gdexp.insight.report.view import Drawing, Section, Setting, Table, Value, View

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

SAFE = ("utf-8", "xmlcharrefreplace")
"""How a page becomes bytes, also where a name has half a character."""

MARK = b'<meta name="generator" content="gdexp report">'
"""What distinguishes a report from other HTML files; near its start."""


def page(view: View) -> str:
    """The page as HTML, in at most ``view.limit`` bytes if that is possible."""
    sections = [section for section in view.sections if section.blocks]
    blocks = [block for section in sections for block in section.blocks]
    pictures = [block.picture for block in blocks if isinstance(block, Drawing)]
    rest = len(_render(view, [_without_drawings(section) for section in sections]).encode(*SAFE))
    return _render(view, sections, illustrations(pictures, view.limit - rest))


def _render(view: View, sections: Sequence[Section], pictures: Sequence[Illustration] = ()) -> str:
    return _template().render(view=view, sections=sections, pictures=iter(pictures))


def _without_drawings(section: Section) -> Section:
    return replace(section, blocks=[b for b in section.blocks if not isinstance(b, Drawing)])


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
    environment.filters |= {"cell": cell, "texts": texts_of}
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
    """A value as a table shows it: six digits of a result, and a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Setting):
        return exact(float(value))
    if isinstance(value, float):
        return short(value) if math.isfinite(value) else str(value).replace("nan", "NaN")
    return str(value)


def texts_of(table: Table) -> list[int]:
    """The columns, from 1, that are not numbers, and so stand left."""
    return [
        place
        for place, cells in enumerate(zip(*table.rows, strict=True), 1)
        if any(isinstance(value, str | bool) for value in cells)
    ]
