"""The lines that explain an epoch are code: from its start, they compute the run's numbers."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import first_quick

from gdexp import manual
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.result import Result
from gdexp.experiment import assemble
from gdexp.insight.comparison.difference import difference
from gdexp.insight.explanation.epoch import Explanation, explain
from gdexp.insight.explanation.formulas import AUTOGRAD, MODEL, NUMPY, OPTIMIZER
from gdexp.insight.explanation.watched import Watched
from gdexp.sweep.again import compute_again

FAMILIES = {
    "predictor": ("manual", "model"),
    "gradient": ("manual", "autograd"),
    "loss": ("manual", "MSELoss"),
    "updater": ("manual", "SGD"),
}
BINARY = "data.y=[0,1,0,1] loss=manual_logistic gradient=manual_logistic"
PATIENTS = "data=diabetes data.standardize=true predictor.bias=true"
COMBINATIONS = [
    " ".join(f"{family}={option}" for family, option in zip(FAMILIES, options, strict=True))
    + (" predictor.bias=true" if number % 3 else "")
    for number, options in enumerate(itertools.product(*FAMILIES.values()))
]
CASES = [
    "step=manual",
    "step=autograd updater=manual_nesterov predictor.bias=true",
    "step=manual gradient=manual updater=manual_adam updater.beta1=0.5 dtype=float64",
    "step=model updater=SGD updater.momentum=0.9 updater.dampening=0.5 updater.weight_decay=0.1",
    "step=optimizer updater.momentum=0.9 scheduler=OneCycleLR predictor.bias=true",
    f"{BINARY} predictor.bias=true",
    f"{PATIENTS} step=model lr=0.1 data.batch_size=100 updater.momentum=0.9",
]
MORE = [
    "step=optimizer updater=Adam updater.weight_decay=0.1 predictor.bias=true",
    "step=model gradient=manual loss.reduction=sum",
    f"{PATIENTS} step=manual lr=0.001",
    f"{PATIENTS} step=autograd lr=0.1 data.compress=true data.standardize_target=true",
    "step=manual predictor.bias=true dtype=float64 updater=manual_momentum",
    "step=autograd updater=manual_adam predictor.bias=true dtype=float64",
    "step=optimizer updater.momentum=0.9 updater.nesterov=true updater.weight_decay=0.1",
    "step=optimizer updater.maximize=true updater.weight_decay=0.1 lr=0.001",
    "step=model updater=AdamW dtype=float64 lr=0.1",
    "step=optimizer scheduler=StepLR scheduler.step_size=1 scheduler.gamma=0.5",
    "step=model loss.reduction=sum lr=0.001",
    f"{BINARY} dtype=float64 updater=manual_momentum",
    "data.y=[0,1,0,1] loss=BCEWithLogitsLoss step=autograd gradient=autograd predictor.bias=true",
    f"{PATIENTS} data.standardize=false step=manual gradient=manual lr=1e-6 data.validation=0.2",
]
TORCH_ONLY = {
    "step=optimizer loss=HuberLoss loss.delta=2": AUTOGRAD,
    "step=optimizer loss=L1Loss updater=RMSprop updater.momentum=0.9": OPTIMIZER,
    "step=optimizer updater=Adam updater.amsgrad=true": OPTIMIZER,
    "step=optimizer updater=SparseAdam lr=0.1": OPTIMIZER,
    "step=model updater=Rprop predictor.bias=true": OPTIMIZER,
}


def shared(cases: list[Any], every: int) -> list[Any]:
    """One in so many cases by default, all of them with the slow tests."""
    slow = pytest.mark.slow
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*v, marks=[slow] if i % every else []) for i, v in enumerate(values)]


def job_of(words: str) -> Job:
    with session():
        return Job.of(Composer().compose(["tracking=off", *words.split()]), words.split())


def watched(job: Job, epoch: int) -> tuple[Watched, Result]:
    """A run, computed up to an epoch that is watched."""
    made: list[Watched] = []

    def assembled(job: Job) -> Watched:
        made.append(Watched(**vars(assemble(job)), epoch=epoch))
        return made[0]

    short = replace(job, settings=job.settings | {"iters": epoch})
    result = compute_again(short, lambda _: ("", b""), together=False, assembled=assembled)
    return made[0], result


def explained(words: str, epoch: int) -> Explanation:
    job = job_of(words)
    return explain(job, watched(job, epoch)[0])


class Program:
    """A way to compute an update, from the data and the parameters before it."""

    def __init__(self, explanation: Explanation, way: str) -> None:
        self.way, self.steps, self.update = way, explanation.steps, explanation.update
        update = self.update
        self.names: dict[str, Any] = {"x": update.x, "y": update.y, **update.before}
        betas = update.settings.get("betas", ())
        rates = {f"beta{i + 1}": beta for i, beta in enumerate(betas)}
        self.names |= update.settings | rates | {"t": update.steps + 1, "mw": 0.0, "vw": 0.0}
        self.names |= {"mb": 0.0, "vb": 0.0}
        hand = {"exp_avg": "m", "exp_avg_sq": "v", "momentum_buffer": "v"}
        for key, values in update.memory.items():
            self.names |= {hand.get(key, key) + name: value for name, value in values.items()}
        self.names = copy.deepcopy(self.names) | {"np": np}
        if way != NUMPY:
            self._in_torch()

    def _in_torch(self) -> None:
        import torch

        arrays = {key: v for key, v in self.names.items() if isinstance(v, np.ndarray)}
        self.names |= {key: torch.tensor(value) for key, value in arrays.items()} | {"torch": torch}
        for line in self.lines(0) if self.way == MODEL else []:
            exec(line.setup, self.names)
        for name, value in self.update.before.items():
            values = torch.as_tensor(value, dtype=self.names["x"].dtype)
            if self.way == MODEL:
                self.names["model"].to(values.dtype)
                self.names[name].data = values.reshape(self.names[name].shape)
            else:
                self.names[name] = values.clone().requires_grad_()

    def lines(self, step: int) -> list[Any]:
        return [line for line in self.steps[step].lines if self.way in line.ways]

    def optimize(self) -> None:
        """Make the optimizer, with the state that it has by now."""
        import torch

        exec(self.lines(3)[0].setup, self.names)
        optimizer, update = self.names["optimizer"], self.update
        group = optimizer.param_groups[0]
        group |= {key: v for key, v in update.settings.items() if key in group}
        adam = {"m": "exp_avg", "v": "exp_avg_sq"}
        hand = adam if "m" in update.memory else {"v": "momentum_buffer"}
        for key, values in update.memory.items():
            for name, value in values.items():
                p = self.names[name]
                tensor = torch.as_tensor(value, dtype=p.dtype).reshape(p.shape).clone()
                optimizer.state[p] |= {hand.get(key, key): tensor}
                if update.steps:
                    optimizer.state[p]["step"] = torch.tensor(float(update.steps))

    def run(self, step: int) -> dict[str, Any]:
        """Execute the lines of a step; returns what it should compute, as it did."""
        if step == 3 and self.way in (OPTIMIZER, MODEL):
            self.optimize()
        (line,) = self.lines(step)
        exec(line.code, self.names)
        values = self.steps[step].values
        if step == 3 and self.way in (OPTIMIZER, MODEL):  # it keeps what it remembers to itself
            values = self.update.after
        return {name: self.names[name] for name in values}


def check(explanation: Explanation, way: str, multiple: float = 1.0) -> None:
    """Execute a way from beginning to end, and compare each step with the run.

    If the run's gradient is a multiple of the derivative, autograd's lines go on with the run's.
    """
    program = Program(explanation, way)
    tolerance = 2e-5 if explanation.update.x.dtype == np.float32 else 1e-11
    for number, step in enumerate(explanation.steps):
        size = max(1e-3, *(float(np.abs(value).max()) for value in step.values.values()))
        factor = multiple if step.family == "gradient" and way != NUMPY else 1.0
        for name, value in program.run(number).items():
            value = np.ravel(value.detach() if hasattr(value, "detach") else value) * factor
            wrong = np.abs(value - np.ravel(step.values[name])) > tolerance * size
            assert not wrong.any(), (way, name, value, step.values[name])
        if factor != 1:
            program.names |= {name: factor * program.names[name] for name in step.values}


def multiple_of(words: str, explanation: Explanation) -> float:
    """The run's gradient as a multiple of the derivative of its loss."""
    rows = len(explanation.update.y)
    sums = ("step=manual" in words and "gradient=" not in words, "loss.reduction=sum" in words)
    if sums[1] and "gradient=manual" in words:
        return 1 / rows
    return rows if sums[0] else 1.0


