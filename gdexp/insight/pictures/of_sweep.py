"""The pictures of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gdexp.insight.curvature import Floats
from gdexp.insight.pictures.picture import Picture

Row = Mapping[str, Any]
Losses = Callable[[Sequence[str]], Mapping[str, tuple[Floats, Floats]]]
"""From ids of runs to their recorded (epochs, losses)."""


def of_sweep(rows: Sequence[Row], losses: Losses | None = None) -> Iterator[Picture]:
    """Draw a sweep: as many pictures as its runs have numbers for.

    Args:
        rows: a row for each run: ``run_id``, ``outcome``, its params (strings, as recorded) and
            its metrics, by name, as :func:`gdexp.sweep.summary.row_of` makes it of a recorded run.
        losses: reads the curves of the loss; None: they are not drawn.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    lr = [float(row["lr"]) for row in rows]
    final = [row.get("final/loss") for row in rows]
    axes.scatter(lr, [float("nan") if v is None else v for v in final])
    axes.set_xlabel("lr")
    axes.set_ylabel("final loss")
    table = {"lr": lr, "final/loss": final}
    yield Picture("map", "Final loss", "The final loss of each run.", table, figure)
