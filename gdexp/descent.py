"""The training loop, once, for every combination of the four families."""

from __future__ import annotations

from collections.abc import Iterator

from gdexp.types import Array, Gradient, Iteration, Loss, Predictor, Updater


def descend(
    x: Array,
    y: Array,
    predictor: Predictor,
    gradient: Gradient,
    loss: Loss,
    updater: Updater,
    iters: int,
) -> Iterator[Iteration]:
    """Gradient descent, one iteration at a time; stop whenever you have seen enough.

    >>> import numpy as np
    >>> from gdexp import manual
    >>> x = np.array([1, 2, 3, 4], dtype=np.float32)
    >>> families = manual.Predictor(), manual.Gradient(), manual.Loss(), manual.Updater(lr=0.01)
    >>> for epoch, loss, parameters, gradients in descend(x, 2 * x, *families, iters=2):
    ...     print(f"epoch {epoch}: w = {parameters['w']:.3f}, loss = {loss:.3f}")
    epoch 1: w = 0.300, loss = 30.000
    epoch 2: w = 0.555, loss = 21.675
    """
    parameters = predictor.parameters
    for epoch in range(1, iters + 1):
        y_pred = predictor(x)
        value = loss(y_pred, y)
        gradients = gradient(parameters, x, y, y_pred, value)
        updater(parameters, gradients)
        yield Iteration(epoch, value, parameters, gradients)
