"""A fault is told once, with its remedy, and nothing is said that it makes untrue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import first_quick
from test_gradient_check import BIAS, checked, composed, job_of

from gdexp import run
from gdexp.descent.build import build
from gdexp.descent.numbers import factor, told_apart
from gdexp.descent.result import FORECAST, Result
from gdexp.insight.checks import every_epoch, gradient
from gdexp.insight.checks import updater as updater_check
from gdexp.insight.dynamics.forecast import forecast

STUDENTS = """
import numpy as np
from gdexp.pytorch import Autograd
class Updater:
    def __init__(self, lr: float): self.lr = lr
class Right(Updater):
    def __call__(self, parameters, gradients):
        for name in gradients: parameters[name] -= self.lr * gradients[name]
class Late(Updater):  # in every fourth epoch
    calls = 0
    def __call__(self, parameters, gradients):
        self.calls += 1
        for name in gradients: parameters[name] -= self.lr * gradients[name] * (self.calls % 4 == 0)
class Positive(Updater):  # projects
    def __call__(self, parameters, gradients):
        for name in gradients:
            new = parameters[name] - self.lr * gradients[name]
            parameters[name] = new * (new > 0)
class Exponentiated(Updater):
    def __call__(self, parameters, gradients):
        for name in gradients: parameters[name] *= 2.718281828 ** (-self.lr * gradients[name])
class Rebound(Updater):
    def __call__(self, parameters, gradients):
        for value, gradient in zip(parameters.values(), gradients.values()):
            value = value - self.lr * gradient
class Returned(Updater):
    def __call__(self, parameters, gradients):
        return {name: parameters[name] - self.lr * gradients[name] for name in gradients}
class First(Updater):
    def __call__(self, parameters, gradients):
        name = next(iter(gradients))
        parameters[name] -= self.lr * gradients[name]
class Assigned(Updater):
    def __call__(self, parameters, gradients):
        for name in gradients: parameters[name] = -self.lr * gradients[name]
class Added(Updater):
    def __call__(self, parameters, gradients):
        for name in gradients: parameters[name] = parameters[name] + self.lr * gradients[name]
class Whole(Updater):
    def __call__(self, parameters, gradients):
        for name in gradients: parameters[name] -= gradients[name]
class Damped(Updater):
    dynamics = "heavy_ball"
    def __call__(self, parameters, gradients):
        for name in gradients: parameters[name] -= 0.5 * self.lr * gradients[name]

