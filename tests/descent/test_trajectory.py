"""What a trajectory holds of each iteration, against the iterations themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from gdexp import pytorch
from gdexp.descent.trajectory import SMALL, Trajectory
from gdexp.types import Iteration, Parameters

SHAPES: dict[str, tuple[int, ...]] = {
    "number": (),
    "one": (1,),
    "row": (1, 3),
    "matrix": (2, 4),
    "small": (SMALL,),
    "large": (SMALL + 1,),
    "larger": (5, 7),
}


def drawn(seed: int, tensors: bool) -> Parameters:
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    if not tensors:
        return {**values, "number": float(values["number"])}
    return {name: torch.tensor(value) for name, value in values.items()}


def steps(
    epochs: int, tensors: bool, bad: tuple[int, str] | None = None
) -> tuple[Parameters, Iterator[Iteration]]:
    """Parameters that move in place, as the loop's do, and their iterations."""
    parameters = drawn(0, tensors)
    for value in parameters.values():
        if tensors:
            value.requires_grad_()

    def iterations() -> Iterator[Iteration]:
        for epoch in range(1, epochs + 1):
            gradients = drawn(epoch, tensors)
            if bad and bad[0] == epoch:
                gradients[bad[1]] = gradients[bad[1]] * math.inf
            for name, gradient in gradients.items():
                if tensors:
                    parameters[name].detach().sub_(gradient)
                else:
                    parameters[name] -= gradient
            loss: Any = np.float32(1 / epoch)
            yield Iteration(epoch, torch.tensor(loss) if tensors else loss, parameters, gradients)

    return parameters, iterations()


def oracle(epochs: int, tensors: bool) -> dict[str, list[float]]:
    """The same curves, each number of each epoch taken one by one."""
    curves: dict[str, list[float]] = {}
    for _, loss, parameters, gradients in steps(epochs, tensors)[1]:
        curves.setdefault("train/loss", []).append(float(loss))
        for prefix, arrays in (("param", parameters), ("grad", gradients)):
            for name, value in arrays.items():
                plain = value.detach().numpy() if tensors else np.asarray(value)
                if plain.size > SMALL:
                    kind = torch.linalg.vector_norm if tensors else np.linalg.norm
                    numbers = {f"{name}.norm": kind(value.detach() if tensors else value)}
                elif plain.size == 1:
                    numbers = {name: plain.reshape(-1)[0]}
                else:
                    numbers = {f"{name}/{i}": v for i, v in enumerate(plain.reshape(-1))}
                for key, number in numbers.items():
                    curves.setdefault(f"{prefix}/{key}", []).append(float(number))
    return curves


@pytest.mark.parametrize("tensors", [False, True])
def test_every_number_is_recorded_and_the_norm_of_many(tensors: bool) -> None:
    parameters, iterations = steps(7, tensors)
    trajectory = Trajectory(parameters, 7, measures={"lr": lambda: 0.1})
    assert [trajectory.extend(itertools.islice(iterations, 3)) for _ in range(4)] == [3, 3, 1, 0]
    curves = {name: values.tolist() for name, values in trajectory.columns().items()}
    assert curves == {**oracle(7, tensors), "lr": [0.1] * 7}


def test_what_is_joined_on_a_device_is_what_is_recorded_here() -> None:
    parameters, iterations = steps(5, tensors=True)
    trajectory = Trajectory(parameters, 5, measures={"kept": lambda: torch.tensor(0.5)})
    trajectory.extend(iterations)
    rows = pytorch.joined(steps(5, tensors=True)[1], [lambda: torch.tensor(0.5)], SMALL)
    np.testing.assert_array_equal(rows.T, trajectory.table)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name", ["number", "matrix", "larger"])
def test_it_ends_before_the_first_epoch_that_is_not_finite(tensors: bool, name: str) -> None:
    parameters, iterations = steps(9, tensors, bad=(4, name))
    trajectory = Trajectory(parameters, 9)
    assert trajectory.extend(iterations) == 3
    assert trajectory.diverged
    assert trajectory.table.shape[1] == trajectory.length == 3
    assert next(iterations).epoch == 5  # no later one has been asked for


@pytest.mark.parametrize("tensors", [False, True])
def test_epochs_before_an_interruption_are_kept(tensors: bool) -> None:
    parameters, iterations = steps(3, tensors)

    def interrupted() -> Iterator[Iteration]:
        yield from iterations
        raise KeyboardInterrupt

    trajectory = Trajectory(parameters, 9)
    with pytest.raises(KeyboardInterrupt):
        trajectory.extend(interrupted())
    assert trajectory.loss.tolist() == oracle(3, tensors)["train/loss"]
