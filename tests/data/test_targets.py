"""What counts as a target: ignored rows, probabilities, weighted and rare classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import CLI
from sklearn import metrics

from gdexp import run
from gdexp.data import Dataset
from gdexp.data.task import has_scores, ignored_class, outputs_of

CSV = ("data=csv", "data.path=t.csv", "data.target=y", "tracking=off")
SOFTMAX = ("step=model", "loss=CrossEntropyLoss", "lr=0.5", "iters=40")
LOGISTIC = (
    ("step=model", "loss=BCEWithLogitsLoss"),
    ("step=manual", "loss=manual_logistic", "gradient=manual_logistic"),
)


def write(y: list[float], seed: int = 0) -> np.ndarray[Any, Any]:
    x = np.random.default_rng(seed).normal(size=(len(y), 2)) + np.array(y)[:, None]
    pd.DataFrame(x, columns=["a", "b"]).assign(y=y).to_csv("t.csv", index=False)
    return x


@pytest.mark.parametrize(
    ("ignored", "smoothing", "reduction"),
    [(-100, 0.0, "sum"), (2, 0.0, "mean"), (255, 0.1, "sum"), (1, 0.1, "mean")],
)
def test_ignored_rows_are_neither_fitted_nor_scored(
    ignored: int, smoothing: float, reduction: str, workdir: Path
) -> None:
    kept = [c for c in (0, 1, 3, 2) if c != ignored][:3]
    y = [float(kept[k % 3] if k % 4 else ignored) for k in range(40)]
    x = write(y)
    lr = 0.01 if reduction == "sum" else 0.5
    typed = f"lr={lr} loss.reduction={reduction} loss.label_smoothing={smoothing}".split()
    result = run(*CSV, *SOFTMAX, *typed, f"loss.ignore_index={ignored}")
    weights = torch.zeros(max(kept) + 1, 2, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=lr)
    loss = torch.nn.CrossEntropyLoss(
        ignore_index=ignored, reduction=reduction, label_smoothing=smoothing
    )
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y).long()
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(inputs @ weights.T, targets)
        value.backward()
        optimizer.step()
    assert result.trajectory.loss[-1] == pytest.approx(value.item(), rel=1e-5)
    counted = np.array(y) != ignored
    classes = (inputs @ weights.T).argmax(dim=1).numpy()
    expected = metrics.accuracy_score(np.array(y)[counted], classes[counted])
    assert result.scores == {"final/accuracy": pytest.approx(expected)}


def test_the_reported_accuracy_is_1_where_only_ignored_rows_differ(workdir: Path) -> None:
    Path("t.csv").write_text("x,y\n-2,0\n3,1\n0.1,2\n")
    result = run(*CSV, *SOFTMAX, "loss.ignore_index=2", "predictor.bias=true")
    assert result.scores == {"final/accuracy": 1.0}


def test_neither_validation_rows_nor_minibatches_hold_ignored_rows(workdir: Path) -> None:
    write([-100.0] * 60 + [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    how = ("data.validation=0.3", "data.batch_size=1", "iters=3")
    result = run(*CSV, *SOFTMAX, *how)
    assert result.outcome == "completed"
    assert np.isfinite(result.trajectory.measured["validation/loss"]).all()
    assert set(result.scores) == {"final/accuracy", "validation/accuracy"}
    assert result.data is not None
    assert result.data.kept is not None
    assert (len(result.data.fitted.y), len(result.data.kept.y), result.data.rows) == (7, 3, 70)


def test_ignored_classes_and_weights_decide_the_number_of_outputs() -> None:
    y = np.array([0.0, 1, 255])
    ignoring = torch.nn.CrossEntropyLoss(ignore_index=255)
    assert outputs_of(y, "classes", ignoring) == 2
    weighted = torch.nn.CrossEntropyLoss(weight=torch.ones(4))
    assert outputs_of(y[:2], "classes", weighted) == 4
    assert outputs_of(y, "classes", torch.nn.CrossEntropyLoss()) == 256
    assert outputs_of(y, "regression", None) == outputs_of(y, "binary", None) == 1
    assert ignored_class(ignoring, "classes") == 255
    assert ignored_class(ignoring, "binary") is None
    assert ignored_class(lambda z, y: 0.0, "classes") is None


def test_a_loss_with_more_weights_than_classes_is_fitted(
    workdir: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    write([0, 1, 1, 0])
    Path("loss").mkdir()
    Path("loss/weighted.yaml").write_text("_target_: weighted_loss.Weighted\n")
    Path("weighted_loss.py").write_text(
        "import torch\n\nclass Weighted(torch.nn.CrossEntropyLoss):\n    task = 'classes'\n"
        "    def __init__(self):\n        super().__init__(torch.tensor([1.0, 2.0, 5.0]))\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    ended = cli("--config-dir", ".", *CSV, "step=model", "loss=weighted", "iters=3")
    assert ended.code == 0
    assert ended.err.splitlines()[1].startswith("final/accuracy ")


@pytest.mark.parametrize("how", LOGISTIC)
def test_probabilities_are_targets_of_a_logistic_fit(how: tuple[str, ...], workdir: Path) -> None:
    x = np.linspace(-2, 2, 9)
    y = 1 / (1 + np.exp(-(1.5 * x - 0.5)))
    pd.DataFrame({"x": x, "y": y}).to_csv("t.csv", index=False)
    end = ("predictor.bias=true", "dtype=float64", "lr=2", "iters=400", "updater.momentum=0.8")
    updater = "updater=manual_momentum" if "step=manual" in how else "updater=SGD"
    result = run(*CSV, *how, updater, *end)
    assert result.coefficients == pytest.approx({"x": 1.5, "intercept": -0.5}, rel=1e-6)
    entropy = -(y * np.log(y) + (1 - y) * np.log(1 - y)).mean()
    assert result.trajectory.loss[-1] == pytest.approx(entropy, rel=1e-9)
    assert result.scores == {}


def test_one_probability_is_enough_to_have_no_accuracy(workdir: Path) -> None:
    assert has_scores(np.array([0.0, 1]), "binary")
    assert not has_scores(np.array([0.0, 0.5]), "binary")
    write([0, 1, 1, 0, 0.5, 1])
    assert run(*CSV, *LOGISTIC[0], "data.validation=0.5").scores == {}
    write([0, 1, 1, 0, 0, 1])
    scores = run(*CSV, *LOGISTIC[0], "data.validation=0.5").scores
    assert set(scores) == {"final/accuracy", "validation/accuracy"}


def test_a_table_without_ignored_rows_is_the_same_object() -> None:
    from gdexp.data.task import without

    table = Dataset(np.arange(3.0), np.arange(3.0), "t")
    assert without(table, 7) is table
    assert without(table, 1).x.tolist() == [0, 2]
