"""The pictures of one run."""

from __future__ import annotations

from collections.abc import Iterator

from gdexp.descent.result import Result
from gdexp.insight.pictures.picture import Picture


def of_run(result: Result) -> Iterator[Picture]:
    """Draw a run: as many pictures as its record has numbers for.

    Args:
        result: the result of a run that has ended, computed here or read from its record.
            ``result.job``, if it is known, says what was minimised and on which data.
    """
    from matplotlib.figure import Figure

    trajectory = result.trajectory
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    axes.semilogy(trajectory.epochs, trajectory.loss)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    table = {"epoch": trajectory.epochs, "loss": trajectory.loss}
    yield Picture("loss", "Loss", f"The loss by epoch: {result.outcome}.", table, figure)
