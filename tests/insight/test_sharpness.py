"""The sharpness is the largest eigenvalue of torch's own Hessian; examining disturbs nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import first_quick

from gdexp import run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import Components, build
from gdexp.insight.checks import gradient
from gdexp.insight.dynamics import sharpness
from gdexp.insight.dynamics.forecast import Forecast, examine
from gdexp.insight.dynamics.lanczos import largest_eigenvalue

NETWORKS = [
    "step=model predictor=mlp",
    "step=model predictor=mlp predictor.sizes=[3,3] data=diabetes data.standardize=true "
    "data.standardize_target=true loss=HuberLoss",
    "step=model predictor=mlp predictor.activation=Softplus loss.reduction=sum",
    "step=autograd loss=BCEWithLogitsLoss data.y=[0,1,0,1] predictor.bias=true",
    "step=model loss=CrossEntropyLoss predictor=mlp data.y=[0,1,2,1]",
]
OWN = """
import random
import numpy as np
import torch

class Dropout(torch.nn.Module):
    def __init__(self, features=1):
        super().__init__()
        self.linear, self.drop = torch.nn.Linear(features, 1), torch.nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(self.linear(x))

rng = np.random.default_rng(0)

class OfTorch(Dropout):
    def forward(self, x):
        return self.linear(x) * torch.randint(0, 2, (len(x), 1))

class OfNumPy(Dropout):
    def forward(self, x):
        return self.linear(x) * torch.from_numpy(np.random.randint(0, 2, (len(x), 1)))

class OfModule(Dropout):
    def forward(self, x):
        return self.linear(x) * torch.from_numpy(rng.integers(0, 2, (len(x), 1)))

class OfObject(Dropout):
    def __init__(self, features=1):
        super().__init__(features)
        self.random = random.Random(0)
    def forward(self, x):
        return self.linear(x) * self.random.randint(0, 1)

class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, slope):
        return Never.apply(slope)

class Never(Once):
    @staticmethod
    def backward(ctx, slope):
        raise NotImplementedError("no second derivative")

class OnceOnly(Dropout):
    def forward(self, x):
        return Once.apply(self.linear(x))

class Uncopied(Dropout):
    def forward(self, x):
        return self.linear(x)
    def __deepcopy__(self, memo):
        raise TypeError("there is only one of me")
"""
RANDOM = ("OfTorch", "OfNumPy", "OfModule", "OfObject")
REASONS = {
    "step=model loss=L1Loss": "loss=L1Loss is a straight line here, without curvature",
    "step=model loss=HuberLoss": "loss=HuberLoss is a straight line here, without curvature",
    "step=model predictor=Dropout": "predictor=Dropout draws random numbers",
    "step=model predictor=OnceOnly": "torch cannot differentiate the loss twice: no second "
    "derivative",
    "step=model predictor=Uncopied": "torch cannot differentiate the loss twice: there is only "
    "one of me",
    "data.x=[0,0] data.y=[1,2]": "the table is too wide, too large or all zeros",
}


@pytest.fixture
def own(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with options for modules that cannot be examined; returns its name."""
    (workdir / "examined_modules.py").write_text(OWN)
    (workdir / "mine" / "predictor").mkdir(parents=True)
    for name in ("Dropout", *RANDOM, "OnceOnly", "Uncopied"):
        option = workdir / "mine" / "predictor" / f"{name}.yaml"
        option.write_text(f"_target_: examined_modules.{name}\n")
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "examined_modules", raising=False)
    return "mine"


def made(words: str, folder: str | None = None) -> tuple[Job, Components]:
    with session():
        typed = ["tracking=off", *words.split()]
        job = Job.of(Composer(folder).compose(typed), typed)
    return job, build(job)


def exact(built: Components) -> float:
    """The largest eigenvalue of the Hessian as torch.autograd.functional gives it."""
    import torch

    named = built.predictor.parameters
    shapes = [parameter.shape for parameter in named.values()]
    start = torch.cat([p.detach().reshape(-1) for p in named.values()]).double()

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([shape.numel() for shape in shapes])  # type: ignore[no-untyped-call]
        values = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        x = built.x.double()
        if not hasattr(built.predictor, "module"):
            y_pred = x * values[0] + values[1]
        else:
            module = built.predictor.module.double()
            names = [name for name, _ in module.named_parameters()]
            rows = x.unsqueeze(-1) if x.ndim == 1 else x
            y_pred = torch.func.functional_call(module, dict(zip(names, values, strict=True)), rows)
            y_pred = y_pred.squeeze(-1) if y_pred.shape[-1] == 1 else y_pred
        y = built.y.double() if built.y.is_floating_point() else built.y
        return built.loss(y_pred, y)  # type: ignore[no-any-return]

    hessian = torch.autograd.functional.hessian(loss, start)  # type: ignore[no-untyped-call]
    return float(torch.linalg.eigvalsh(hessian)[-1])


@pytest.mark.parametrize("words", first_quick(NETWORKS, 2))
def test_it_is_the_largest_eigenvalue_of_the_hessian(words: str) -> None:
    job, built = made(words)
    assert sharpness.at_the_start(job, built) == pytest.approx(exact(built), rel=3e-3)


