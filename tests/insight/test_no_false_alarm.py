"""The gradient check blames nothing right: 200 random runs, and all combinations of options."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from helpers import CONF

from gdexp.config.compose import Composer, session
from gdexp.descent.build import Components
from gdexp.errors import ConfigError
from gdexp.experiment import assemble
from gdexp.insight.checks import gradient as gradient_check
from gdexp.sweep.jobs import Template

OPTIONS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("predictor", "gradient", "loss", "updater")
}
DATA = ("tutorial", "synthetic", "diabetes")
DERIVED = {"manual": "manual", "manual_logistic": "manual_logistic"}
CLASSIFIERS = ("manual_logistic", "BCEWithLogitsLoss", "CrossEntropyLoss")
UNITS = (1e-6, 1e-3, 1.0, 1e3, 1e6)


def combinations() -> Iterator[dict[str, str]]:
    """The four families, as far as they belong together; the gradient is a derivative."""
    for predictor, gradient, loss in itertools.product(
        OPTIONS["predictor"], OPTIONS["gradient"], OPTIONS["loss"]
    ):
        if (
            gradient == "autograd"
            or (predictor != "mlp" and loss in {"manual": ("manual", "MSELoss")}.get(gradient, ()))
            or (gradient == "manual_logistic" and predictor != "mlp" and loss in CLASSIFIERS[:2])
        ):
            yield {"predictor": predictor, "gradient": gradient, "loss": loss}


@cache
def template(choices: tuple[str, ...]) -> Template:
    with session():
        return Template(Composer().compose([*choices, "tracking=off"]))


def blamed(choices: tuple[str, ...], keys: dict[str, Any]) -> bool | None:
    """Whether a combination is checked; None if it is refused. Fails if it is blamed."""
    job = template(choices).job([*keys.items()])
    try:
        built: Components = assemble(job)
    except ConfigError:
        return None
    notes = {key: note for key, note in gradient_check.notes(job, built).items() if note}
    assert notes == {}, f"{' '.join(choices)} {keys}"
    return bool(gradient_check.metrics(job, built))


def drawn(rng: random.Random, choices: dict[str, str]) -> dict[str, Any]:
    """Random settings of a run with these options."""
    keys: dict[str, Any] = {"dtype": rng.choice(["float32", "float64"]), "seed": rng.randrange(99)}
    keys["predictor.bias"] = rng.random() < 0.5
    if choices["predictor"] == "mlp":
        keys["predictor.sizes"] = rng.choice([[], [3], [8, 4]])
        keys["predictor.activation"] = rng.choice(["Tanh", "ReLU", "GELU", "Hardtanh", "Softplus"])
    else:
        keys["predictor.init"] = rng.choice(["torch", 0.0, 1.0, 2.0, -3.7, 1e4])
    if choices["loss"][0].isupper():
        keys["loss.reduction"] = (
            "mean" if choices["gradient"] != "autograd" else rng.choice(["mean", "sum"])
        )
    if choices["data"] == "tutorial":
        n = rng.randrange(1, 9)
        keys["data.x"] = [rng.gauss(0, 1) * rng.choice(UNITS) for _ in range(n)]
        keys["data.y"] = [rng.gauss(1, 1) * rng.choice(UNITS) for _ in range(n)]
        if choices["loss"] in CLASSIFIERS:
            classes = 2 if choices["loss"] != "CrossEntropyLoss" else 3
            keys["data.y"] = [i % classes for i in range(n)]
        if rng.random() < 0.3:
            keys["data.x"] = [round(value) for value in keys["data.x"]]
    elif choices["data"] == "synthetic":
        keys |= {"data.rows": rng.choice([5, 60, 2000]), "data.features": rng.choice([1, 2, 30])}
        keys |= {"data.noise": rng.choice([0.0, 1.0]), "data.condition": rng.choice([1.0, 1e3])}
        if keys["data.features"] == 1:
            keys["data.condition"] = 1.0
    keys["data.standardize"] = rng.random() < 0.5
    keys["data.standardize_target"] = rng.random() < 0.2
    keys["data.compress"] = rng.random() < 0.1
    keys["data.batch_size"] = None if keys["data.compress"] else rng.choice([None, None, 3])
    return keys


def check_random(count: int, seed: int, families: list[dict[str, str]]) -> None:
    rng = random.Random(seed)
    checked = tried = 0
    while tried < count:
        choices = rng.choice(families)
        answer = blamed(tuple(map("=".join, choices.items())), drawn(rng, choices))
        tried += answer is not None
        checked += bool(answer)
    assert checked > 0.9 * tried


def test_random_runs_are_not_blamed() -> None:
    by_hand = {"predictor": "manual", "gradient": "manual", "loss": "manual", "data": "tutorial"}
    network = {"predictor": "mlp", "gradient": "autograd", "loss": "HuberLoss", "data": "synthetic"}
    check_random(20, 1, [by_hand, network])


@pytest.mark.slow
def test_two_hundred_random_runs_are_not_blamed() -> None:
    check_random(200, 2, [c | {"data": data} for c in combinations() for data in DATA])


@pytest.mark.slow
def test_no_combination_of_options_is_blamed() -> None:
    every, updaters = [*combinations()], OPTIONS["updater"]
    chosen = [*zip(every, itertools.cycle(updaters)), *zip(itertools.cycle(every[::5]), updaters)]
    checked = 0
    for choices, updater in chosen:
        words = tuple(map("=".join, (choices | {"updater": updater}).items()))
        more = {"data.y": [0, 1, 0, 1]} if choices["loss"] in CLASSIFIERS else {}
        for dtype in ("float32", "float64"):
            checked += bool(blamed(words, {"dtype": dtype} | more))
    assert checked > len(every)
