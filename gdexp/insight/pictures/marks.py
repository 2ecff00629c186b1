"""Marks that tell how runs behaved, and the legend below the axes that says what they mean."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.insight.pictures.state import (
    BOUND,
    DIVERGED,
    GROWING,
    MONOTONE,
    OSCILLATING,
    PLAIN,
    UNFINISHED,
)
from gdexp.insight.pictures.style import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACCENT = "#d1105a"  # of the bound, and of what contradicts it
GREY = "#c8c8c8"  # of cells without a loss
MARKS = {  # a marker, or the character that is one, and what it means
    MONOTONE: ("o", "monotone"),
    OSCILLATING: ("~", "oscillating"),
    GROWING: ("^", "growing"),
    DIVERGED: ("x", "diverged"),
    UNFINISHED: ("?", "not finished"),
    PLAIN: ("o", "completed"),
}
WRITTEN = "~?"
AROUND, PER_INCH = 7, 14  # characters: as wide as a mark and the space around it, and an inch
DASHED: dict[str, Any] = {"color": ACCENT, "ls": "--", "lw": 1.8, "label": BOUND}
BOUND_LABEL = "largest lr that converges, as forecast"
ODD_LABEL = "contradicts the forecast"


def marker(state: str) -> Any:
    """The marker of a state, for Matplotlib."""
    character = MARKS[state][0]
    return _glyph(character) if character in WRITTEN else character


@functools.cache
def _glyph(character: str) -> Any:
    """The outline of a character around the origin."""
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    path = TextPath((0, 0), character, size=1)
    box = path.get_extents()
    middle = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2)
    return middle.transform_path(path)


def keys_of(states: Iterable[str], *, odd: bool, bound: bool, shown: Sequence[str]) -> list[Any]:
    """The handles of a legend.

    Args:
        states: the states that occur.
        odd: whether a run contradicts the forecast.
        bound: whether a bound is drawn.
        shown: the states that have a mark.
    """
    present = set(states)
    keys = []
    for state, (_, meaning) in MARKS.items():
        if state in present:
            is_marked = state in shown
            text = meaning if is_marked else f"no mark: {meaning}"
            keys.append(key(text, ls="", marker=marker(state) if is_marked else "", ms=6))
    if odd:
        keys.append(key(ODD_LABEL, ls="", marker="o", mfc="none", mec=ACCENT, ms=10, mew=1.5))
    if bound:
        keys.append(key(BOUND_LABEL, **{k: v for k, v in DASHED.items() if k != "label"}))
    return keys


def key(meaning: str, **given: Any) -> Any:
    """The handle of a line or a mark in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"color": INK, "lw": 1.4, "label": meaning, **given})


def legend_below(figure: Figure, keys: Sequence[Any]) -> None:
    """A legend below the axes, in as many columns as fit; none without keys."""
    if not keys:
        return
    widths = np.array([len(each.get_label()) + AROUND for each in keys])

    def fits(columns: int) -> bool:
        parts = np.array_split(widths, columns)
        return bool(sum(part.max() for part in parts) <= PER_INCH * figure.get_figwidth())

    columns = next(filter(fits, range(len(keys), 1, -1)), 1)
    figure.legend(handles=keys, loc="outside lower center", ncols=columns, handletextpad=0.5)
