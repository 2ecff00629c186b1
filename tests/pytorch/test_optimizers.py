"""Torch's optimizers by our adapter against the bare loop, and their options."""

from __future__ import annotations

import copy
import inspect
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import CONF
from hydra.utils import get_object
from omegaconf import OmegaConf
from torch_helpers import PROBLEMS, TORCH, Ours, net, option

from gdexp import manual, pytorch, run
from gdexp.descent.loop import descend


def bare(name: str, problem: str, epochs: int, **changes: Any) -> list[list[torch.Tensor]]:
    """Every epoch's parameters, by the loop that torch's own pages show."""
    x, y, loss = PROBLEMS[problem]
    model = net(x, name)
    optimizer = option("updater", name, **changes)(model.module.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        if name == "SparseAdam":
            for parameter in model.module.parameters():
                parameter.grad = parameter.grad.to_sparse()
        return value

    rows = []
    for _ in range(epochs):
        closure()
        optimizer.step(*[closure] if name == "LBFGS" else [])
        rows.append([parameter.detach().clone() for parameter in model.module.parameters()])
    return rows


def assert_same_bits(found: list[list[torch.Tensor]], expected: list[list[torch.Tensor]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), (one, other)
        assert all(torch.isfinite(a).all() for a in one)


def test_there_is_an_option_for_every_optimizer_of_torch() -> None:
    classes = inspect.getmembers(torch.optim, inspect.isclass)
    found = {name for name, kind in classes if issubclass(kind, torch.optim.Optimizer)}
    assert set(TORCH) == found - {"Optimizer"}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", TORCH)
def test_every_optimizer_of_torch_is_the_bare_loop_bit_for_bit(name: str, problem: str) -> None:
    epochs = 3 if name == "LBFGS" else 40  # one of its updates has 20 iterations
    expected = bare(name, problem, epochs)
    assert_same_bits(Ours(name, problem).epochs(epochs), expected)
    assert not torch.equal(expected[0][0], expected[-1][0])


def test_lbfgs_is_the_closures_loop_with_and_without_a_line_search() -> None:
    ends = []
    for search in (None, "strong_wolfe"):
        changes = {"line_search_fn": search, "lr": 3.0, "max_iter": 4, "history_size": 3}
        expected = bare("LBFGS", "least squares", epochs=3, **changes)
        assert_same_bits(Ours("LBFGS", "least squares", **changes).epochs(3), expected)
        ends.append(expected[-1][0])
    assert not torch.allclose(*ends)


def test_lbfgs_works_with_a_gradient_by_hand() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = []
    for gradient in (manual.Gradient(), pytorch.Autograd()):
        predictor = manual.Predictor(bias=True)
        tracked = isinstance(gradient, pytorch.Autograd)
        pytorch.adopt(predictor, "float64", tracked)
        loss = manual.Loss()
        newton = option("updater", "LBFGS", lr=1.0)
        updater, source = pytorch.adapt(newton, predictor, gradient, loss)
        for _ in descend(x, 3 * x + 1, predictor, source, loss, updater, iters=2):
            pass
        found.append([value.item() for value in predictor.parameters.values()])
    assert found[0] == pytest.approx([3, 1], abs=1e-6)
    assert found[0] == pytest.approx(found[1], abs=1e-9)
    notes = run("step=manual", "updater=LBFGS", "iters=1", "tracking=off").notes
    assert notes["gradient=manual_sum"] == (
        "gradient=manual_sum is 4.000 times the derivative of the loss, n = 4: the mean's 1/n is "
        "missing; gradient=manual gives the derivative."
    )


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("foreach", [None, True])
def test_an_optimizer_leaves_the_recorded_gradient_alone(name: str, foreach: bool | None) -> None:
    known = inspect.signature(get_object(f"torch.optim.{name}")).parameters
    wished = {"foreach": foreach, "momentum": 0.9, "nesterov": True}
    changes = {key: value for key, value in wished.items() if key in known}
    ours = Ours(name, "least squares", **changes)
    for _ in range(3):
        y_pred = ours.predictor(ours.x)
        value = ours.loss(y_pred, ours.y)
        parameters = ours.predictor.parameters
        found = ours.gradient(parameters, ours.x, ours.y, y_pred, value)
        kept = copy.deepcopy(found)
        ours.updater(parameters, found)
        assert all(torch.equal(found[key], kept[key]) for key in kept)


def test_an_optimizer_that_refuses_the_parameters_says_so_in_its_own_words() -> None:
    predictor = manual.Predictor()
    pytorch.adopt(predictor, "float32", tracked=True)
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        pytorch.adapt(option("updater", "Muon"), predictor, pytorch.Autograd(), manual.Loss())


@pytest.mark.parametrize("name", TORCH)
def test_an_optimizer_goes_on_from_its_state_bit_for_bit(name: str) -> None:
    changes = {"max_iter": 2} if name == "LBFGS" else {}

    def fresh() -> Ours:
        return Ours(name, "logistic", **changes)

    whole, first = fresh().epochs(20), fresh()
    first.epochs(8)
    state, parameters = first.updater.state(), copy.deepcopy(first.predictor.module.state_dict())
    first.epochs(3)  # what has been saved does not move
    for _ in range(2):  # nor when it has been used
        second = fresh()
        second.predictor.module.load_state_dict(parameters)
        second.updater.load(state)
        assert_same_bits(second.epochs(12), whole[8:])


FILES = [
    (path.parent.name, path.stem)
    for path in itertools.chain(*(CONF.glob(f"{g}/[A-Z]*.yaml") for g in ("updater", "scheduler")))
]


@pytest.mark.parametrize(("group", "name"), FILES, ids="=".join)
def test_an_option_of_torch_has_its_keys_and_its_defaults(group: str, name: str) -> None:
    path = Path(CONF, group, f"{name}.yaml")
    kind = get_object(yaml.safe_load(path.read_text())["_target_"])
    node = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(node, dict)
    known = dict(inspect.signature(kind).parameters)
    known = {key: p for key, p in known.items() if key not in ("params", "optimizer")}
    listed = {key: value for key, value in node.items() if not str(key).startswith("_")}
    assert list(listed) == list(known)
    for key, value in listed.items():
        default = known[str(key)].default
        said = f"{path.name}: {key}"
        comment = next(line for line in path.read_text().splitlines() if line.startswith(f"{key}:"))
        if default is inspect.Parameter.empty or key in ("lr", "total_steps"):
            assert key == "lr" or "torch" in comment, said
        else:
            assert value == (list(default) if isinstance(default, tuple) else default), said
