"""Losses of torch as options; the logistic loss and its gradient, both by hand."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CHECKOUT, clean_environment
from hydra.utils import get_object, instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch.nn.functional import binary_cross_entropy_with_logits

from gdexp import manual, pytorch
from gdexp.descent.loop import descend

CONF = CHECKOUT / "conf" / "loss"
TORCH = sorted(path.stem for path in CONF.glob("[A-Z]*.yaml"))
NOT_PLAIN = {"size_average", "reduce", "weight", "pos_weight"}  # deprecated, or tensors

logits = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8).map(np.array)


@pytest.mark.parametrize("name", TORCH)
def test_a_loss_of_torch_has_its_plain_keys_and_its_defaults(name: str) -> None:
    node: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    parameters = inspect.signature(get_object(node["_target_"])).parameters
    expected = {key: p.default for key, p in parameters.items() if key not in NOT_PLAIN}
    assert {key: value for key, value in node.items() if key != "_target_"} == expected


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("name", "changes", "formula"),
    [
        ("MSELoss", {}, lambda z, y: (z - y) ** 2),
        ("L1Loss", {}, lambda z, y: abs(z - y)),
        ("HuberLoss", {"delta": 0.5}, lambda z, y: huber(z - y, 0.5)),
        ("SmoothL1Loss", {"beta": 0.5}, lambda z, y: huber(z - y, 0.5) / 0.5),
        ("BCEWithLogitsLoss", {}, lambda z, y: np.log1p(np.exp(z)) - y * z),
    ],
)
def test_a_loss_of_torch_is_what_its_comment_says(
    name: str, changes: dict[str, Any], formula: Any, reduction: str
) -> None:
    node = OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), changes)
    z, y = np.array([-1.5, 0.2, 3.0]), np.array([0.0, 1.0, 1.0])
    found = instantiate(node, reduction=reduction)(torch.tensor(z), torch.tensor(y))
    expected = formula(z, y).mean() if reduction == "mean" else formula(z, y).sum()
    assert found.item() == pytest.approx(expected, rel=1e-12)


def huber(error: np.ndarray, delta: float) -> np.ndarray:
    small = abs(error) <= delta
    return np.where(small, error**2 / 2, delta * (abs(error) - delta / 2))


def test_the_cross_entropy_of_classes_is_built_from_its_file() -> None:
    loss = instantiate(OmegaConf.load(CONF / "CrossEntropyLoss.yaml"))
    z = torch.tensor([[1.0, 2.0, 0.5]], dtype=torch.float64)
    expected = np.log(np.exp(z.numpy()).sum()) - 2.0
    assert loss(z, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(z=logits, data=st.data())
def test_the_logistic_loss_is_torchs_with_numpy_and_with_tensors(z: Any, data: Any) -> None:
    targets = st.lists(st.sampled_from([0.0, 1.0]), min_size=len(z), max_size=len(z))
    y = np.array(data.draw(targets))
    expected = binary_cross_entropy_with_logits(torch.tensor(z), torch.tensor(y)).item()
    rounding = 4e-16 * np.abs(z).max()  # it is the difference of two terms of that size
    assert manual.Logistic()(z, y) == pytest.approx(expected, rel=1e-12, abs=rounding)
    tensor = manual.Logistic()(torch.tensor(z), torch.tensor(y))
    assert tensor.item() == pytest.approx(expected, rel=1e-12, abs=rounding)


def test_the_logistic_loss_keeps_the_precision_of_the_data() -> None:
    z, y = np.array([1.0, -2.0], np.float32), np.array([1.0, 0.0], np.float32)
    assert manual.Logistic()(z, y).dtype == np.float32
    assert manual.Logistic()(torch.tensor(z), torch.tensor(y)).dtype == torch.float32


numbers = st.floats(-5, 5).map(lambda v: round(v, 3))
tables = st.lists(st.tuples(numbers, st.sampled_from([0.0, 1.0])), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", ["numpy", "tensors"])
@settings(max_examples=30, deadline=None)
@given(table=tables, w=numbers, b=numbers)
def test_the_logistic_gradient_is_autograds_and_a_finite_difference(
    kind: str, table: Any, w: float, b: float
) -> None:
    x, y = np.array(table).T

    def loss(w: float, b: float) -> float:
        return float(manual.Logistic()(w * x + b, y))

    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (w, b)]
    logit = leaves[0] * torch.tensor(x) + leaves[1]
    binary_cross_entropy_with_logits(logit, torch.tensor(y)).backward()
    convert: Any = np.asarray if kind == "numpy" else torch.tensor
    parameters = {"w": w, "b": b}
    x_, y_ = convert(x), convert(y)
    found = manual.LogisticGradient()(parameters, x_, y_, w * x_ + b, 0.0)
    assert kind == "tensors" or all(type(value) is float for value in found.values())
    step = 1e-5
    along_w = (loss(w + step, b) - loss(w - step, b)) / (2 * step)
    along_b = (loss(w, b + step) - loss(w, b - step)) / (2 * step)
    for name, leaf, difference in zip("wb", leaves, (along_w, along_b), strict=True):
        assert leaf.grad is not None
        assert float(found[name]) == pytest.approx(leaf.grad.item(), rel=1e-12, abs=1e-14)
        assert float(found[name]) == pytest.approx(difference, abs=1e-7)


def test_the_logistic_loss_differentiates_at_zero_and_far_away() -> None:
    z = torch.tensor([0.0, 800.0, -800.0], dtype=torch.float64, requires_grad=True)
    manual.Logistic()(z, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)).backward()
    assert z.grad is not None
    assert (3 * z.grad).tolist() == pytest.approx([-0.5, 1.0, 0.0], abs=1e-300)


def test_logistic_regression_by_hand_finds_what_torch_finds() -> None:
    x = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    y = np.array([0.0, 0.0, 1.0, 0.0, 1.0])
    ends = []
    for by_hand in (True, False):
        predictor: Any = manual.Predictor(bias=True)
        gradient: Any = manual.LogisticGradient()
        loss: Any = manual.Logistic()
        updater: Any = manual.Updater(0.5)
        data: Any = (x, y)
        if not by_hand:
            data, loss = pytorch.tensors(x, y), torch.nn.BCEWithLogitsLoss()
            gradient = pytorch.Autograd()
            pytorch.adopt(predictor, "float64", tracked=True)
            updater, gradient = pytorch.adapt(updater, predictor, gradient, loss)
        losses = [
            step.loss.item() for step in descend(*data, predictor, gradient, loss, updater, 300)
        ]
        assert losses == sorted(losses, reverse=True)
        ends.append(
            [losses[-1], *(float(getattr(p, "data", p)) for p in predictor.parameters.values())]
        )
    assert ends[0] == pytest.approx(ends[1], rel=1e-10)


@pytest.mark.parametrize("group", ["loss", "gradient"])
def test_the_logistic_options_are_composed_and_import_no_torch(group: str) -> None:
    program = (
        "import sys, numpy as np; from hydra.utils import instantiate; "
        "from gdexp.config.compose import Composer, session\n"
        f"with session(): node = Composer().compose(['{group}=manual_logistic']).{group}\n"
        "print(type(instantiate(node)).__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean_environment()
    )
    expected = {"loss": "Logistic", "gradient": "LogisticGradient"}[group]
    assert done.stdout == f"{expected} False\n", done.stderr
