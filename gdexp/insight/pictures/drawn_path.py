"""The path of a descent, as far as it can be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.build import Components
from gdexp.descent.result import Result
from gdexp.insight.dynamics.curvature import Floats
from gdexp.insight.pictures.rebuilt import Landscape, has_norms, retraced

GROWN = 100.0  # times the first loss: steps beyond would make all others invisible
LARGEST = 1e100  # the square of which can be drawn
FIRST, LATER = 60, 40  # epochs whose steps are drawn: the first, and others ever farther apart


@dataclass(frozen=True)
class DrawnPath:
    """The parameters after each epoch that is drawn.

    Attributes:
        names: of the parameters, p of them.
        epochs: 0 is the start, shape (k,).
        points: the parameters, shape (k, p).
        losses: the loss at each, NaN where it is not known, shape (k,).
        is_cut: whether the loss grows so much that later epochs are left out.
    """

    names: tuple[str, ...]
    epochs: NDArray[np.int64]
    points: Floats
    losses: Floats
    is_cut: bool


def path_of(result: Result, built: Components | None, ground: Landscape | None) -> DrawnPath | None:
    """The path, thinned; None if no point of it is known.

    The loss after epoch k is the one recorded in epoch k + 1. Of a single parameter, points are
    left out whose loss is not known.

    Args:
        result: the run.
        built: its components.
        ground: the loss; None: the start and the loss after the last epoch are not known.
    """
    loss, length = result.trajectory.loss, result.trajectory.length
    epochs, is_cut = _shown(loss)
    names = result.trajectory.names
    points = np.array([*result.trajectory.parameters.values()]).T[epochs - 1]
    if has_norms(result):
        if built is None or ground is None:
            return None
        names, again = retraced(result, built, ground.start, epochs)
        if again is None:
            return None
        points = again
    losses = np.append(loss, np.nan)[epochs]
    if ground is not None:
        if epochs[-1] == length:
            losses[-1] = ground.loss(points[-1:])[0]
        epochs, points = np.append(0, epochs), np.vstack([ground.start, points])
        losses = np.append(loss[0], losses)
    visible = (np.abs(points) < LARGEST).all(axis=1) & ~(np.abs(losses) >= LARGEST)
    is_cut |= not visible.all()
    visible &= np.isfinite(losses) | (len(names) > 1)
    if not visible.any():
        return None
    return DrawnPath(names, epochs[visible], points[visible], losses[visible], is_cut)


def _shown(loss: Floats) -> tuple[NDArray[np.int64], bool]:
    """The epochs to draw, and whether they end where the loss has grown too far."""
    too_far = np.flatnonzero(loss > GROWN * max(loss[0], 1e-300))
    last = min(max(2, int(too_far[0])), len(loss)) if len(too_far) else len(loss)
    epochs = np.arange(1, last + 1)
    if last > FIRST + LATER:
        later = np.geomspace(FIRST, last, LATER).astype(np.int64)
        epochs = np.unique(np.concatenate([epochs[:FIRST], later]))
    return epochs, last < len(loss)
