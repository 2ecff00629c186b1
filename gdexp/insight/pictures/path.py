"""The path of a descent, as far as it can be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.result import Result
from gdexp.insight.curvature import Floats
from gdexp.insight.pictures.rebuilt import Landscape

GROWN = 100.0  # times the first loss: steps beyond would make all others invisible
LARGEST = 1e100  # the square of which can be drawn
FIRST, LATER = 60, 40  # epochs whose steps are drawn: the first, and others ever farther apart


@dataclass(frozen=True)
class Path:
    """The parameters after each epoch that is drawn.

    Attributes:
        epochs: 0 is the start, shape (k,).
        points: the parameters, shape (k, p).
        losses: the loss at each, NaN where it is not known, shape (k,).
        is_cut: whether the loss grows so much that later epochs are left out.
    """

    epochs: NDArray[np.int64]
    points: Floats
    losses: Floats
    is_cut: bool


def path_of(result: Result, ground: Landscape | None, *, known: bool = False) -> Path:
    """The path, thinned; the loss after epoch k is the one recorded in epoch k + 1.

    Args:
        result: the run.
        ground: the loss; None: the start and the loss after the last epoch are not known.
        known: whether points whose loss is not known are left out.
    """
    loss, epochs = result.trajectory.loss, result.trajectory.length
    points = np.array([*result.trajectory.parameters.values()]).T
    too_far = np.flatnonzero(loss > GROWN * max(loss[0], 1e-300))
    last = max(2, int(too_far[0])) if len(too_far) else epochs
    last = min(last, epochs)
    shown = np.arange(1, last + 1)
    if last > FIRST + LATER:
        later = np.geomspace(FIRST, last, LATER).astype(np.int64)
        shown = np.unique(np.concatenate([shown[:FIRST], later]))
    losses = np.append(loss, np.nan)[shown]
    points = points[shown - 1]
    if ground is not None:
        if shown[-1] == epochs:
            losses[-1] = ground.loss(points[-1:])[0]
        shown, points = np.append(0, shown), np.vstack([ground.start, points])
        losses = np.append(loss[0], losses)
    visible = (np.abs(points) < LARGEST).all(axis=1) & ~(np.abs(losses) >= LARGEST)
    is_cut = last < epochs or not visible.all()
    visible &= np.isfinite(losses) | (not known)
    return Path(shown[visible], points[visible], losses[visible], is_cut)
