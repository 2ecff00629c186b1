"""Updaters by hand against torch's, torch's by our adapter against the bare loop, schedules."""

from __future__ import annotations

import copy
import inspect
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import CHECKOUT
from hydra.utils import get_object, instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gdexp import manual, pytorch, run
from gdexp.descent.loop import descend
from gdexp.errors import ConfigError
from gdexp.types import Array, Parameters

CONF = CHECKOUT / "conf"
BY_HAND = ["manual_momentum", "manual_nesterov", "manual_adam"]
TORCH = sorted(path.stem for path in (CONF / "updater").glob("[A-Z]*.yaml"))
SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("[A-Z]*.yaml"))


def option(group: str, name: str, **changes: Any) -> Any:
    """An option of ours, built with lr = 0.01 and iters = 20 unless changed."""
    config = OmegaConf.merge(
        {"lr": 0.01, "iters": 20}, {"node": OmegaConf.load(CONF / group / f"{name}.yaml")}
    )
    return instantiate(OmegaConf.merge(config, {"node": changes}).node, _convert_="all")


def torchs(updater: manual.Updater, parameter: torch.Tensor) -> torch.optim.Optimizer:
    """The optimizer of torch that an updater by hand is to equal."""
    match updater:
        case manual.Adam(lr=lr, betas=betas, eps=eps):
            return torch.optim.Adam([parameter], lr, betas=betas, eps=eps)
        case manual.Momentum(lr=lr, momentum=momentum):
            looks_ahead = isinstance(updater, manual.Nesterov)
            return torch.optim.SGD([parameter], lr, momentum, nesterov=looks_ahead)
    return torch.optim.SGD([parameter], updater.lr)


gradients = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300)
updaters = st.one_of(
    st.builds(manual.Updater, lr=st.floats(1e-6, 1)),
    st.builds(manual.Momentum, lr=st.floats(1e-6, 1), momentum=st.floats(0, 0.99)),
    st.builds(manual.Nesterov, lr=st.floats(1e-6, 1), momentum=st.floats(0.01, 0.99)),
    st.builds(
        manual.Adam,
        lr=st.floats(1e-6, 1),
        beta1=st.floats(0, 0.99),
        beta2=st.floats(0.5, 0.9999),
        eps=st.floats(1e-12, 1e-2),
    ),
)


@settings(max_examples=30, deadline=None)
@given(updater=updaters, slopes=gradients, start=st.floats(-10, 10))
def test_an_updater_by_hand_is_torchs_in_every_step(
    updater: manual.Updater, slopes: list[float], start: float
) -> None:
    expected = torch.tensor(start, dtype=torch.float64)
    optimizer, parameters = torchs(updater, expected), {"w": start}
    for slope in slopes:
        expected.grad = torch.tensor(slope, dtype=torch.float64)
        optimizer.step()
        updater(parameters, {"w": slope})
        assert isinstance(parameters["w"], float)
        assert parameters["w"] == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["manual", *BY_HAND])