def climbing(params, lr: float):
    import torch
    class Climbing(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for w in self.param_groups[0]["params"]: w.add_(w.grad, alpha=lr)
    return Climbing(params, {"lr": lr})
def descending(params, lr: float):
    import torch
    class Descending(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for w in self.param_groups[0]["params"]: w.sub_(w.grad, alpha=lr)
    return Descending(params, {"lr": lr})

class Forward:  # by forward differences
    def __call__(self, parameters, x, y, y_pred, loss):
        w, h = parameters["w"], 1e-6
        return {"w": (((((w + h) * x - y) ** 2).mean()) - ((w * x - y) ** 2).mean()) / h}
class Penalized:
    def __call__(self, parameters, x, y, y_pred, loss):
        residual = y_pred - y
        return {"w": 2 * x.T @ residual / len(y) + 0.1 * parameters["w"], "b": 2 * residual.mean()}
class Ddof:
    def __call__(self, parameters, x, y, y_pred, loss):
        residual = y_pred - y
        n = len(y) - 1
        return {"w": 2 * x.T @ residual / n, "b": 2 * residual.sum() / n}
class Twice:
    tracked = True
    def __call__(self, parameters, x, y, y_pred, loss):
        for value in parameters.values(): value.grad = None
        loss.backward(retain_graph=True)
        loss.backward()
        return {name: value.grad for name, value in parameters.items()}
class Halved(Autograd):
    def __call__(self, *given):
        return {name: value / 2 for name, value in super().__call__(*given).items()}
class Stale(Autograd):
    last = None
    def __call__(self, *given):
        now = super().__call__(*given)
        last, self.last = self.last or now, now
        return last
class Zeroed:
    tracked = True
    def __call__(self, parameters, x, y, y_pred, loss):
        for value in parameters.values(): value.grad = None
        loss.backward()
        gradients = {name: value.grad for name, value in parameters.items()}
        for value in parameters.values(): value.grad.zero_()
        return gradients
"""
GALLERY = {
    "not_zeroed": ["gradient=mistakes/not_zeroed"],
    "forgotten_bias": ["gradient=mistakes/forgotten_bias"],
    "wrong_sign": ["updater=mistakes/wrong_sign"],
    "broadcast lr=1": ["loss=mistakes/broadcast"],
    "missing_mean lr=1": ["gradient=mistakes/missing_mean"],
    "detached_loss lr=1": ["gradient=autograd", "diverged"],
}


@pytest.fixture
def students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with an option for each class of the students; its name."""
    (tmp_path / "students.py").write_text(STUDENTS)
    for line in STUDENTS.splitlines():
        name = line.partition(" ")[2].partition("(")[0].partition(":")[0]
        if line.startswith(("class ", "def ")) and name:
            group = "gradient" if name in ("Forward", *WRONG_GRADIENTS) else "updater"
            (tmp_path / group).mkdir(exist_ok=True)
            lr = "lr: ${lr}   # rate\n" if group == "updater" else ""
            (tmp_path / group / f"{name}.yaml").write_text(
                f"# own\n_target_: students.{name}\n{lr}"
            )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "students", raising=False)
    return str(tmp_path)


WRONG_GRADIENTS = ("Penalized", "Ddof", "Twice", "Zeroed", "Halved", "Stale")


def told(students: str, *words: str) -> Result:
    return run(*words, "tracking=off", config_dir=students)


@pytest.mark.parametrize("words", GALLERY)
def test_a_mistake_of_the_gallery_is_told_once(words: str) -> None:
    mistake, *more = words.split()
    result = run(f"experiment=mistakes/{mistake}", *more, "tracking=off")
    assert [*result.notes] == GALLERY[words]


WRONG_UPDATERS = {
    "Rebound": "does not move w and b. Write parameters[name] -= lr * gradient, in place.",
    "Returned": "does not move w and b. Write parameters[name] -= lr * gradient, in place.",
    "First": "does not move b. Write parameters[name] -= lr * gradient, in place.",
    "Assigned": updater_check.FORGETS,
    "Added": updater_check.CLIMBS,
    "Whole": updater_check.IGNORES,
    "climbing": updater_check.CLIMBS,
}


@pytest.mark.parametrize("updater", WRONG_UPDATERS)
def test_an_updater_that_does_not_descend_is_named(students: str, updater: str) -> None:
    result = told(students, "step=autograd", BIAS, f"updater={updater}")
    kind = f"updater={updater}"
    assert result.notes == {kind: f"{kind} {WRONG_UPDATERS[updater]}"}


@pytest.mark.parametrize("updater", ["Right", "Late", "Positive", "Exponentiated", "descending"])
@pytest.mark.parametrize("lr", [1e-12, 0.01, 1e9])
def test_an_updater_that_descends_is_not_blamed(students: str, updater: str, lr: float) -> None:
    step = "step=autograd"
    result = told(students, step, BIAS, f"updater={updater}", f"lr={lr}", "iters=3")
    assert f"updater={updater}" not in result.notes


def test_an_updater_is_suspected_alone_if_the_rest_is_known(students: str) -> None:
    result = told(students, "gradient=manual", "updater=Damped")
    assert [*result.notes] == ["deviation"]
    assert result.notes["deviation"].endswith(
        "was forecast: updater=Damped computes something else than its class declares."
    )


def test_a_forecast_counts_what_the_check_has_measured(students: str) -> None:
    result = told(students, "step=autograd", "gradient=Twice", "iters=60")
    right = run("step=autograd", "lr=0.02", "iters=60", "tracking=off")
    assert [*result.notes] == ["gradient=Twice"]
    assert result.forecast["largest_lr"] == pytest.approx(right.forecast["largest_lr"] / 2)
    assert result.forecast["epochs"] == right.forecast["epochs"]
    np.testing.assert_allclose(result.trajectory.loss, right.trajectory.loss, rtol=1e-4, atol=1e-9)
    assert FORECAST in told(students, "step=autograd", "gradient=Twice", "lr=0.07").notes


def test_gradients_that_are_zeroed_too_late_are_named(students: str) -> None:
    assert told(students, "step=autograd", "gradient=Zeroed").notes == {
        "gradient=Zeroed": "gradient=Zeroed is 0, and the loss depends on w: it may be zeroed "
        "after it is computed; gradient=autograd gives the derivative."
    }


def test_a_numerical_gradient_is_not_blamed(students: str) -> None:
    notes = told(students, "step=manual", "gradient=Forward", "dtype=float64").notes
    assert "gradient=Forward" not in notes


@pytest.mark.parametrize("words", ["", "data.standardize=true"])
def test_a_small_difference_is_told_with_enough_digits(students: str, words: str) -> None:
    typed = ("step=manual", "data=diabetes", BIAS, "lr=1e-5", "iters=2", *words.split())
    note = told(students, *typed, "gradient=Ddof").notes["gradient=Ddof"]
    why = "n = 442: it is divided by n - 1, not by n, so lr=1e-05 acts like lr=1.00227e-05"
    assert f"is 1.002 times the derivative of the loss, {why}" in note
    note = told(students, *typed, "gradient=Penalized").notes.get("gradient=Penalized", "")
    if note:
        given, right = note.partition(" is not the derivative")[2].split(" the derivative ")
        assert given.rpartition(" is ")[2].rstrip(",") != right.partition(";")[0]


LATE = "is late: in epoch 2 it gives the gradient of epoch 1. Compute it from the predictions"


@pytest.mark.parametrize(
    ("fault", "words", "sentence"),
    first_quick(
        [
            (
                "Halved",
                "step=autograd",
                "is 0.500 times the derivative of the loss: the factor 2 of",
            ),
            (
                "Ddof",
                "gradient=manual",
                "is 1.333 times the derivative of the loss, n = 4: it is div",
            ),
            ("Stale", "step=autograd", f"{LATE} of the same epoch; gradient=autograd gives"),
            (
                "Stale",
                "step=model predictor=mlp",
                f"{LATE} of the same epoch; gradient=autograd gives",
            ),
            (
                "Stale",
                "step=model data=diabetes data.standardize=true",
                f"{LATE} of the same epoch, and give y_pred and y the same shape: (n, 1) - (n,)",
            ),
        ],
        quick=3,
    ),
)
def test_faults_that_nobody_has_planted_yet(
    fault: str, words: str, sentence: str, students: str
) -> None:
    bias = [] if "=model" in words or "=autograd" in words else [BIAS]
    notes = told(students, *words.split(), *bias, "lr=1e-3", "iters=3", f"gradient={fault}").notes
    assert notes[f"gradient={fault}"].startswith(f"gradient={fault} {sentence}")


def test_factors_and_differences_in_words() -> None:
    assert [factor(value) for value in (4, 1.0002, 1.002, 30000, 0.001)] == [
        "4.000",
        "1.0002",
        "1.002",
        "30000",
        "0.001",
    ]
    assert told_apart(-8424.1, -8424.25) == ("-8424.1", "-8424.2")


def mutating(features: int) -> Any:
    import torch

    class Mutating(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            print("mutating")
            return super().forward(x.mul_(1.5))

    return Mutating(features, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("check", ["first", "every"])
def test_components_that_change_their_rows_do_not_change_those_of_the_run(
    check: str, dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "step=model", "data=synthetic", f"check.gradient={check}", f"dtype={dtype}"
    job = job_of(*words)
    job.settings["predictor"] = {"_target_": f"{__name__}.mutating"}
    built = build(job)
    x, y = built.x.clone(), built.y.clone()
    capsys.readouterr()
    every_epoch.watch(job, built)
    gradient.check(job, built)
    forecast(job, built)
    assert capsys.readouterr().out == ""
    assert built.x.equal(x)
    assert built.y.equal(y)


@pytest.mark.parametrize("fault", ["seven", "unrelated"])
def test_classes_of_this_package_need_no_check(fault: str) -> None:
    job = composed(("step=manual",))
    assert gradient.undeclared_multiple(job, build(job)) == 1
    notes: dict[str, Any] = checked("step=manual", gradient={"of": "ByHand", "fault": fault})[0]
    assert [*notes] == ["gradient=mine"]
