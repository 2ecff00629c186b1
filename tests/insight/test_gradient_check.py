"""The gradient check names every planted fault, and blames nothing that is right."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gdexp import run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.insight.checks import gradient as gradient_check

TABLE = ("data=synthetic", "data.features=3", "data.rows=20", "data.noise=0.5")
BIAS = "predictor.bias=true"


@functools.cache
def composed(words: tuple[str, ...]) -> Job:
    with session():
        return Job.of(Composer().compose([*words, "tracking=off"]), ())


def job_of(*words: str, **families: dict[str, Any]) -> Job:
    """A job with classes of the tests in place of the chosen ones."""
    job = composed(words)
    job = replace(job, settings=dict(job.settings), choices=dict(job.choices))
    for family, node in families.items():
        settings = {key: value for key, value in node.items() if key != "of"}
        job.settings[family] = {"_target_": f"fault_helpers.{node['of']}", **settings}
        job.choices[family] = "mine"
    return job


def checked(*words: str, **families: dict[str, Any]) -> tuple[dict[str, str], dict[str, float]]:
    """What a job is told, and the metrics."""
    job = job_of(*words, **families)
    built = build(job)
    notes = {k: v for k, v in gradient_check.notes(job, built).items() if v}
    return notes, gradient_check.metrics(job, built)


FACTORS = {
    "n times": (
        20,
        "is 20.000 times the derivative of the loss, n = 20: the mean's 1/n is missing",
    ),
    "1/n": (1 / 20, "is 0.050 times the derivative of the loss, n = 20: it is divided by n once"),
    "twice": (2, "is 2.000 times the derivative of the loss: a factor 2 is doubled"),
    "half": (0.5, "is 0.500 times the derivative of the loss: the factor 2 of the square's"),
    "seven": (7.3, "is 7.300 times the derivative of the loss, so lr=0.01 acts like lr=0.073"),
    "sign": (-1, "is -1.000 times the derivative of the loss: its sign is wrong, so it climbs the"),
    "sign and n": (
        -20,
        "is -20.000 times the derivative of the loss, n = 20: the mean's 1/n is mi",
    ),
    "zero": (0, "is 0, and the loss depends on w"),
}
OTHERS = {
    "not zeroed": "does not zero its gradients: in epoch 2 it gives the sum of the first two.",
    "bias": "forgets the bias: the gradient of b is 0, and the loss depends on b",
    "part": "leaves out a part of w: 1 of its 3 numbers are 0",
    "reversed": "gives the gradient of w in a wrong order: its numbers are right",
    "tensor": "is 3.000 times the derivative of the loss by b",
    "unrelated": "is not the derivative of the loss: the gradient of ",
}
DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]
SOURCES = {"ByHand": "step=manual", "ByAutograd": "step=model"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", FACTORS)
def test_a_factor_is_measured_and_named(fault: str, source: str, dtype: str) -> None:
    factor, sentence = FACTORS[fault]
    words = (SOURCES[source], *TABLE, BIAS, f"dtype={dtype}")
    notes, metrics = checked(*words, gradient={"of": source, "fault": fault})
    assert notes["gradient=mine"].startswith(f"gradient=mine {sentence}")
    assert metrics["gradient_ratio"] == pytest.approx(factor, abs=1e-5)
    assert metrics["gradient_error"] == pytest.approx(abs(factor - 1), rel=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", OTHERS)
def test_a_planted_fault_is_named(fault: str, source: str, dtype: str) -> None:
    words = (SOURCES[source], *TABLE, BIAS, f"dtype={dtype}")
    notes, metrics = checked(*words, gradient={"of": source, "fault": fault})
    assert [*notes] == ["gradient=mine"]
    assert notes["gradient=mine"].startswith(f"gradient=mine {OTHERS[fault]}")
    assert metrics["gradient_error"] > 0.01


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "fault", ["n times", "half", "sign", "sign and n", "not zeroed", "seven", "zero"]
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_fault_is_named_for_one_feature_too(fault: str, source: str, bias: bool) -> None:
    words = SOURCES[source], f"predictor.bias={str(bias).lower()}"
    notes, _ = checked(*words, gradient={"of": source, "fault": fault})
    expected = OTHERS.get(fault) or FACTORS[fault][1].replace("20", "4")
    assert notes["gradient=mine"].startswith(f"gradient=mine {expected}")


@pytest.mark.parametrize("which", ["predictions", "targets"])
@pytest.mark.parametrize("words", ["step=manual", f"step=manual {BIAS}", " ".join((*TABLE, BIAS))])
def test_a_gradient_over_all_pairs_is_named(which: str, words: str) -> None:
    notes, _ = checked(*words.split(), gradient={"of": "Pairs", "fault": which})
    assert "all n * n pairs of a prediction and a target" in notes["gradient=mine"]


def test_the_transpose_of_a_matrix_is_named() -> None:
    table = {"of": "classes"}
    words = ("step=model", "loss=CrossEntropyLoss")
    notes, _ = checked(*words, data=table, gradient={"of": "ByAutograd", "fault": "transposed"})
    assert notes["gradient=mine"].startswith(
        "gradient=mine transposes the gradient of w: its numbers are right, in the order of the "
        "transpose. Return it in the shape of w, (3, 2)"
    )


@pytest.mark.parametrize(
    ("fault", "sentence"),
    {
        "weights": "leaves out a parameter: the gradient of 0.weight is 0, and the loss depends on",
        "bias": "forgets the bias: the gradient of 2.bias is 0, and the loss depends on 2.bias",
        "tensor": "is 3.000 times the derivative of the loss by 2.bias",
    }.items(),
)
def test_a_layer_that_is_left_out_is_named(fault: str, sentence: str) -> None:
    words = ("step=model", "predictor=mlp", *TABLE)
    notes, _ = checked(*words, gradient={"of": "ByAutograd", "fault": fault})
    assert notes["gradient=mine"].startswith(f"gradient=mine {sentence}")


def test_n_is_the_size_of_a_minibatch_and_the_number_of_all_rows() -> None:
    many = ("data=synthetic", "data.features=2", "data.rows=100_000")
    for words, n in (((*TABLE, "data.batch_size=7"), 7), (many, 100_000)):
        notes, metrics = checked("step=manual", *words)
        assert f"n = {n}: the mean's 1/n is missing" in notes["gradient=manual_sum"]
        assert metrics == {"gradient_error": n - 1, "gradient_ratio": n}


def test_two_rows_leave_two_explanations() -> None:
    notes, _ = checked("step=manual", "data.x=[1,2]", "data.y=[2,4]")
    assert (
        "n = 2: the mean's 1/n is missing, or a factor 2 is doubled" in notes["gradient=manual_sum"]
    )


UNUSUAL = ["root", "correlation", "absolute", "largest", "relative"]
RIGHT = [
    "step=manual gradient=manual",
    "step=manual gradient=manual data.x=[1] data.y=[2]",
    "step=manual gradient=manual_sum data.x=[1] data.y=[2]",
    "step=optimizer gradient=manual_sum loss.reduction=sum",
    "step=autograd data.y=[0,0,0,0]",
    "step=model predictor=mlp predictor.activation=ReLU loss=L1Loss",
    "step=model predictor=mlp predictor.init=0 predictor=model loss=HuberLoss",
    "step=autograd loss=L1Loss predictor.init=2.0",
    "step=autograd predictor.init=2.0",
    "gradient=manual predictor.init=2.0",
    "gradient=manual data.x=[1e6,2e6,3e6] data.y=[1e6,1e6,1000001] predictor.bias=true",
    "gradient=manual data.x=[1e-6,2e-6,3e-6] data.y=[1e-6,1e-6,3e-6]",
    "step=model predictor=mlp data.x=[1e6,2e6,3e6] data.y=[1e6,2e6,3e6]",
    "gradient=manual data.x=[1e-20,2e-20] data.y=[1e-20,1]",
    "gradient=manual data.x=[1e18,2e18] data.y=[1e18,1]",
    "gradient=manual data=diabetes data.standardize=true data.compress=true",
    "step=model data=diabetes predictor.bias=true data.batch_size=30 data.validation=0.2",
    "step=model data=diabetes data.standardize=true data.standardize_target=true updater=LBFGS",
    "loss=manual_logistic gradient=manual_logistic data.y=[0,1,0,1]",
    "step=model loss=CrossEntropyLoss data.y=[0,1,2,1] predictor.bias=true",
    "step=model loss=BCEWithLogitsLoss data.y=[0,1,0,1]",
    "gradient=manual data.x=[0,0,0,0]",
    "gradient=manual data.x=[5,5,5,5] data.y=[1,1,1,1] predictor.bias=true",
    "step=optimizer updater=SGD updater.maximize=true updater.weight_decay=9 predictor.init=-3",
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "words", [pytest.param(w, marks=pytest.mark.slow) if i % 3 else w for i, w in enumerate(RIGHT)]
)
def test_nothing_right_is_blamed(words: str, dtype: str) -> None:
    notes, metrics = checked(*words.split(), f"dtype={dtype}")
    assert notes == {}
    assert metrics.get("gradient_error", 0) < (1e-3 if dtype == "float32" else 1e-7)
    assert metrics or "data.x=[0,0,0,0]" in words


@pytest.mark.parametrize("kind", [*UNUSUAL, "steps"])
@pytest.mark.parametrize("table", [("step=autograd",), ("step=autograd", *TABLE, BIAS)])
def test_an_unusual_loss_is_not_blamed(kind: str, table: tuple[str, ...]) -> None:
    notes, metrics = checked(*table, loss={"of": "Unusual", "kind": kind})
    assert notes == {}
    if kind in ("root", "relative"):
        assert metrics["gradient_error"] < 1e-4


def test_a_random_predictor_is_not_checked(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "predictor").mkdir()
    (tmp_path / "predictor" / "dropped.yaml").write_text("# dropout\n_target_: dropped.Net\n")
    (tmp_path / "dropped.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self):\n"
        "        layers = torch.nn.Linear(1, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1)\n"
        "        super().__init__(*layers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    how = ("step=model", "predictor=dropped", "tracking=off", "iters=3")
    result, other = (
        run(*how, f"check.gradient={g}", config_dir=str(tmp_path)) for g in ("every", "off")
    )
    assert not any(name.startswith("gradient_") for name in result.checks)
    assert "check/gradient_error" not in result.trajectory.measured
    np.testing.assert_array_equal(result.trajectory.table, other.trajectory.table)


# Every epoch, or never


@pytest.mark.parametrize(
    "step",
    [
        "step=manual",
        pytest.param("step=model predictor.bias=true", marks=pytest.mark.slow),
        pytest.param("step=autograd", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "more",
    [
        "iters=60 lr=0.02",
        "data.batch_size=3 iters=9",
        pytest.param("updater=LBFGS iters=5", marks=pytest.mark.slow),
    ],
)
def test_the_check_changes_nothing_in_a_run(step: str, more: str) -> None:
    words = (*step.split(), *more.split(), "tracking=off")
    off, first, every = (run(*words, f"check.gradient={g}") for g in ("off", "first", "every"))
    curve = every.trajectory.measured["check/gradient_error"]
    assert len(curve) == every.trajectory.length
    if step != "step=manual":
        assert curve.max() < 1e-3
    np.testing.assert_array_equal(first.trajectory.table, off.trajectory.table)
    np.testing.assert_array_equal(every.trajectory.table[:-1], off.trajectory.table)
    assert not any(name.startswith("gradient_") for name in off.checks)
    assert "gradient=manual_sum" not in off.notes


@pytest.mark.parametrize(
    "words", ["lr=0.5", "lr=1 updater=manual_momentum", "lr=0.4 dtype=float64"]
)
def test_a_run_that_diverges_is_not_blamed_for_it(words: str) -> None:
    how = ("gradient=manual", "tracking=off", "iters=500", "check.gradient=every")
    result = run(*how, *words.split())
    assert result.outcome == "diverged"
    assert "gradient=manual" not in result.notes


def test_the_first_epoch_that_differs_is_named() -> None:
    from gdexp.insight.checks import every_epoch

    job = job_of("step=manual", "gradient=manual", "check.gradient=every")
    built = build(job)
    correct = built.gradient

    def wrong_from_the_fourth(*given: Any) -> Any:
        wrong_from_the_fourth.calls += 1  # type: ignore[attr-defined]
        gradients = correct(*given)
        late = wrong_from_the_fourth.calls > 3  # type: ignore[attr-defined]
        return {name: 2 * g if late else g for name, g in gradients.items()}

    wrong_from_the_fourth.calls = 0  # type: ignore[attr-defined]
    built.gradient = wrong_from_the_fourth
    every_epoch.watch(job, built)
    errors = [built.measures[every_epoch.CURVE]() for _ in built.iterations(6)]
    assert errors == pytest.approx([0, 0, 0, 1, 1, 1], abs=1e-6)
    note = every_epoch.note(job, built)["gradient=manual"]
    assert note.startswith(
        "gradient=manual differs from the derivative of the loss from epoch 4 on: along one "
    )


@pytest.mark.parametrize("word", ["false", "off", "False"])
def test_false_is_off(word: str) -> None:
    job = job_of(f"check.gradient={word}")
    assert job.settings["check"]["gradient"] == "off"
    assert job.flat()["check.gradient"] == "off"


def test_off_checks_nothing_and_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of("check.gradient=off")
    built = build(job)
    monkeypatch.setattr(gradient_check, "build", lambda job: pytest.fail("it was built"))
    assert gradient_check.metrics(job, built) == {}


def test_runs_that_differ_in_numbers_share_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = gradient_check.build
    monkeypatch.setattr(gradient_check, "build", lambda job: made.append(job) or real(job))
    gradient_check._checked.clear()
    for words in ("lr=0.1", "lr=0.2", "seed=3", "iters=9", "predictor.init=1.5"):
        job = job_of(words)
        assert gradient_check.metrics(job, build(job))["gradient_ratio"] == 4
    assert len(made) == 1


def test_a_continued_run_is_checked_from_where_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    how = ("gradient=manual", "tracking=off", "check.gradient=every")
    saved = run(*how, "iters=4", "checkpoint.every=2").continue_from
    result = run(f"continue_from={saved}", "tracking=off", "check.gradient=every", "iters=7")
    curve = result.trajectory.measured["check/gradient_error"]
    assert np.isnan(curve[:4]).all()
    assert curve[4:] == pytest.approx(np.zeros(3), abs=1e-6)
    whole = run(*how, "iters=7").trajectory
    np.testing.assert_array_equal(whole.table[:-1], result.trajectory.table[:-1])


def test_the_check_is_recorded_as_a_curve_or_as_two_numbers(store: Path) -> None:
    from helpers import client

    opened = client(store)
    words = ("gradient=manual", "iters=5")
    first, every = (run(*words, *more) for more in ((), ("check.gradient=every",)))
    metrics = opened.get_run(first.run_id).data.metrics
    assert metrics["check/gradient_error"] < 1e-6
    assert metrics["check/gradient_ratio"] == pytest.approx(1)
    curve = opened.get_metric_history(every.run_id, "check/gradient_error")
    assert [point.step for point in curve] == [1, 2, 3, 4, 5]
    assert max(point.value for point in curve) < 1e-6
