"""Several pictures on one sheet, such as a slide."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from html import escape

from gdexp.insight.pictures.picture import XML, Picture
from gdexp.insight.pictures.style import INK, PAPER, label, style

POINTS = 72  # to the inch
HEADING, TITLE, GAP = 30.0, 22.0, 12.0  # points
LETTER = 8.2  # points, of the heading
DPI = 150
_SIZE = re.compile(r'(?<= )(width|height)="([\d.]+)pt"')


def sheet(pictures: Sequence[Picture], kind: str, heading: str) -> bytes:
    """One file with all pictures, each below its title.

    Args:
        pictures: the pictures, one or more.
        kind: ``svg`` or ``png``.
        heading: what they are pictures of.
    """
    return _svg(pictures, heading) if kind == "svg" else _png(pictures, heading)


def _places(pictures: Sequence[Picture]) -> tuple[float, float, list[tuple[float, float]]]:
    """Width and height of the sheet and the upper left corner of each title, in points."""
    columns = len(pictures) if len(pictures) < 3 else 2 if len(pictures) == 4 else 3
    sizes = [picture.figure.get_size_inches() * POINTS for picture in pictures]
    width = max(float(size[0]) for size in sizes) + GAP
    height = max(float(size[1]) for size in sizes) + TITLE + GAP
    places = [
        (GAP + i % columns * width, HEADING + i // columns * height) for i in range(len(pictures))
    ]
    return GAP + columns * width, HEADING + math.ceil(len(pictures) / columns) * height, places


def _svg(pictures: Sequence[Picture], heading: str) -> bytes:
    width, height, places = _places(pictures)

    def parts() -> Iterator[str]:
        size = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
        yield f'{XML}\n<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
        yield f'<title>{escape(heading)}</title><rect width="100%" height="100%" fill="{PAPER}"/>'
        yield _text(label(heading, int(width / LETTER)), GAP, HEADING - 10, 13)
        for picture, (x, y) in zip(pictures, places, strict=True):
            yield _text(picture.title, x, y + TITLE - 7, 11)
            inner = picture.svg().decode().removeprefix(f"{XML}\n")
            inner = _SIZE.sub(r'\1="\2"', inner, count=2)
            words = (
                f"<title>{escape(picture.title)}</title><desc>{escape(picture.description)}</desc>"
            )
            yield f'<g role="img">{words}'
            yield inner.replace("<svg ", f'<svg x="{x:g}" y="{y + TITLE:g}" ', 1) + "</g>"
        yield "</svg>\n"

    return "\n".join(parts()).encode()


def _text(text: str, x: float, y: float, size: int) -> str:
    weight = f'x="{x:g}" y="{y:g}" font-size="{size}px" font-weight="bold" fill="{INK}"'
    return f"<text {weight}>{escape(text)}</text>"


def _png(pictures: Sequence[Picture], heading: str) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    width, height, places = _places(pictures)
    stream = io.BytesIO()
    with style():
        figure = Figure(figsize=(width / POINTS, height / POINTS), dpi=DPI)
        figure.set_layout_engine("none")

        def write(text: str, x: float, y: float, size: int) -> None:
            figure.text(x / width, 1 - y / height, text, fontsize=size, fontweight="bold")

        write(label(heading, int(width / LETTER)), GAP, HEADING - 10, 13)
        for picture, (x, y) in zip(pictures, places, strict=True):
            write(picture.title, x, y + TITLE - 7, 11)
            pixels = imread(io.BytesIO(picture.png(DPI)))
            bottom = (height - y - TITLE) * DPI / POINTS - len(pixels)
            figure.figimage(pixels, round(x * DPI / POINTS), round(bottom))
        figure.savefig(stream, format="png")
    return stream.getvalue()
