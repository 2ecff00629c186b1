"""The runs of a sweep in the panels and the cells of a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gdexp.insight.pictures.axes import Axis, Floats, Row
from gdexp.insight.pictures.state import (
    UNFINISHED,
    bound_of,
    is_above,
    is_lr,
    loss_of,
    rank,
    state_of,
)

PANELS = 6  # that a picture has at most


@dataclass(frozen=True)
class Panel:
    """One map: the runs that agree in all settings but those of its axes, and the seed.

    Attributes:
        title: the settings that distinguish the panel, such as ``step=manual``; "" if it is alone.
        rows: its runs.
        cells: one run for each cell that has any, by its indices (across, up).
        repeated: how many runs the fullest cell has.
    """

    title: str
    rows: Sequence[Row]
    cells: dict[tuple[int, int], Row]
    repeated: int

    def losses(self, shape: tuple[int, int]) -> Floats:
        """The final loss of each cell, shape (up, across); NaN where there is none to show."""
        table = np.full(shape, math.nan)
        for (i, j), row in self.cells.items():
            if math.isfinite(rank(row)):
                table[j, i] = loss_of(row)
        return table

    def where(self, state: str, shape: tuple[int, int]) -> Floats:
        """1 in the cells whose run has this state, NaN elsewhere, shape (up, across)."""
        table = np.full(shape, math.nan)
        for (i, j), row in self.cells.items():
            if state_of(row) == state:
                table[j, i] = 1.0
        return table

    def bounds(self, along: int, count: int) -> list[float]:
        """The forecast's largest lr at each index of the other axis.

        NaN where a run that ended has none, such as Adam's beside those of SGD.

        Args:
            along: the axis of the learning rate: 0 across, 1 up.
            count: the length of the other axis.
        """
        known: list[list[float]] = [[] for _ in range(count)]
        for place, row in self.cells.items():
            if math.isfinite(bound := bound_of(row)) or state_of(row) != UNFINISHED:
                known[place[1 - along]].append(bound)
        return [float(np.median(values)) if values else math.nan for values in known]

    def has_bound(self, across: Axis, up: Axis) -> bool:
        """Whether a bound is drawn: as a line if an axis is that of the lr, else between cells."""
        for along, axis in enumerate((across, up)):
            if is_lr(axis.key, self.rows):
                bounds = self.bounds(along, len(up if along == 0 else across))
                return any(map(math.isfinite, bounds))
        return bool(self.edges())

    def edges(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """The edges between neighbouring cells of which one is above the bound, one not."""
        lines = []
        for (i, j), row in self.cells.items():
            right, upper = self.cells.get((i + 1, j)), self.cells.get((i, j + 1))
            if right is not None and is_above(row) != is_above(right):
                lines.append(((i + 0.5, i + 0.5), (j - 0.5, j + 0.5)))
            if upper is not None and is_above(row) != is_above(upper):
                lines.append(((i - 0.5, i + 0.5), (j + 0.5, j + 0.5)))
        return lines


def panel(
    rows: Sequence[Row], across: Axis, up: Axis, title: str = "", best: bool = False
) -> Panel:
    """Put runs into cells; of several runs in a cell, it shows the median, or the best."""
    first, second = across.index, up.index
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((first[across.of(row)], second[up.of(row)]), []).append(row)
    cells = {}
    for place, group in groups.items():
        ranked = sorted(group, key=rank)
        cells[place] = ranked[0 if best else (len(ranked) - 1) // 2]
    return Panel(title, rows, cells, max(map(len, groups.values()), default=0))


def facets(rows: Sequence[Row], others: Sequence[Axis]) -> dict[str, list[Row]]:
    """The runs by their settings on other axes, as in ``step=manual``."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        words = [f"{axis.key}={_word(axis, row)}" for axis in others]
        groups.setdefault(", ".join(words), []).append(row)
    return groups


def _word(axis: Axis, row: Row) -> str:
    return axis.label(axis.of(row))
