"""Classes and numbers: fits are scikit-learn's, and so is every score of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets, metrics
from sklearn.linear_model import LinearRegression, LogisticRegression

from gdexp import data, run
from gdexp.data.transforms import split

CSV = ("data=csv", "data.path=t.csv", "data.target=y", "tracking=off", "dtype=float64")
NEWTON = ("updater=LBFGS", "updater.line_search_fn=strong_wolfe", "lr=1", "iters=15")
BY_HAND = ("step=manual", "loss=manual_logistic", "gradient=manual_logistic")


@pytest.fixture
def cancer(workdir: Path) -> pd.DataFrame:
    """Two overlapping classes, four features in units far apart."""
    table = datasets.load_breast_cancer(as_frame=True).frame
    frame = table[["mean texture", "mean smoothness", "mean symmetry", "area error"]].copy()
    frame["y"] = table["target"]
    frame.to_csv("t.csv", index=False)
    return frame


@pytest.fixture
def iris(workdir: Path) -> pd.DataFrame:
    frame: pd.DataFrame = datasets.load_iris(as_frame=True).frame.rename(columns={"target": "y"})
    frame.to_csv("t.csv", index=False)
    return frame


@pytest.mark.parametrize(
    "chosen",
    [
        (*BY_HAND, "updater=manual_momentum", "lr=0.5", "updater.momentum=0.97", "iters=1000"),
        ("step=manual", "loss=manual_logistic", "gradient=autograd", *NEWTON),
        ("step=model", "loss=BCEWithLogitsLoss", "gradient=manual_logistic", *NEWTON),
        ("step=model", "loss=BCEWithLogitsLoss", *NEWTON),
    ],
    ids=["by hand", "manual loss", "manual gradient", "torch"],
)
def test_a_logistic_fit_is_scikit_learns(chosen: tuple[str, ...], cancer: pd.DataFrame) -> None:
    result = run(*CSV, *chosen, "data.standardize=true", "predictor.bias=true")
    x, y = cancer.drop(columns="y").to_numpy(), cancer["y"].to_numpy()
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(scaled, y)
    expected = fitted.coef_[0] / x.std(axis=0)
    intercept = fitted.intercept_[0] - expected @ x.mean(axis=0)
    assert list(result.coefficients) == [*cancer.columns[:-1], "intercept"]
    found = [*result.coefficients.values()]
    np.testing.assert_allclose(found, [*expected, intercept], rtol=2e-4)
    assert result.scores == {"final/accuracy": pytest.approx(fitted.score(scaled, y))}
    logits = x @ found[:-1] + found[-1]
    assert result.trajectory.loss[-1] == pytest.approx(
        metrics.log_loss(y, 1 / (1 + np.exp(-logits))), rel=1e-6
    )


@pytest.mark.parametrize("predictor", ["model predictor.bias=true", "mlp predictor.sizes=[]"])
def test_a_softmax_fit_is_scikit_learns(predictor: str, workdir: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    logits = frame.to_numpy() @ rng.normal(size=(3, 4))  # overlapping classes: a finite minimum
    frame["y"] = (logits + rng.gumbel(size=(200, 4))).argmax(axis=1)
    frame.to_csv("t.csv", index=False)
    typed = f"step=model predictor={predictor} loss=CrossEntropyLoss".split()
    result = run(*CSV, *typed, *NEWTON)
    x, y = frame.drop(columns="y").to_numpy(), frame["y"].to_numpy()
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(x, y)
    expected = metrics.log_loss(y, fitted.predict_proba(x))
    assert result.trajectory.loss[-1] == pytest.approx(expected, rel=1e-6)
    assert result.scores == {"final/accuracy": pytest.approx(fitted.score(x, y))}
    assert result.coefficients == {}


def test_the_scores_of_both_parts_are_scikit_learns(workdir: Path) -> None:
    how = ("step=model", "tracking=off", "dtype=float64", *NEWTON, "predictor.bias=true")
    result = run("data=diabetes", *how, "data.validation=0.25", "data.standardize=true", "seed=9")
    fitted, kept = split(data.diabetes(), 0.25, seed=9)
    assert kept is not None
    assert len(kept.y) == 110
    found = np.array([*result.coefficients.values()])
    model = LinearRegression().fit(fitted.x, fitted.y)
    np.testing.assert_allclose(found, [*model.coef_, model.intercept_], rtol=1e-3)
    for prefix, part in (("final", fitted), ("validation", kept)):
        said = part.x @ found[:-1] + found[-1]
        mae, r2 = metrics.mean_absolute_error(part.y, said), metrics.r2_score(part.y, said)
        assert result.scores[f"{prefix}/mae"] == pytest.approx(mae)
        assert result.scores[f"{prefix}/r2"] == pytest.approx(r2)
    curve = result.trajectory.measured["validation/loss"]
    said = kept.x @ found[:-1] + found[-1]
    assert curve[-1] == pytest.approx(metrics.mean_squared_error(kept.y, said))
    assert result.prediction == pytest.approx(fitted.x.mean(axis=0) @ found[:-1] + found[-1])


def test_a_network_is_judged_by_what_it_predicts(iris: pd.DataFrame) -> None:
    how = ["step=model", "predictor=mlp", "loss=CrossEntropyLoss", "lr=0.1", "iters=30", "seed=2"]
    result = run(*CSV, *how, "data.validation=0.3", "data.batch_size=20")
    table = data.Dataset(iris.drop(columns="y").to_numpy(), iris["y"].to_numpy(), "iris")
    fitted, kept = split(table, 0.3, seed=2)
    assert kept is not None
    torch.manual_seed(2)
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    net.double()
    x, y = torch.tensor(fitted.x), torch.tensor(fitted.y)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(1, 31):
        order = torch.tensor(np.random.default_rng((2, epoch)).permutation(len(y)))
        for rows in order.split(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    for prefix, part in (("final", fitted), ("validation", kept)):
        said = net(torch.tensor(part.x)).argmax(dim=1).numpy()
        assert result.scores[f"{prefix}/accuracy"] == metrics.accuracy_score(part.y, said)
