"""All sixteen combinations of the four families follow one trajectory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gdexp import run
from gdexp.experiment import Result

FAMILIES = {
    "predictor": ("manual", "model"),
    "gradient": ("manual", "autograd"),
    "loss": ("manual", "MSELoss"),
    "updater": ("manual", "SGD"),
}
COMBINATIONS = [
    tuple(f"{family}={option}" for family, option in zip(FAMILIES, options, strict=True))
    for options in itertools.product(*FAMILIES.values())
]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def start(*overrides: str) -> Result:
    return run(*overrides, "tracking=off", "iters=60")


def reference(bias: bool, lr: float, init: float) -> dict[str, np.ndarray]:
    """The recurrence of gradient descent on the mean squared error, written out in float64."""
    x, y = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 6, 8])
    w, b = init, init if bias else 0.0
    rows = []
    for _ in range(60):
        residual = w * x + b - y
        loss, dw, db = np.mean(residual**2), np.mean(2 * x * residual), np.mean(2 * residual)
        w, b = w - lr * dw, b - lr * db * bias
        rows.append((loss, w, b, dw, db))
    names = ("train/loss", "param/w", "param/b", "grad/w", "grad/b")
    return dict(zip(names, np.array(rows).T, strict=True))


@pytest.mark.parametrize(
    ("combination", "dtype"),
    [*((one, "float32") for one in COMBINATIONS), (COMBINATIONS[0], "float64")],
)
def test_every_combination_follows_the_same_trajectory(
    combination: tuple[str, ...], dtype: str
) -> None:
    result = start(*combination, f"dtype={dtype}", "lr=0.02")
    expected = reference(bias=False, lr=0.02, init=0)
    assert result.outcome == "completed"
    assert set(result.trajectory.columns()) == {"train/loss", "param/w", "grad/w"}
    for name, values in result.trajectory.columns().items():
        # Near the minimum the loss is a difference of almost equal numbers, so what can be asked
        # for is precision relative to the curve's largest value.
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("combination", COMBINATIONS, ids=" ".join)
def test_bias_and_start_mean_the_same_for_every_combination(combination: tuple[str, ...]) -> None:
    result = start(
        *combination, "dtype=float64", "lr=0.02", "predictor.bias=true", "predictor.init=-1.1"
    )
    expected = reference(bias=True, lr=0.02, init=-1.1)
    assert len(result.trajectory.columns()) == 5
    for name, values in result.trajectory.columns().items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-12 * 100)


@pytest.mark.parametrize(("bias", "dtype"), [("true", "float32"), ("false", "float64")])
def test_torchs_initialisation_is_one_start_for_both_predictors(bias: str, dtype: str) -> None:
    import torch

    rest = ("gradient=manual", f"predictor.bias={bias}", "predictor.init=torch", "seed=7")
    by_hand, model = (
        start("step=manual", f"predictor={p}", f"dtype={dtype}", "lr=1e-12", *rest)
        for p in ("manual", "model")
    )
    torch.manual_seed(7)
    drawn = torch.nn.Linear(1, 1, bias=bias == "true")
    assert by_hand.parameters["w"] == pytest.approx(drawn.weight.item(), abs=1e-6)
    assert by_hand.parameters == pytest.approx(model.parameters, abs=1e-7)
    other = start("step=manual", *rest[:-1], "seed=8", "lr=1e-12")
    assert other.parameters["w"] != pytest.approx(by_hand.parameters["w"], abs=1e-3)


def test_a_run_leaves_the_callers_random_state_alone() -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    run("step=model", "predictor.init=torch", "tracking=off", "iters=1")
    assert torch.rand(1) == expected


def test_the_published_gradient_is_n_times_the_derivative() -> None:
    published = start("step=manual", "lr=0.005", "dtype=float64")
    derived = start("step=manual", "gradient=manual", "lr=0.02", "dtype=float64")
    np.testing.assert_allclose(
        published.trajectory.gradients["w"], 4 * derived.trajectory.gradients["w"], atol=1e-12 * 120
    )
    np.testing.assert_allclose(published.trajectory.loss, derived.trajectory.loss, atol=1e-12 * 30)


def test_with_a_summed_loss_the_published_gradient_is_the_derivative() -> None:
    summed = ("step=optimizer", "loss.reduction=sum", "lr=0.005", "dtype=float64")
    published = start(*summed, "gradient=manual_sum")
    assert published.note == ""
    expected = start(*summed).trajectory.gradients["w"]
    np.testing.assert_allclose(published.trajectory.gradients["w"], expected, atol=1e-12 * 120)
    assert (
        "is 0.250 times the derivative of the loss, n = 4: it is divided by n once"
        in start(*summed, "gradient=manual").note
    )


def test_momentum_is_torchs() -> None:
    import torch

    result = start("step=optimizer", "updater.momentum=0.9", "dtype=float64", "lr=0.001")
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    x = torch.arange(1, 5, dtype=torch.float64)
    optimizer = torch.optim.SGD([w], lr=0.001, momentum=0.9)
    for epoch in range(60):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(w * x, 2 * x).backward()
        optimizer.step()
        assert result.trajectory.parameters["w"][epoch] == pytest.approx(w.item(), rel=1e-12)