@pytest.mark.parametrize("words", shared(COMBINATIONS, every=4))
def test_every_way_gives_the_numbers_of_every_combination(words: str) -> None:
    explanation = explained(words, 2)
    for way in (NUMPY, AUTOGRAD, OPTIMIZER):
        check(explanation, way)
    assert explanation.check == "central differences of the loss give the same"


@pytest.mark.parametrize(
    "words", [*CASES, *(pytest.param(words, marks=pytest.mark.slow) for words in MORE)]
)
def test_every_way_gives_the_numbers_of_the_run(words: str) -> None:
    job = job_of(words)
    for epoch in (1, 3):
        explanation = explain(job, watched(job, epoch)[0])
        multiple = multiple_of(words, explanation)
        for way in (NUMPY, AUTOGRAD, OPTIMIZER):
            check(explanation, way, multiple)
        assert ("is it" if multiple == 1 else f"it is {multiple:.4g} times") in (
            explanation.check.replace("central differences of the loss give the same", "is it")
        )


@pytest.mark.parametrize(
    "words", ["step=model predictor.bias=true", f"{PATIENTS} step=model lr=0.1"]
)
def test_the_model_gives_the_numbers_of_the_run(words: str) -> None:
    explanation = explained(words, 2)
    program = Program(explanation, MODEL)
    assert np.allclose(program.run(0)["y_pred"].detach(), explanation.update.y_pred, rtol=1e-5)