def test_by_hand_stays_torchs_over_hundreds_of_steps_towards_a_minimum(name: str) -> None:
    updater = option("updater", name)
    expected = torch.tensor([5.0, -3.0], dtype=torch.float64)
    optimizer, parameters = torchs(updater, expected), {"w": np.array([5.0, -3.0])}
    curvature = np.array([1.0, 20.0])
    for _ in range(500):
        expected.grad = torch.tensor(curvature) * expected
        optimizer.step()
        updater(parameters, {"w": curvature * parameters["w"]})
        np.testing.assert_allclose(parameters["w"], expected.numpy(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["manual", *BY_HAND])
@pytest.mark.parametrize("kind", [float, np.array, torch.tensor])
def test_by_hand_moves_arrays_in_place_and_keeps_no_hold_of_gradients(name: str, kind: Any) -> None:
    updater, fresh = option("updater", name), option("updater", name)
    start = 1.0 if kind is float else [1.0, 2.0]
    parameters, expected = {"w": kind(start)}, {"w": kind(start)}
    held, buffer = parameters["w"], kind(start)
    for factor in (0.5, -2.0, 3.0):
        if kind is float:
            buffer = factor
        else:
            buffer[:] = factor  # the loop's own memory, used again
        updater(parameters, {"w": buffer})
        fresh(expected, {"w": copy.deepcopy(buffer)})
    assert np.array_equal(parameters["w"], expected["w"])
    assert kind is float or parameters["w"] is held


@pytest.mark.parametrize("name", ["manual", *BY_HAND])
def test_a_diverging_update_by_hand_ends_in_inf_or_nan_not_in_an_exception(name: str) -> None:
    updater, parameters = option("updater", name), {"w": 1.0}
    for gradient in (1e200, 1e308, float("inf"), float("nan")):
        updater(parameters, {"w": gradient})
    assert not np.isfinite(parameters["w"])


def test_adam_refuses_a_mean_that_nothing_enters() -> None:
    with pytest.raises(ValueError, match=r"beta1 = 0\.9 and beta2 = 1\.0 must both be below 1\."):
        manual.Adam(0.1, beta2=1.0)


# Small problems: x, y and the loss. Each is fitted by torch.nn.Linear(d, 1, bias=True).
X = torch.tensor([[1.0, 0.5], [2.0, -1.0], [3.0, 2.0], [-1.0, 0.3]], dtype=torch.float64)
PROBLEMS = {
    "quadratic": (X[:, :1], 2 * X[:, 0], torch.nn.MSELoss()),
    "least squares": (X, X @ torch.tensor([1.0, -2.0], dtype=torch.float64), torch.nn.MSELoss()),
    "logistic": (X, (X[:, 0] > 0.5).double(), torch.nn.BCEWithLogitsLoss()),
}


class Net:
    """A predictor on a torch.nn.Linear of any number of features, without a bias for Muon."""

    def __init__(self, features: int, bias: bool) -> None:
        self.module = torch.nn.Linear(features, 1, bias=bias, dtype=torch.float64)
        for parameter in self.module.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        self.parameters: Parameters = dict(self.module.named_parameters())

    def __call__(self, x: Array) -> Array:
        return self.module(x).squeeze(-1)


def net(x: torch.Tensor, name: str) -> Net:
    return Net(x.shape[1], bias=name != "Muon")


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


class Ours:
    """The same through our loop."""

    def __init__(self, name: str, problem: str, **changes: Any) -> None:
        self.x, self.y, self.loss = PROBLEMS[problem]
        self.predictor = net(self.x, name)
        self.updater, self.gradient = pytorch.adapt(
            option("updater", name, **changes), self.predictor, pytorch.Autograd(), self.loss
        )

    def epochs(self, number: int) -> list[list[torch.Tensor]]:
        families = self.predictor, self.gradient, self.loss, self.updater
        rows = []
        for _ in descend(self.x, self.y, *families, iters=number):
            rows.append([p.detach().clone() for p in self.predictor.parameters.values()])
            assert all(p.grad is None for p in self.predictor.parameters.values())
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
    assert run("step=manual", "updater=LBFGS", "iters=1", "tracking=off").note == (
        "gradient=manual_sum is 4 times the derivative of the loss; "
        "gradient=manual gives the derivative."
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


@pytest.mark.parametrize("kind", ["numpy", "tensors"])
@pytest.mark.parametrize("name", ["manual", *BY_HAND])
def test_an_updater_by_hand_goes_on_from_its_state_bit_for_bit(name: str, kind: str) -> None:
    def fresh() -> tuple[Any, Parameters]:
        updater = option("updater", name)
        if kind == "numpy":
            return updater, {"w": np.array([5.0, -3.0]), "b": 1.0}
        parameters = {"w": torch.tensor([5.0, -3.0]), "b": torch.tensor(1.0)}
        return pytorch.Untracked(updater, parameters), parameters

    def steps(updater: Any, parameters: Parameters, number: int) -> None:
        for _ in range(number):
            updater(parameters, {key: 3 * value for key, value in parameters.items()})

    whole, expected = fresh()
    steps(whole, expected, 20)
    first, parameters = fresh()
    steps(first, parameters, 8)
    state, saved = first.state(), copy.deepcopy(parameters)
    steps(first, parameters, 3)
    for _ in range(2):
        second, parameters = fresh()
        for key, value in saved.items():
            if isinstance(value, float):
                parameters[key] = value
            else:
                parameters[key][...] = value
        second.load(state)
        steps(second, parameters, 12)
        assert all(np.array_equal(parameters[key], expected[key]) for key in expected)


# --------------------------------------------------------------------------------------- schedules

LOSSES = [1.0, 0.5, *[0.5] * 18]  # it rests, so that the plateau is seen
CHANGES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 7]},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    "CyclicLR": {"step_size_up": 3, "mode": "triangular2"},
    "ReduceLROnPlateau": {"patience": 2},
}


