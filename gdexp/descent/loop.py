"""The training loop, one for every combination of the four families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gdexp.types import Array, Gradient, Iteration, Loss, Predictor, Updater


def descend(
    x: Array,
    y: Array,
    predictor: Predictor,
    gradient: Gradient,
    loss: Loss,
    updater: Updater,
    iters: int,
    first: int = 1,
) -> Iterator[Iteration]:
    """Gradient descent, one iteration at a time; stop iterating at any time.

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
    for epoch in range(first, iters + 1):
        y_pred = predictor(x)
        value = loss(y_pred, y)
        gradients = gradient(parameters, x, y, y_pred, value)
        updater(parameters, gradients)
        yield Iteration(epoch, value, parameters, gradients)


def descend_in_batches(
    batches: Callable[[int], Iterable[tuple[Array, Array]]],
    predictor: Predictor,
    gradient: Gradient,
    loss: Loss,
    updater: Updater,
    iters: int,
    first: int = 1,
) -> Iterator[Iteration]:
    """Gradient descent with one update for each minibatch; an epoch is one pass over all rows.

    ``batches(epoch)`` gives the minibatches (x, y) of an epoch. The loss of an epoch is the mean
    over its rows, or the sum if the loss sums, each computed before the update of its minibatch.
    The gradients are those of the last minibatch.
    """
    summed = getattr(loss, "reduction", "mean") == "sum"
    for epoch in range(first, iters + 1):
        total, rows = 0.0, 0
        for x, y in batches(epoch):
            (step,) = descend(x, y, predictor, gradient, loss, updater, iters=1)
            value = step.loss.detach() if hasattr(step.loss, "detach") else step.loss
            total += value if summed else value * len(y)
            rows += len(y)
        yield step._replace(epoch=epoch, loss=total if summed else total / rows)