@pytest.mark.parametrize(("words", "way"), shared([*TORCH_ONLY.items()], every=3))
def test_of_other_classes_of_torch_there_are_the_lines_of_torch(words: str, way: str) -> None:
    check(explained(words, 2), way)


def test_values_are_those_of_the_trajectory() -> None:
    built, result = watched(job_of("step=model data=diabetes lr=1e-6 predictor.bias=true"), 3)
    update = built.update
    assert update is not None
    row = {name: values[2] for name, values in result.trajectory.columns().items()}
    assert update.loss == row["train/loss"]
    for name, i in (("age", 0), ("s6", 9)):
        assert update.after["w"].reshape(-1)[i] == row[f"param/w/{name}"]
        assert update.gradients["w"].reshape(-1)[i] == row[f"grad/w/{name}"]
    assert update.after["b"].item() == row["param/b"]
    assert update.before["b"].item() == result.trajectory.parameters["b"][1]


LARGE = "data=synthetic data.rows=70000 data.features=2 gradient=manual lr=0.1"


@pytest.mark.parametrize(
    "words",
    first_quick(
        [
            "step=optimizer updater=LBFGS predictor.bias=true",
            f"{PATIENTS} step=model predictor=mlp updater=Adam data.batch_size=90 "
            "data.validation=0.3",
            *("step=manual lr=0.05", LARGE),
        ],
        2,
    ),
)
def test_a_watched_run_is_the_same_to_the_last_bit(words: str) -> None:
    job = job_of(words)
    short = replace(job, settings=job.settings | {"iters": 3})
    plain = compute_again(short, lambda _: ("", b""), together=False).trajectory
    built, result = watched(job, 3)
    assert difference(plain, result.trajectory) is None
    assert built.update is not None
    assert built.update.y_pred.shape == built.update.y.shape


@pytest.mark.parametrize(
    "words",
    [
        "step=autograd data.x=[1e-3,2e-3] data.y=[1e8,2e8] dtype=float64",
        "step=autograd data.x=[1e6,2e6] data.y=[1e-3,1e-3] lr=1e-15 predictor.bias=true",
        f"{BINARY} predictor.init=1000",
    ],
)
def test_differences_agree_whatever_the_units(words: str) -> None:
    assert explained(words, 1).check == "central differences of the loss give the same"


def test_lines_that_a_class_of_ones_own_belies_are_left_out() -> None:
    job = job_of("step=autograd predictor.bias=true")
    for family in ("predictor", "gradient", "loss", "updater"):
        node = {**job.settings[family], "_target_": f"{__name__}.Own{family.capitalize()}"}
        own = replace(job, settings={**job.settings, family: node})
        steps = {step.family: step for step in explain(own, watched(own, 2)[0]).steps}
        hand = {name for name, step in steps.items() for way in step.lines if NUMPY in way.ways}
        assert hand == {"predictor", "gradient", "loss", "updater"} - {family}


class OwnPredictor(manual.Predictor):
    linear = True

    def __call__(self, x: Any) -> Any:
        return 2 * super().__call__(x)


class OwnGradient(manual.Gradient):
    derived_for = manual.Loss.measures
    reduction = "mean"

    def __call__(self, *args: Any) -> Any:
        return {name: value / 3 for name, value in super().__call__(*args).items()}


class OwnLoss(manual.Loss):
    measures = manual.Loss.measures

    def __call__(self, y_pred: Any, y: Any) -> Any:
        return 5 * super().__call__(y_pred, y)


class OwnUpdater(manual.Updater):
    dynamics = "descent"

    def __call__(self, parameters: Any, gradients: Any) -> None:
        super().__call__(parameters, {name: -value for name, value in gradients.items()})