def torchs_lrs(name: str, optimizer: torch.optim.Optimizer) -> list[tuple[Any, ...]]:
    """The learning rate and the momentum of each epoch, by torch alone."""
    scheduler = option("scheduler", name, **CHANGES.get(name, {}))(optimizer)
    rows = []
    for loss in LOSSES:
        rows.append(numbers(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step(*[loss] if name == "ReduceLROnPlateau" else [])
    return rows


def numbers(group: dict[str, Any]) -> tuple[Any, ...]:
    betas = group.get("betas", [None])
    return group["lr"], group.get("momentum"), betas[0]


def one() -> list[torch.Tensor]:
    parameter = torch.zeros(1)
    parameter.grad = torch.zeros(1)
    return [parameter]


def test_there_is_an_option_for_every_scheduler_with_plain_settings() -> None:
    members = vars(torch.optim.lr_scheduler)
    found = {
        name
        for name in torch.optim.lr_scheduler.__all__
        if isinstance(members[name], type)
        and issubclass(members[name], torch.optim.lr_scheduler.LRScheduler)
    }
    made_of_functions_or_schedulers = {
        "LRScheduler", "LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR"
    }  # fmt: skip
    assert set(SCHEDULERS) == found - made_of_functions_or_schedulers
    node = OmegaConf.load(CONF / "scheduler" / "none.yaml")
    assert node == {"_target_": None}


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_on_an_optimizer_is_torchs(name: str, optimizer: str) -> None:
    changes = {"momentum": 0.9} if optimizer == "SGD" else {}
    expected = torchs_lrs(name, option("updater", optimizer, **changes)(one()))
    updater = pytorch.Optimizer(option("updater", optimizer, **changes)(one()))
    scheduled = pytorch.schedule(option("scheduler", name, **CHANGES.get(name, {})), updater)
    for loss, row in zip(LOSSES, expected, strict=True):
        assert scheduled.lr == row[0]
        assert numbers(updater.optimizer.param_groups[0]) == row
        updater({"w": torch.zeros(1)}, {"w": torch.zeros(1)})
        scheduled.step(loss)
    assert len({row[0] for row in expected}) > 1


@pytest.mark.parametrize("updater_name", ["manual", *BY_HAND])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_on_an_updater_by_hand_is_torchs(name: str, updater_name: str) -> None:
    cycles = name in ("OneCycleLR", "CyclicLR") and updater_name == "manual"
    changes = CHANGES.get(name, {}) | ({"cycle_momentum": False} if cycles else {})
    updater = option("updater", updater_name)
    partial = option("scheduler", name, **changes)
    (parameter,) = one()
    optimizer = torchs(updater, parameter)
    if cycles:
        optimizer.param_groups[0].pop("momentum")
    reference = partial(optimizer)
    inner = pytorch.Untracked(updater, {}) if updater_name == "manual_adam" else updater
    scheduled = pytorch.schedule(partial, inner)
    for loss in LOSSES:
        row = numbers(optimizer.param_groups[0])
        assert scheduled.lr == updater.lr == row[0]
        if updater_name == "manual_adam":
            assert updater.betas[0] == row[2]
        elif updater_name != "manual":
            assert updater.momentum == row[1]
        if cycles:
            optimizer.param_groups[0]["momentum"] = 0
        optimizer.step()
        reference.step(*[loss] if name == "ReduceLROnPlateau" else [])
        scheduled.step(loss)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_goes_on_from_its_state(name: str, by_hand: bool) -> None:
    partial = option("scheduler", name, **CHANGES.get(name, {}))

    def fresh() -> tuple[Any, pytorch.Scheduled]:
        updater = (
            option("updater", "manual_momentum")
            if by_hand
            else pytorch.Optimizer(option("updater", "SGD", momentum=0.9)(one()))
        )
        return updater, pytorch.schedule(partial, updater)

    def lrs(updater: Any, scheduled: pytorch.Scheduled, losses: list[float]) -> list[float]:
        found = []
        for loss in losses:
            updater({"w": torch.zeros(1)}, {"w": torch.zeros(1)})
            scheduled.step(loss)
            found.append(updater.lr if by_hand else scheduled.lr)
        return found

    whole = lrs(*fresh(), LOSSES)
    updater, scheduled = fresh()
    lrs(updater, scheduled, LOSSES[:8])
    states = updater.state(), scheduled.state()
    lrs(updater, scheduled, LOSSES[8:12])
    for order in (0, 1):  # whichever is loaded first
        updater, scheduled = fresh()
        for part, state in list(zip((updater, scheduled), states, strict=True))[:: 1 - 2 * order]:
            part.load(state)
        assert lrs(updater, scheduled, LOSSES[8:]) == whole[8:]


def test_a_schedule_of_an_updater_without_a_learning_rate_is_refused() -> None:
    class Fixed:
        def __call__(self, parameters: Parameters, gradients: Parameters) -> None: ...

    sentence = r"scheduler: Fixed has no lr that a schedule could change\. Type scheduler=none\."
    with pytest.raises(ConfigError, match=sentence):
        pytorch.schedule(option("scheduler", "StepLR"), Fixed())


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("StepLR", {"step_size": 0}, "modulo"),
        ("OneCycleLR", {"total_steps": None}, "You must define either total_steps OR"),
        ("ReduceLROnPlateau", {"factor": 2.0}, "Factor should be < 1.0"),
        ("OneCycleLR", {}, "optimizer must support momentum or beta1 with `cycle_momentum`"),
    ],
)
def test_settings_that_torch_refuses_are_refused_before_the_first_epoch(
    name: str, changes: dict[str, Any], words: str
) -> None:
    updater = manual.Updater(0.25)
    with pytest.raises((ValueError, ZeroDivisionError), match=words):
        pytorch.schedule(option("scheduler", name, **changes), updater)
    assert updater.lr == 0.25


# ------------------------------------------------------------------------------------- YAML files

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