@pytest.mark.slow
def test_by_hand_the_cross_entropy_has_the_curvature_of_torchs() -> None:
    typed = "data.y=[0,1,0,1] predictor.bias=true predictor.init=0.7"
    by_hand = made(f"loss=manual_logistic gradient=manual_logistic {typed}")
    by_torch = made(f"loss=BCEWithLogitsLoss gradient=autograd {typed}")
    expected = sharpness.at_the_start(*by_torch)
    assert sharpness.at_the_start(*by_hand) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7, 60])
def test_lanczos_has_the_largest_eigenvalue_after_as_many_products_as_rows(size: int) -> None:
    rng = np.random.default_rng(size)
    matrix = rng.normal(size=(size, size))
    matrix += matrix.T
    value = largest_eigenvalue(lambda v: matrix @ v, rng.normal(size=size), size, 1e-12)
    assert value == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-9)


def test_lanczos_comes_from_below_and_ends_in_an_invariant_space() -> None:
    matrix = np.diag([-9.0, 1.0, 2.0, 3.0, 4.0])
    start = np.array([1.0, 1.0, 1.0, 1.0, 0.5])
    values = [largest_eigenvalue(lambda v: matrix @ v, start, k, 0.0) for k in range(1, 6)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(4)
    alone = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    assert largest_eigenvalue(lambda v: matrix @ v, alone, 5) == 2


@pytest.mark.slow
def test_rows_beyond_ten_thousand_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    job, built = made("step=model predictor=mlp loss.reduction=sum data=synthetic")
    whole = sharpness._sharpness(job, built, 20)
    monkeypatch.setattr(sharpness, "ROWS", 250)
    sample = sharpness._sharpness(job, built, 20)
    assert isinstance(whole, float)
    assert sample != whole
    assert sample == pytest.approx(whole, rel=0.2)


@pytest.mark.parametrize(
    ("words", "reason"),
    first_quick(REASONS.items(), 1),
)
def test_where_there_is_none_a_phrase_says_why_and_the_run_runs(
    words: str, reason: str, own: str
) -> None:
    known = examine(*made(words, own))
    assert isinstance(known, str)
    assert known.startswith(reason)
    result = run("tracking=off", *words.split(), "iters=3", config_dir=own)
    assert (result.outcome, result.forecast) == ("completed", {})


@pytest.mark.parametrize("predictor", RANDOM)
def test_what_draws_is_noticed_although_two_draws_are_equal(predictor: str, own: str) -> None:
    words = f"step=model predictor={predictor} data.x=[1] data.y=[2]"
    for _ in range(6):  # each draw is equal to the one before half of the time
        job, built = made(words, own)
        assert examine(job, built) == f"predictor={predictor} draws random numbers"
        assert gradient.check(job, built).gradient is None
        run("tracking=off", *words.split(), "iters=1", config_dir=own)  # which draws, too


@pytest.mark.parametrize(
    "words", first_quick(["predictor=Dropout", "predictor=mlp", "loss=L1Loss"], 1)
)
def test_a_run_has_the_same_bits_with_and_without_a_forecast(words: str, own: str) -> None:
    typed = "tracking=off", "step=model", "iters=5", words
    results = [run(*typed, f"check.forecast={on}", config_dir=own) for on in ("true", "false")]
    one, other = (result.trajectory.table for result in results)
    assert one.tobytes() == other.tobytes()


@pytest.mark.slow
def test_below_the_bound_at_the_start_the_first_step_comes_down() -> None:
    scaled = "data=diabetes data.standardize=true data.standardize_target=true"
    for seed in range(3):
        words = f"step=model predictor=mlp {scaled} seed={seed}"
        known = examine(*made(words))
        assert isinstance(known, Forecast)
        assert known.largest_lr is not None
        assert not known.is_exact
        below = run("tracking=off", *words.split(), "iters=2", f"lr={0.5 * known.largest_lr}")
        assert below.trajectory.loss[1] < below.trajectory.loss[0]


def test_it_is_measured_at_the_start_and_at_the_end() -> None:
    words = "step=model", "predictor=mlp", "updater.momentum=0.5", "iters=50", "lr=0.02"
    result = run("tracking=off", *words)
    ends = result.forecast, result.checks
    for numbers in ends:
        assert numbers["lr_over_largest"] == pytest.approx(0.02 * numbers["curvature"] / 3)
    assert ends[0]["curvature"] != ends[1]["curvature"]
    quadratic = run("tracking=off", "gradient=manual")
    assert "curvature" not in quadratic.checks


@pytest.mark.slow
def test_runs_with_the_same_start_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    measured = sharpness._sharpness

    def counting(job: Job, built: Components, products: int) -> float | str:
        calls.append(products)
        return measured(job, built, products)

    monkeypatch.setattr(sharpness, "_sharpness", counting)
    for lr in ("0.01", "0.02"):
        for seed in ("1", "2"):
            job, built = made(f"step=model predictor=mlp data.x=[5,6,7,9] lr={lr} seed={seed}")
            examine(job, built)
    assert len(calls) == 2
