"""A picture: a Matplotlib figure, the sentence that describes it, and its numbers as a table."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from gdexp.insight.pictures.style import GRID, INK, PAPER, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

XML = '<?xml version="1.0" encoding="utf-8"?>'
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_RULES = re.compile(r"\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_NUMBERS = re.compile(r'(?<= )(?:d|x|y)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_IDS = re.compile(r' id="[A-Za-z0-9.]+_\d+"')  # of groups: a page with two pictures has them twice
_UNTURNED = re.compile(r' transform="rotate\(-?0 [^"]*"')
_SPACE = re.compile(r"\n\s*")
_FAMILY = re.compile(r"'?DejaVu Sans'?(?:, '[\w ]+')*, sans-serif|'?DejaVu Sans'?")


@dataclass(frozen=True)
class Picture:
    """One picture, with everything that a reader who cannot see it needs.

    Attributes:
        name: the stem of its file, such as ``loss``.
        title: what it shows, in a few words.
        description: what can be seen in it, in a sentence or two.
        table: its numbers, as columns by name; thinned if they are many.
        figure: the figure.
    """

    name: str
    title: str
    description: str
    table: Mapping[str, Any]
    figure: Figure

    def svg(self) -> bytes:
        """The picture as SVG: text stays text, and the same numbers give the same bytes."""
        text = _tidied(self._saved("svg", metadata=_NO_METADATA).decode())
        return f"{XML}\n{text}".encode()

    def inline(self) -> str:
        """The picture as SVG for an HTML page: in the colour of its text, on its background."""
        text = _tidied(self._saved("svg", metadata=_NO_METADATA).decode())
        text = text.replace(INK, "currentColor").replace(PAPER, "none")
        text = text.replace(f"stroke: {GRID}", "stroke: currentColor; stroke-opacity: 0.2")
        words = escape(f"{self.title}. {self.description}")
        return text.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)

    def png(self, dpi: int = 150) -> bytes:
        """The picture as PNG."""
        return self._saved("png", dpi=dpi)

    def _saved(self, kind: str, **options: Any) -> bytes:
        stream = io.BytesIO()
        with style(**{"svg.hashsalt": self.name}):
            self.figure.savefig(stream, format=kind, **options)
            self.figure.set_layout_engine("none")  # once more would move it by a hundredth
        return stream.getvalue()


def _tidied(svg: str) -> str:
    """An SVG without rules that would reach other elements of a page, and with fewer bytes."""
    svg = _RULES.sub("", _PROLOGUE.sub("", svg), count=1)
    svg = _NUMBERS.sub(lambda numbers: _DECIMALS.sub(r"\1", numbers[0]), svg)
    svg = _FAMILY.sub("sans-serif", _UNTURNED.sub("", _IDS.sub("", svg)))
    svg = _SPACE.sub("\n", svg).replace("<g>\n", "<g>").replace(' \n"', '"').replace('\n"', '"')
    return svg.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)
