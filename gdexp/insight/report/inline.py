"""A picture as SVG inside a page: small, its ids its own, and one image to a screen reader."""

from __future__ import annotations

import base64
import re
from html import escape

from gdexp.insight.pictures.picture import Picture

_AROUND = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<\?.*?\?>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r'(url\(#|href="#)([^")]*)')
_FONT = re.compile(r" font-family: 'DejaVu Sans'[^;\"]*;?| transform=\"rotate\(-?0 [^\"]*\"")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?![\d]*e)")


def svg(picture: Picture, prefix: str) -> str:
    """The picture as an ``<svg>`` element.

    Args:
        picture: the picture.
        prefix: what its ids begin with; pictures on one page need different ones.
    """
    return _smaller(picture.svg().decode(), prefix)


def raster(picture: Picture, vector: str, dpi: int) -> str:
    """The same as an ``<svg>`` element of the same size that has a PNG in it."""
    width, height = _size(vector)
    png = base64.b64encode(picture.png(dpi)).decode()
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}"><image width="{width:g}" height="{height:g}" '
        f'href="data:image/png;base64,{png}"/></svg>'
    )


def labelled(svg: str, description: str) -> str:
    """The element as one image to a screen reader, which the keyboard can reach."""
    label = escape(description)
    return svg.replace("<svg ", f'<svg role="img" tabindex="0" aria-label="{label}" ', 1)


def _size(svg: str) -> tuple[float, float]:
    """Width and height of the view box."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    return (float(box[1]), float(box[2])) if box else (460.8, 288.0)


def _smaller(svg: str, prefix: str) -> str:
    """The element alone, with short numbers, and only the ids that something refers to."""
    svg = _AROUND.sub("", svg[svg.index("<svg") :])
    used = {name for _, name in _REFERENCE.findall(svg)}
    names = {name: f"{prefix}{number}" for number, name in enumerate(sorted(used))}

    def shorter(tag: re.Match[str]) -> str:
        text = _ID.sub(lambda own: f'id="{names[own[1]]}"' if own[1] in names else "", tag[0])
        text = _REFERENCE.sub(lambda to: to[1] + names.get(to[2], to[2]), text)
        text = _FONT.sub("", text)  # the page's style has the font
        if "base64" not in text:
            text = _LONG_NUMBER.sub(_rounded, text)
        return re.sub(r"\s+", " ", text).replace(" >", ">").replace(" />", "/>")

    svg = _TAG.sub(shorter, svg).replace("xlink:href", "href")
    svg = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    return re.sub(r">\s+<", "><", svg).strip()


def _rounded(number: re.Match[str]) -> str:
    """A number with two decimals, or four digits if it is small."""
    value = float(number[0])
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 10 else f"{value:.4g}"
